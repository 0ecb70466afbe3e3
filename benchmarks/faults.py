"""Make system calls fail in commands that write files: is anything lost, or does any failure go unreported?

    python benchmarks/faults.py --jobs 2 --record benchmarks/faults.json     # needs strace, so Linux; about an hour
    python benchmarks/faults.py --only convert --only inspect                # two of the commands
    python benchmarks/faults.py --show benchmarks/faults.json

Each command first runs once under strace, which counts the system calls of its main thread. For each of these calls it
then runs twice more: once with that call failing (a full disk, a disk error), and once with the process killed there.
All output files exist beforehand. The outcomes are:

- *new*: every file is new and complete;
- *said*: exit code 2 and a line about what could not be written; every file is complete, old or new;
- *harmless*: the call came from a library and the command did not need it: exit code 0, and every file is new;
- *killed*: the process ended there; every file is complete, old or new;
- *unreported*: the failing call wrote to standard error itself: every file is complete, but no line could be read;
- *wrong*: anything else, such as a file that is neither old nor new, exit code 0 with a file that is not new, a
  leftover file, or no line.

The exit code is 0 if nothing is wrong, otherwise 1.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from lstm_shared import init_lstm, load, save
from lstm_shared.training.checkpoint_file import DamagedError, read_checkpoint

HERE = Path(__file__).resolve().parent
COMMANDS = {
    "convert": "convert m.npz out.safetensors",
    "convert to npz": "convert m.npz out.npz",
    "inspect": "inspect m.npz --json out.json",
    "trace": "trace --example --json out.json --plot out.png",
    "train in JAX": "train --epochs 20 --out out.npz --json out.json --plot out.svg",
    "train in JAX with checkpoints": "train --epochs 20 --checkpoint-dir run --out out.npz",
    "train in torch with checkpoints": "train --backend torch --epochs 4 --checkpoint-dir run --out out.npz",
    "check": "check m.npz --steps 1 --dtypes float32 --json out.json --html out.html --plot out.png",
    "check by hand": "check --quick --json out.json",
    "fuzz": "fuzz --cases 1 --json out.json",
    "diagnose": "diagnose --weights m.npz --against port.py:port --json out.json",
    "bench": "bench --case tiny --rounds 1 --seconds 0.05 --contender torch --contender jax --json out.json",
}
# The calls of a complete write, and how each can fail.
FAILURES = {"write": ("ENOSPC",), "fsync": ("EIO",), "rename": ("EIO",), "fchmod": ("EPERM",)}
OUTCOMES = ("new", "said", "harmless", "killed", "unreported", "wrong")
_LONGEST = 300  # seconds before a command is stopped


class Fault(NamedTuple):
    """One call of one command: the name of the call, its number among calls of that name, and how it fails."""

    command: str
    call: str
    number: int
    failure: str  # an error's name, or "KILL"


class Ended(NamedTuple):
    """How a command ended under strace."""

    code: int
    err: str
    log: str


def main() -> int:
    """Run every fault, print the table, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(COMMANDS), help="a command (default: all)")
    parser.add_argument("--record", type=Path, help="write the counts to this file")
    parser.add_argument("--show", type=Path, help="print a record instead of running")
    arguments = parser.parse_args()
    if arguments.show:
        record = json.loads(arguments.show.read_text())
    else:
        if shutil.which("strace") is None:
            sys.exit("strace is not installed")
        record = run(arguments.only or list(COMMANDS), arguments.jobs)
        if arguments.record:
            arguments.record.write_text(json.dumps(record, indent=1) + "\n")
    show(record)
    return 1 if record["wrong"] else 0


def run(names: list[str], jobs: int) -> dict[str, Any]:
    """Run every fault of these commands and count the outcomes."""
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        root = Path(folder)
        for name in names:
            faults = list(faults_of(name, root / "counted"))
            outcomes = list(pool.map(lambda fault: outcome_of(fault, root), faults))
            counts = Counter(outcome for outcome, _ in outcomes)
            rows.append({"command": COMMANDS[name], "faults": len(faults)} | {kind: counts[kind] for kind in OUTCOMES})
            wrong += [
                fault._asdict() | {"why": why}
                for fault, (outcome, why) in zip(faults, outcomes, strict=True)
                if outcome == "wrong"
            ]
            print(rows[-1], *wrong[-counts["wrong"] :] if counts["wrong"] else (), file=sys.stderr, flush=True)
    return {
        "command": "python benchmarks/faults.py",
        "system": f"{platform.system()} {platform.machine()}",
        "rows": rows,
        "wrong": wrong,
    }


def faults_of(name: str, place: Path) -> Iterator[Fault]:
    """Yield every call of the command's main thread that may write, with every way in which it can fail."""
    ended = _run(name, place, ["-e", f"trace={','.join(FAILURES)}"])
    shutil.rmtree(place)
    if ended.code != 0:
        raise RuntimeError(f"{name} ends in {ended.code} without any fault: {ended.err}")
    calls = Counter(re.findall(r"^(\w+)\(", ended.log, re.MULTILINE))
    for call, errors in FAILURES.items():
        for number in range(1, calls[call] + 1):
            for failure in (*errors, "KILL"):
                yield Fault(name, call, number, failure)


def outcome_of(fault: Fault, root: Path) -> tuple[str, str]:
    """Run a fault and return its outcome, one of ``OUTCOMES``, and what is wrong."""
    place = root / f"{fault.command} {fault.call} {fault.number} {fault.failure}"
    what = "signal=KILL" if fault.failure == "KILL" else f"error={fault.failure}"
    inject = f"inject={fault.call}:{what}:when={fault.number}"
    try:
        ended = _run(fault.command, place, ["-e", f"trace={fault.call}", "-e", inject])
        return _judge(fault, place, ended)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _judge(fault: Fault, place: Path, ended: Ended) -> tuple[str, str]:
    killed = fault.failure == "KILL"
    found = {path.name: _found(path) for path in _outputs(fault.command, place)}
    odd = [name for name, state in found.items() if state not in ("old", "new")]
    left = [] if killed else [str(path) for path in place.rglob("*") if path.suffix == ".tmp"]
    if odd or left:
        return "wrong", f"exit code {ended.code}; {found}; left: {left}; {ended.err}"
    new = all(state == "new" for state in found.values())
    lines = ended.err.splitlines()
    if killed and ended.code in (137, -9):
        return "killed", ""
    if ended.code == 0 and new:
        return ("harmless" if "INJECTED" in ended.log else "new"), ""
    if ended.code == 2 and lines and all(line.startswith("error: ") for line in lines):
        return "said", ""
    if ended.code == 2 and not lines and re.search(r"^write\(2, .*INJECTED", ended.log, re.MULTILINE):
        return "unreported", ""
    return "wrong", f"exit code {ended.code}; {found}; {ended.err}"


def _run(name: str, place: Path, options: list[str]) -> Ended:
    """Run the command under strace, in a folder where all its output files exist with other content."""
    place.mkdir()
    save(place / "m.npz", init_lstm(3, 4))
    (place / "port.py").write_text(
        "import numpy as np\n\ndef port(params, inputs):\n    return np.zeros((*inputs.shape[:2], 4), inputs.dtype)\n"
    )
    for path in _outputs(name, place):
        if path.suffix != ".checkpoint":
            path.write_bytes(b"old")
    log = place.with_name(f"{place.name}.log")
    command = ["strace", "-o", log, *options, sys.executable, "-m", "lstm_parity", *COMMANDS[name].split()]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parent)}
    try:
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=_LONGEST
        )
        return Ended(done.returncode, done.stderr, log.read_text())
    except subprocess.TimeoutExpired:
        return Ended(-1, f"it ran for {_LONGEST} s", log.read_text())
    finally:
        log.unlink(missing_ok=True)


def _outputs(name: str, place: Path) -> list[Path]:
    words = COMMANDS[name].split()
    files = [place / word for word in words if word.startswith("out.")]
    return files + (sorted((place / "run").glob("*.checkpoint")) if "run" in words else [])


def _found(path: Path) -> str:
    """Return whether a file is "old", or complete and "new", or what else is wrong with it."""
    if not path.exists():
        return "absent"
    content = path.read_bytes()
    if content == b"old":
        return "old"
    try:
        whole = _READERS[path.suffix](path)
    except (ValueError, OSError, DamagedError, zipfile.BadZipFile) as error:
        return f"damaged: {error}"
    return "new" if whole else "cut short"


_READERS: dict[str, Callable[[Path], bool]] = {
    ".npz": lambda path: bool(load(path)),
    ".safetensors": lambda path: bool(load(path)),
    ".json": lambda path: bool(json.loads(path.read_text())),
    ".html": lambda path: path.read_text().rstrip().endswith("</html>"),
    ".svg": lambda path: path.read_text().rstrip().endswith("</svg>"),
    ".png": lambda path: path.read_bytes().endswith(b"IEND\xaeB`\x82"),
    ".checkpoint": lambda path: bool(read_checkpoint(path).arrays),
}


def show(record: dict[str, Any]) -> None:
    """Print a record."""
    print("".join(f"{name:>11}" for name in ("faults", *OUTCOMES)) + "  command")
    for row in record["rows"]:
        print("".join(f"{row[name]:>11}" for name in ("faults", *OUTCOMES)) + f"  {row['command']}")
    for one in record["wrong"]:
        print(f"wrong: {one}")


if __name__ == "__main__":
    sys.exit(main())
