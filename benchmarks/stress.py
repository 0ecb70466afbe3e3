"""Call every implementation in every way, each pair in a fresh process.

Whatever a caller wraps around ``jax_lstm``, the process must end with exit code 0 and the numbers of the plain loop.

    python benchmarks/stress.py                          # the full cross; exit code 1 if any pair fails
    python benchmarks/stress.py --list
    python benchmarks/stress.py --only "chunked × scan"  # pairs with this in their name
    python benchmarks/stress.py --run "chunked × scan"   # that pair, in this process
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

# Some ways need two devices. The processor must be split into two before JAX is imported.
if "--run" in sys.argv and "_STRESS_DEVICES" in os.environ:
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={os.environ['_STRESS_DEVICES']}"

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

import numpy as np  # noqa: E402
from stress_tasks import tasks  # noqa: E402
from stress_ways import TWO_DEVICES, ways  # noqa: E402

IMPLEMENTATIONS = ("auto", "scan", "chunked", "single-kernel", "fit")

# A result may differ from the plain loop's by this many eps of its dtype, times max(1, the largest of all results).
# The most measured over the full cross is 2.8.
TOLERANCE = 32


def pairs() -> list[str]:
    return [f"{implementation} × {way}" for implementation in IMPLEMENTATIONS for way in ways(implementation)]


def command(pair: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs a pair in a fresh process, and its environment."""
    environment = {**os.environ, "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}
    if pair.split(" × ")[1] in TWO_DEVICES:
        environment["_STRESS_DEVICES"] = "2"
    return [sys.executable, str(HERE), "--run", pair, *options], environment


def run(pair: str, fewer: bool, named: str) -> float:
    """Run a pair, or its task of that name, in this process. Return the largest difference, in tolerances.

    Raises:
        AssertionError: a task differs. The message says which, and by how much.
    """
    implementation, way = pair.split(" × ")
    every = list(ways(implementation))
    worst = 0.0
    chosen = tasks(implementation, every.index(way), len(every), fewer=fewer, named=named)
    assert chosen, f"{pair} has no task {named!r}"
    for task in chosen:
        print(task.name, flush=True)  # so that the output of an abort says where
        worst = max(worst, difference(*ways(implementation)[way](task)))
        assert worst <= 1, f"{pair}, {task.name}: {worst:.3g} tolerances from the plain loop"
    return worst


def difference(ours: Any, wanted: Any) -> float:
    """Return the largest difference in tolerances; infinity if structure, shapes, dtypes or NaNs differ."""
    import jax

    pairs = list(zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True))
    # Adam has no second derivative where a gradient is zero. The plain loop gives NaN there, and so must ours.
    scale = max([1.0, *(float(np.max(np.nan_to_num(np.abs(theirs)), initial=0)) for _, theirs in pairs)])
    worst = 0.0
    for mine, theirs in ((np.asarray(mine), np.asarray(theirs)) for mine, theirs in pairs):
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype or (np.isnan(mine) != np.isnan(theirs)).any():
            return np.inf
        limit = TOLERANCE * float(np.finfo(theirs.dtype).eps) * scale
        worst = max(worst, float(np.max(np.nan_to_num(np.abs(mine - theirs), posinf=np.inf), initial=0)) / limit)
    return worst


class Outcome(NamedTuple):
    pair: str
    seconds: float
    code: int
    output: list[str]

    @property
    def line(self) -> str:
        said = self.output[-1:] if self.code == 0 else [line for line in self.output if "Check failed" in line]
        said = (said or [line for line in self.output if "Error" in line] or self.output or [""])[-1]
        return f"{'ok' if self.code == 0 else f'exit {self.code}':8} {self.seconds:6.1f} s  {self.pair:40} {said}"


def fresh_process(pair: str, *options: str) -> Outcome:
    arguments, environment = command(pair, *options)
    began = time.perf_counter()
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines() + ([] if done.returncode == 0 else done.stderr.splitlines()[-30:])
    return Outcome(pair, time.perf_counter() - began, done.returncode, lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the pairs")
    parser.add_argument("--only", default="", metavar="PART", help="only pairs with this in their name")
    parser.add_argument("--run", metavar="PAIR", help="run one pair in this process")
    parser.add_argument("--task", default="", metavar="NAME", help="with --run: only this task")
    parser.add_argument("--fewer", action="store_true", help="run two sizes in each pair, as the tests do")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to run at a time")
    asked = parser.parse_args()
    if asked.run:
        print(f"largest difference {run(asked.run, asked.fewer, asked.task):.3f} of the tolerance")
        return 0
    chosen = [pair for pair in pairs() if asked.only in pair]
    if asked.list:
        print(*chosen, sep="\n")
        return 0
    options = ["--fewer"] if asked.fewer else []
    failed = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for outcome in pool.map(lambda pair: fresh_process(pair, *options), chosen):
            print(outcome.line, flush=True)
            if outcome.code:
                failed.append(outcome)
    for outcome in failed:
        print("", *outcome.output[-12:], f'again: python benchmarks/stress.py --run "{outcome.pair}"', sep="\n")
    print(f"\n{len(chosen)} pairs, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
