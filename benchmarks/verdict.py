"""Measure how far to trust the verdict of ``check``, on right pairs and planted mistakes in three kinds of models.

    python benchmarks/verdict.py --pairs 1000 --plants 1000 --record benchmarks/verdict.json
    python benchmarks/verdict.py --show benchmarks/verdict.json

It counts, for each kind (``verdict_models.py``):

- *false alarms*: right pairs with the verdict "differ", and ports with that verdict whose mistake moves no entry by a
  tolerance;
- *missed*: planted mistakes (``verdict_plants.py``) that move an entry by more than ten tolerances without the verdict
  "differ";
- *too small*: all other planted mistakes without that verdict;
- *undecided*: right pairs with the verdict "undecided";
- *listed wrongly*: right pairs whose report says that these inputs cannot tell whether a part of the model is used,
  although the outputs move by more than ten tolerances when that part is zeroed, negated or moved by one.

A right pair is our JAX backend against torch, or a right port (``verdict_ports.py``) against torch.

A trial depends only on the seed and its number. Finished trials are kept in a file and not repeated until the code
changes, so an interrupted run continues where it stopped. Each process computes on one thread.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
KINDS = ("random", "trained-like", "ill-conditioned")
MOST_UNDECIDED = {"random": 0.02, "trained-like": 0.10, "ill-conditioned": 1.0}
_TEMPORARY = Path(tempfile.gettempdir())
# A worker process is replaced after this many trials, because compiled programs stay in memory.
_TRIALS_A_PROCESS = 150

Trial = dict[str, Any]


def main() -> int:
    """Run the remaining trials, print the tables and write the record. Return 0 if every aim is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="right pairs")
    parser.add_argument("--plants", type=int, default=1000, help="planted mistakes")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="run only the trials of these kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--trials", type=Path, help="keep finished trials in this file (default: one in the temporary folder)"
    )
    parser.add_argument("--record", type=Path, help="write the summary to this file")
    parser.add_argument("--show", type=Path, help="print a record instead of running")
    arguments = parser.parse_args()
    if arguments.show:
        record = json.loads(arguments.show.read_text())
    else:
        kept = arguments.trials or _TEMPORARY / f"lstm-parity-verdict-{arguments.seed}.jsonl"
        todo = [("pair", number) for number in range(arguments.pairs)]
        todo += [("plant", number) for number in range(arguments.plants)]
        todo = [(role, number) for role, number in todo if KINDS[number % len(KINDS)] in arguments.kinds]
        trials = run(todo, arguments.seed, arguments.processes, kept)
        command = f"python benchmarks/verdict.py --pairs {arguments.pairs} --plants {arguments.plants}"
        command += f" --seed {arguments.seed}"
        command += f" --kinds {' '.join(arguments.kinds)}" if tuple(arguments.kinds) != KINDS else ""
        record = summary(trials) | {"command": command, "environment": _environment()}
        if arguments.record:
            arguments.record.write_text(json.dumps(record, indent=1) + "\n")
    show(record)
    return 0 if reached(record) else 1


def run(todo: list[tuple[str, int]], seed: int, processes: int, kept: Path) -> list[Trial]:
    """Return every trial in the list. Those that the file has are not run again."""
    code = fingerprint()
    done = {
        (trial["role"], trial["number"]): trial
        for trial in map(json.loads, kept.read_text().splitlines() if kept.exists() else [])
        if (trial["code"], trial["seed"]) == (code, seed)
    }
    left = [one for one in todo if one not in done]
    print(f"{len(todo) - len(left)} of {len(todo)} trials are in {kept} already", file=sys.stderr)
    with kept.open("a") as file:
        for trial in _parallel(left, seed, processes):
            done[trial["role"], trial["number"]] = trial
            file.write(json.dumps(trial | {"code": code, "seed": seed}) + "\n")
            file.flush()
            if trial["verdict"] != ("agree" if trial["role"] == "pair" else "differ"):
                what = trial.get("mistake", "right pair")
                print(f"{trial['role']} {trial['number']}, {trial['model']}, {what}: {trial['line']}", file=sys.stderr)
            if len(done) % 50 == 0:
                print(f"{len(done)} of {len(todo)}", file=sys.stderr, flush=True)
    return [done[one] for one in todo]


def _parallel(left: list[tuple[str, int]], seed: int, processes: int) -> Iterator[Trial]:
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    options: dict[str, Any] = {"mp_context": get_context("spawn"), "max_tasks_per_child": _TRIALS_A_PROCESS}
    waiting = iter(left)
    with ProcessPoolExecutor(processes, initializer=_prepare, **options) as pool:
        running: set[Future[Trial]] = {pool.submit(_trial, *one, seed) for one in islice(waiting, 2 * processes)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_trial, *one, seed) for one in islice(waiting, len(ended))}
            yield from (future.result() for future in ended)


def _prepare() -> None:
    import jax
    import torch

    from lstm_parity.diagnosis import failed_outputs

    # Looking for the mistake takes most of the time of a failed check, and comes after its verdict. Skip it.
    failed_outputs.explain = _no_diagnosis
    torch.set_num_threads(1)
    jax.config.update("jax_compilation_cache_dir", str(_TEMPORARY / "lstm-parity-verdict-programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _no_diagnosis(*failed: Any) -> None:
    return None


def _trial(role: str, number: int, seed: int) -> Trial:
    from verdict_trials import run_trial

    return run_trial(role, number, seed)


def fingerprint() -> str:
    """Return a digest of the code that the result of a trial depends on."""
    folders = ("lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity")
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    digest = hashlib.sha256()
    for path in [*files, *sorted(Path(__file__).parent.glob("verdict_*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def false_alarm(trial: Trial) -> bool:
    """Return whether the verdict is "differ" for a right pair, or for a port whose mistake shows nowhere."""
    return trial["verdict"] == "differ" and (trial["role"] == "pair" or trial["moves"] is not None)


def missed(trial: Trial) -> bool:
    """Return whether a mistake moves an entry by more than ten tolerances and the verdict is not "differ"."""
    return trial["role"] == "plant" and trial["verdict"] in ("agree", "undecided") and trial["moves"] > 10


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Return counts by kind and by mistake, the largest share of the tolerance used by a right pair, and all faults."""
    counts, used = {}, {}
    for kind in KINDS:
        of_kind = [trial for trial in trials if trial["kind"] == kind]
        pairs, plants = ([trial for trial in of_kind if trial["role"] == role] for role in ("pair", "plant"))
        counts[kind] = {
            "pairs": len(pairs),
            "false alarms": sum(map(false_alarm, of_kind)),
            "undecided": _count(pairs, "undecided"),
            "listed wrongly": sum(bool(trial.get("wrongly")) for trial in pairs),
            "plants": len(plants),
            "caught": _count(plants, "differ"),
            "missed": sum(map(missed, plants)),
            "too small": sum(trial["verdict"] in ("agree", "undecided") and not missed(trial) for trial in plants),
            "errors": _count(of_kind, "error"),
        }
        used[kind] = _largest_used(trial["used"] for trial in pairs if trial["verdict"] != "error")
    mistakes: dict[str, dict[str, int]] = {}
    for trial in trials:
        if trial["role"] == "plant":
            of_name = mistakes.setdefault(trial["mistake"], {"planted": 0, "caught": 0, "missed": 0})
            of_name["planted"] += 1
            of_name["caught"] += trial["verdict"] == "differ"
            of_name["missed"] += missed(trial)
    wrong = [t for t in trials if false_alarm(t) or missed(t) or t["verdict"] == "error" or t.get("wrongly")]
    open_ = [trial for trial in trials if trial["role"] == "pair" and trial["verdict"] == "undecided"]
    return {
        "counts": counts,
        "largest share of the tolerance used by a right pair": used,
        "mistakes": dict(sorted(mistakes.items())),
        "wrong": wrong,
        "undecided": [{key: trial[key] for key in ("number", "kind", "model", "by", "line")} for trial in open_],
        "cpu_seconds": round(sum(trial["seconds"] for trial in trials)),
    }


def _count(trials: list[Trial], verdict: str) -> int:
    return sum(trial["verdict"] == verdict for trial in trials)


def _largest_used(shares: Iterable[dict[str, float]]) -> dict[str, float]:
    largest: dict[str, float] = {}
    for share in shares:
        for key, value in share.items():
            largest[key] = max(largest.get(key, 0.0), value)
    return dict(sorted(largest.items()))


def reached(record: dict[str, Any]) -> bool:
    """Return whether there is no false alarm, miss, error or wrong listing, and little enough is undecided.

    ``MOST_UNDECIDED`` is the share of right pairs that may be undecided.
    """
    return not record["wrong"] and all(
        count["undecided"] <= MOST_UNDECIDED[kind] * count["pairs"] for kind, count in record["counts"].items()
    )


def show(record: dict[str, Any]) -> None:
    """Print the tables of a record."""
    console = Console()
    table = Table(title="verdicts, by kind of model", title_justify="left")
    table.add_column("")
    for kind in KINDS:
        table.add_column(kind, justify="right")
    for name in record["counts"][KINDS[0]]:
        cells = [record["counts"][kind] for kind in KINDS]
        shares = [f" ({cell[name] / max(1, cell['pairs']):.1%})" if name == "undecided" else "" for cell in cells]
        table.add_row(name, *(f"{cell[name]}{share}" for cell, share in zip(cells, shares, strict=True)))
    console.print(table)
    used = record["largest share of the tolerance used by a right pair"]
    table = Table(title="largest share of the tolerance used by a right pair", title_justify="left")
    table.add_column("")
    for kind in KINDS:
        table.add_column(kind, justify="right")
    for name in sorted({name for of_kind in used.values() for name in of_kind}):
        table.add_row(name, *(f"{used[kind][name]:.1%}" if name in used[kind] else "" for kind in KINDS))
    console.print(table)
    for trial in record["wrong"]:
        what = trial.get("mistake", "right pair")
        moves = f", moves {trial['moves']:.3g} tolerances" if trial.get("moves") is not None else ""
        wrongly = f", listed wrongly: {', '.join(trial['wrongly'])}" if trial.get("wrongly") else ""
        place = f"{trial['role']} {trial['number']}, {trial['kind']}, {trial['model']}, {trial['by']}"
        console.print(f"{place}: {what}{moves}{wrongly}: {trial['line']}", highlight=False)
    console.print(f"{record['cpu_seconds']} s of processor time; {record['command']}", highlight=False)


def _environment() -> dict[str, str]:
    from verdict_models import sources

    from lstm_parity.sides.environment import environment

    return environment() | sources()


if __name__ == "__main__":
    sys.exit(main())
