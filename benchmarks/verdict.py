"""Whether the verdict of ``check`` can be believed: right pairs and planted mistakes over three kinds of models.

    python benchmarks/verdict.py --pairs 1000 --plants 1000 --record benchmarks/verdict.json
    python benchmarks/verdict.py --show benchmarks/verdict.json

Counts, by kind (``verdict_models.py``):

- *false alarms*: right pairs said to differ, and ports said to differ whose mistake moves nothing by a tolerance;
- *missed*: planted mistakes (``verdict_plants.py``) that move an entry by more than ten tolerances and are not said to
  differ; *too small*: the others that are not;
- *undecided*: right pairs that are neither said to agree nor to differ;
- *listed wrongly*: right pairs whose report says of a part of the model that these inputs cannot tell whether it is
  used, while the outputs move by more than ten tolerances when it is zeroed, negated or moved by one.

A right pair is our JAX backend against torch, or a right port (``verdict_ports.py``) against torch.

Every trial is a function of the seed and its number. What is done is kept in a file and not done again while the code
stays as it is, so a run that was cut off goes on where it stopped. Each process computes on one thread.
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
# A worker starts anew after so many trials: compiled programs stay in memory.
_TRIALS_A_PROCESS = 150

Trial = dict[str, Any]


def main() -> int:
    """Run what is left to run, print the tables, and write the record; 0 if every aim is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="right pairs")
    parser.add_argument("--plants", type=int, default=1000, help="planted mistakes")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="run only the trials of these kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--trials", type=Path, help="the file that keeps what is done (default: in the temporary folder)"
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
    """Every trial of the list, those that are kept already from the file."""
    code = fingerprint()
    done = {
        (trial["role"], trial["number"]): trial
        for trial in map(json.loads, kept.read_text().splitlines() if kept.exists() else [])
        if (trial["code"], trial["seed"]) == (code, seed)
    }
    left = [one for one in todo if one not in done]
    print(f"{len(todo) - len(left)} trials of {len(todo)} are kept in {kept}", file=sys.stderr)
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

    from lstm_parity.diagnosis.explain import failed_outputs

    # The verdict stands before a failed check looks for the mistake, which takes most of its time.
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
    """Of the code that a trial's result depends on."""
    folders = ("lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity")
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    digest = hashlib.sha256()
    for path in [*files, *sorted(Path(__file__).parent.glob("verdict_*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def false_alarm(trial: Trial) -> bool:
    """A right pair said to differ, or a port whose mistake shows nowhere."""
    return trial["verdict"] == "differ" and (trial["role"] == "pair" or trial["moves"] is not None)


def missed(trial: Trial) -> bool:
    """A mistake that moves an entry by more than ten tolerances and was not said to differ."""
    return trial["role"] == "plant" and trial["verdict"] in ("agree", "undecided") and trial["moves"] > 10


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Counts by kind and by mistake, the largest share of the tolerance that a right pair used, and what is wrong."""
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
    """No false alarm, no miss, no error, nothing listed wrongly, and as little undecided as ``MOST_UNDECIDED`` says."""
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
