"""Everything that the command line writes, with any one system call failing, or as the last one the process makes.

As a program, ``python writes_under_faults.py FOLDER``, this ends a child process at each call of each write, and prints
what it then finds in place of the file, as a line of JSON for each call.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# What a whole write calls to replace a file, in order. A new file has no permissions to keep.
CALLS = ("open", "write", "chmod", "fsync", "close", "replace", "open", "fsync", "close")

# From this call on, the new file is in place.
REPLACED = CALLS.index("replace") + 1


def writers() -> dict[str, tuple[str, Callable[[Path, int], None]]]:
    """Return what is written -> (file name, function that writes the old content (0) or the new content (1))."""
    from lstm_parity.cli.outputs import write_json
    from lstm_parity.sides.case import make_case
    from lstm_parity.sides.case_files import write_case
    from lstm_shared import init_lstm, save

    weights = [init_lstm(3, 4, seed=seed) for seed in (0, 1)]
    cases = [make_case(one, np.ones((2, 1, 3), np.float32), seed=seed) for seed, one in enumerate(weights)]
    cases = [case.astype("float32") for case in cases]
    record = json.loads((Path(__file__).parents[2] / "benchmarks" / "cpu-two-cores.json").read_text())
    reports = ['{"verdict_word": "agree"}', json.dumps({"rows": ["differ"] * 5000})]
    records = [record | {"command": command} for command in ("lstm-parity bench", "lstm-parity bench --quick")]
    return {
        "weights in npz": ("w.npz", lambda path, which: save(path, weights[which])),
        "weights in safetensors": ("w.safetensors", lambda path, which: save(path, weights[which])),
        "a report": ("report.json", lambda path, which: write_json(reports[which])(path)),
        "a record": ("record.json", lambda path, which: write_json(records[which])(path)),
        "a case": ("case.npz", lambda path, which: write_case(path, cases[which])),
    }


@contextmanager
def fault(number: int, act: Callable[[], None]) -> Iterator[list[str]]:
    """Within the block, run ``act`` instead of the call of this number, counted from 0.

    Yields the names of the calls so far.
    """
    made: list[str] = []
    real = {name: getattr(os, name) for name in set(CALLS)}

    def shim(name: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            made.append(name)
            if len(made) == number + 1:
                act()
            return real[name](*args, **options)

        return call

    for name in real:
        setattr(os, name, shim(name))
    os.supports_fd.add(chmod := os.chmod)
    try:
        yield made
    finally:
        os.supports_fd.discard(chmod)
        for name, function in real.items():
            setattr(os, name, function)


def contents(path: Path, write: Callable[[Path, int], None], existed: bool) -> tuple[bytes | None, bytes]:
    """Return (old, new): what is at the path now, or None if it should not exist, and what a new write leaves."""
    write(path, 1)
    new = path.read_bytes()
    path.unlink()
    if not existed:
        return None, new
    write(path, 0)
    return path.read_bytes(), new


def main(folder: Path) -> None:
    every = writers()
    warnings.simplefilter("ignore")  # JAX warns about forks; this one computes nothing
    for what, (name, write) in every.items():
        for existed in (True, False):
            for number in range(len(CALLS)):
                place = folder / f"{what}-{existed}-{number}"
                place.mkdir()
                path = place / name
                old, new = contents(path, write, existed)
                child = os.fork()
                if not child:
                    with fault(number, lambda: os._exit(9)):
                        write(path, 1)
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                now = path.read_bytes() if path.exists() else None
                found = "new" if now == new else "old" if now == old else "neither"
                print(json.dumps({"case": place.name, "code": code, "found": found}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
