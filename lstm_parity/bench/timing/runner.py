"""Run a plan: first compare the numbers, then time the contenders in rounds, each in turn."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lstm_parity.annotations import Json
from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders.registry import CONTENDERS, REFERENCE
from lstm_parity.bench.plan import Plan
from lstm_parity.bench.record.measurements import DIFFERS, FAILED, LEFT_OUT, TIMED, Measurement, Round
from lstm_parity.bench.record.record import Record
from lstm_parity.bench.timing.machine import processor, speed_variables, versions
from lstm_parity.bench.timing.processes import Process, WorkerError
from lstm_parity.bench.timing.same_numbers import Shown, in_words, judge
from lstm_shared.errors import InputError
from lstm_shared.progress import progress_bar
from lstm_shared.trees import unflatten_tree
from lstm_shared.weight_files.load_save import read_arrays

# Contender -> its process, and contender -> its measurement on one case in one mode.
Processes = Mapping[str, Process]
Group = dict[str, Measurement]


def run(plan: Plan, *, command: str = "", threads: int = 1, device: str = "cpu", progress: bool = False) -> Record:
    """Compare the numbers of every contender in a plan, then time those that match. Each has its own process.

    Args:
        command: what to type to repeat the run, for the record.
        threads: number of cores each process is pinned to and of threads it computes with.
        device: "cpu" or "gpu".
        progress: whether to show a progress bar on stderr.

    Raises:
        InputError: there are more threads than cores, a GPU is asked for and not found, or torch, the reference, does
            not start.
    """
    machine: dict[str, Any] = dict(processor())
    if not 0 < threads <= machine["usable cores"]:
        raise InputError(f"--threads is {threads}, expected 1 to {machine['usable cores']}, the number of usable cores")
    began = datetime.now(UTC).isoformat(timespec="seconds")
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else "unknown"
    with ExitStack() as stack:
        names = dict.fromkeys((REFERENCE, *plan.contenders))  # torch is the reference even if it is not timed
        processes = {name: Process(CONTENDERS[name], threads, device) for name in names}
        for process in processes.values():
            stack.callback(process.stop)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        show = stack.enter_context(progress_bar("timing", _requests(plan), enabled=progress))
        started, missing = _start(processes, device)
        turn = _Turn(started, directory, show)
        measurements = [
            one
            for case, mode, contenders in plan.groups()
            for one in turn.measure(case, mode, [name for name in contenders if name not in missing], plan)
        ]
        if device == "gpu":
            machine["gpu"] = started[REFERENCE].ask("about")["device"]
    taking_part = {CONTENDERS[name].package for name in plan.contenders if name not in missing}
    return Record(
        date=began,
        command=command,
        device=machine,
        versions=versions(taking_part),
        environment=speed_variables(),
        settings={
            "device": device,
            "threads": threads,
            "precision": "full (no TF32)" if device == "gpu" else "the libraries' defaults, which are full on a CPU",
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "load before": load,
        },
        missing=plan.missing | missing,
        cases={case.name: case for case, _, _ in plan.groups()},
        measurements=tuple(measurements),
    )


def orders(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """Yield the order of each round. Each name runs once per round; the first of one round is the last of the next."""
    for turn in range(rounds):
        first = turn % len(names) if names else 0
        yield [*names[first:], *names[:first]]


def _requests(plan: Plan) -> int:
    return sum(
        (len(case.parity_dtypes) + plan.rounds)
        * sum(not CONTENDERS[name].refuses(case, mode) for name in dict.fromkeys((REFERENCE, *names)))
        for case, mode, names in plan.groups()
    )


def _start(processes: Processes, device: str) -> tuple[dict[str, Process], dict[str, str]]:
    """Return the processes that start, and for the others, name -> why not."""
    started: dict[str, Process] = {}
    missing: dict[str, str] = {}
    for name, process in processes.items():
        try:
            found = process.ask("about")["device"]
        except WorkerError as error:
            if name == REFERENCE:
                raise InputError(f"torch, the reference for the others, does not start: {error}") from error
            missing[name] = f"does not start: {error}"
            continue
        if found is None:
            framework = {"jax": "JAX"}.get(CONTENDERS[name].framework, CONTENDERS[name].framework)
            raise InputError(f"--device {device}: {framework} finds no {device} here; torch and JAX must both find one")
        started[name] = process
    return started, missing


class _Turn:
    """Measures cases and modes, one after the other."""

    def __init__(self, processes: Processes, directory: Path, show: Callable[[int], None]):
        self._processes = processes
        self._directory = directory
        self._show = show
        self._done = 0

    def measure(self, case: BenchCase, mode: str, names: Sequence[str], plan: Plan) -> list[Measurement]:
        """Compare each contender's results with the reference's, then time the contenders in interleaved rounds."""
        group: Group = {}
        for name in names:
            if reason := CONTENDERS[name].refuses(case, mode):
                group[name] = Measurement(case.name, mode, name, LEFT_OUT, reason)
        able = [name for name in names if name not in group]
        group |= self._prepare(case, mode, able)
        rounds: dict[str, list[Round]] = {name: [] for name in able if group[name].outcome == TIMED}
        for order in orders(list(rounds), plan.rounds):
            for name in order:
                if group[name].outcome != TIMED:
                    continue
                try:
                    answer = self._ask(name, "sample", seconds=plan.seconds)
                    rounds[name].append(Round.of(answer["samples"]))
                except WorkerError as error:
                    group[name] = replace(group[name], outcome=FAILED, reason=str(error))
        for name, process in self._processes.items():
            if name in able or name == REFERENCE:
                process.forget()
        timed = {name: tuple(found) for name, found in rounds.items() if group[name].outcome == TIMED}
        return [replace(group[name], rounds=timed.get(name, ())) for name in names]

    def _prepare(self, case: BenchCase, mode: str, names: Sequence[str]) -> Group:
        """Let every contender make its first call, and compare its numbers with the reference's."""
        group: Group = {name: Measurement(case.name, mode, name, TIMED, tolerance_used=0.0) for name in names}
        for dtype in case.parity_dtypes:
            reference: Shown = {}
            for name in dict.fromkeys((REFERENCE, *names)):
                if name in group and group[name].outcome != TIMED:
                    continue
                try:
                    answer, shown = self._first_call(name, case, mode, dtype)
                except WorkerError as error:
                    if name == REFERENCE:
                        reason = f"torch, the reference, failed: {error}"
                        return {other: replace(one, outcome=FAILED, reason=reason) for other, one in group.items()}
                    group[name] = replace(group[name], outcome=FAILED, reason=str(error))
                    continue
                if name == REFERENCE:
                    reference = shown
                if name in group:
                    group[name] = _judged(replace(group[name], **answer), case, dtype, shown, reference)
        return group

    def _first_call(self, name: str, case: BenchCase, mode: str, dtype: str) -> tuple[dict[str, Any], Shown]:
        file = self._directory / f"{name}.safetensors"
        answer = self._ask(name, "prepare", case=case.to_dict(), mode=mode, dtype=dtype, file=str(file))
        shown = unflatten_tree(read_arrays(file))
        file.unlink()
        return answer, shown

    def _ask(self, name: str, do: str, **request: Json) -> dict[str, Any]:
        self._done += 1
        self._show(self._done)
        return self._processes[name].ask(do, **request)


def _judged(one: Measurement, case: BenchCase, dtype: str, shown: Shown, reference: Shown) -> Measurement:
    rows = judge(case, dtype, one.contender, shown, reference)
    used = max([one.tolerance_used or 0.0, *(row.used for row in rows)])
    wrong = [row for row in rows if not row.ok]
    one = replace(one, tolerance_used=used if np.isfinite(used) else None)  # JSON has no infinity
    if not wrong:
        return one
    # The worst, not the first: files do not keep the order of their arrays.
    worst = max(wrong, key=lambda row: row.used)
    return replace(one, outcome=DIFFERS, reason=f"its numbers differ from torch's: {in_words(worst)}")
