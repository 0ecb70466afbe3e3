"""Plant one mistake at a time in a copy of ``jax_lstm``, and see which commands notice.

    python benchmarks/mutants.py                        # all of mutants.toml; exit code 1 for an unexplained survivor
    python benchmarks/mutants.py --only backward- --jobs 2 --json mutants.json
    python benchmarks/mutants.py --judge "lstm-parity fuzz --cases 200"   # instead of the usual commands
    python benchmarks/mutants.py --list

The first command that ends with exit code 1, "they differ", catches the mutant. Any other failure also catches it, but
the output names the failure, because the mistake did not get as far as a verdict. Exit code 3, undecided, does not
catch it.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lstm_shared import init_by_hand, init_lstm, save

HERE = Path(__file__).resolve().parent
PACKAGES = ("lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity")


class Mutant(NamedTuple):
    """One mistake: ``old`` occurs exactly once in ``file`` of ``jax_lstm``, and ``new`` replaces it.

    ``survives`` says why no check with default settings can notice it; it is empty if one can.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    survives: str = ""


class Outcome(NamedTuple):
    """The result for a mutant.

    Attributes:
        caught_by: the command that caught it, or None if none did.
        how: "differ", "time limit", or the exit code and the last line.
        seconds: the time of all commands together.
    """

    name: str
    breaks: str
    caught_by: str | None
    how: str
    seconds: float


def mutants() -> list[Mutant]:
    """Return all mutants in ``mutants.toml``.

    Raises:
        ValueError: one line for each mutant that does not apply to the current code.
    """
    every = [Mutant(**entry) for entry in tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]]
    problems = [f"two mutants are called {m.name}" for m in every if sum(m.name == other.name for other in every) > 1]
    for mutant in every:
        found = (HERE.parent / "jax_lstm" / mutant.file).read_text().count(mutant.old)
        if found != 1:
            problems.append(f"{mutant.name}: the text it replaces occurs {found} times in {mutant.file}, expected once")
    if problems:
        raise ValueError("\n".join(problems))
    return every


def write_weights(directory: Path) -> list[str]:
    """Write small weight files of every kind. Return the commands that judge them, quick ones first."""
    lstm = init_lstm(3, 5)
    cell = {name.removesuffix("_l0"): array for name, array in lstm.items()}
    forecaster = {"lstm." + name: array for name, array in lstm.items()}
    forecaster |= {"fc.weight": lstm["weight_hh_l0"][:2], "fc.bias": lstm["bias_hh_l0"][:2]}
    files = {
        "lstm": lstm,
        "both-directions": init_lstm(3, 5, num_layers=2, bidirectional=True),
        "projected": init_lstm(3, 5, proj_size=2),
        "cell": cell,
        "forecaster": forecaster,
        "by-hand": init_by_hand(),
    }
    for name, weights in files.items():
        save(directory / f"{name}.safetensors", weights)
    checks = [f"lstm-parity check {name}.safetensors" for name in files]
    return [*checks, "lstm-parity check --quick", "lstm-parity fuzz --minutes 1"]


def judge(mutant: Mutant | None, commands: list[str] | None, limit: float) -> Outcome:
    """Run commands on a copy of the packages until one catches the mistake. Without a mutant, the copy has none."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as place:
        directory = Path(place)
        for package in PACKAGES:
            shutil.copytree(HERE.parent / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            file = directory / "jax_lstm" / mutant.file
            file.write_text(file.read_text().replace(mutant.old, mutant.new))
        # Looking for the mistake takes most of the time of a failed check, and comes after its verdict. Skip it.
        (directory / "lstm_parity" / "diagnosis" / "failed_outputs.py").write_text(
            "def explain(*failed):\n    return None\n"
        )
        usual = write_weights(directory)
        caught_by, how = None, ""
        for command in commands or usual:
            how = run(command, directory, limit)
            if how:
                caught_by = command
                break
    name, breaks = (mutant.name, mutant.breaks) if mutant else ("no mistake", "nothing")
    return Outcome(name, breaks, caught_by, how, time.perf_counter() - began)


def run(command: str, directory: Path, limit: float) -> str:
    """Return how the command notices a mistake, "" if it does not. ``lstm-parity`` runs the copy in ``directory``."""
    words = shlex.split(command)
    if words[0] == "lstm-parity":
        words[:1] = [sys.executable, "-m", "lstm_parity"]
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    try:
        done = subprocess.run(
            words, cwd=directory, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return "time limit"
    if done.returncode in (0, 3):
        return ""
    lines = (done.stderr + done.stdout).strip().splitlines() or [""]
    return "differ" if done.returncode == 1 and "Traceback" not in done.stderr else f"{done.returncode}: {lines[-1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the mutants and what each breaks")
    parser.add_argument("--only", default="", metavar="PART", help="only mutants with this in their name or file")
    parser.add_argument("--judge", action="append", metavar="COMMAND", help="judge by this command; repeatable")
    parser.add_argument("--limit", type=float, default=600, metavar="SECONDS", help="time limit of each command")
    parser.add_argument("--jobs", type=int, default=1, help="how many mutants to judge at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes to this file")
    asked = parser.parse_args()
    chosen = [mutant for mutant in mutants() if asked.only in mutant.name or asked.only in mutant.file]
    if asked.list:
        for mutant in chosen:
            print(f"{mutant.name:36} {mutant.file:20} {mutant.breaks}")
        return 0
    # If a command fails on code without a mistake, its failures say nothing about the mutants.
    control = judge(None, asked.judge, asked.limit)
    print(line(control), flush=True)
    if control.caught_by:
        return 2
    outcomes = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for outcome in pool.map(lambda mutant: judge(mutant, asked.judge, asked.limit), chosen):
            outcomes.append(outcome)
            print(line(outcome), flush=True)
    survived = [outcome.name for outcome in outcomes if outcome.caught_by is None]
    explained = {mutant.name: mutant.survives for mutant in chosen if mutant.survives}
    lines = [f"{name}: {explained.get(name, 'UNEXPLAINED')}" for name in survived]
    print(f"\n{len(outcomes)} mutants, {len(survived)} survived", *lines, sep="\n  ")
    if asked.json:
        asked.json.write_text(json.dumps([outcome._asdict() for outcome in outcomes], indent=1) + "\n")
    return 1 if set(survived) - set(explained) else 0


def line(outcome: Outcome) -> str:
    by = (
        f"{outcome.how}: {outcome.caught_by}"
        if outcome.caught_by
        else "SURVIVED"
        if outcome.name != "no mistake"
        else ""
    )
    return f"{outcome.seconds:6.0f} s  {outcome.name:36} {by}"


if __name__ == "__main__":
    sys.exit(main())
