"""Which branches of the recurrences ``lstm-parity fuzz`` takes, and which it does not: a table, and every one left.

    python benchmarks/coverage_of_fuzz.py [--cases 200] [--seed 0]

It needs the package coverage, which is in no extra: ``pip install --target FOLDER coverage``, then PYTHONPATH=FOLDER.
Exit code 1 if a branch is left that does not raise an error and that ``NOT_BY_FUZZ`` does not explain.
"""

import argparse
import ast
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "jax_lstm"
FILES = (
    "recurrence.py",
    "chunked.py",
    "tiny.py",
    "single_kernel.py",
    "stack.py",
    "by_hand.py",
    "cell.py",
    "implementations.py",
)

# What stands in the line that branches -> why a search on this machine, through ``jax_lstm.lstm``, does not go there.
NOT_BY_FUZZ: dict[tuple[str, str], str] = {}


class Left(NamedTuple):
    """A branch that was not taken."""

    line: int
    target: int
    raises: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if find_spec("coverage") is None:
        print("error: no module coverage: pip install --target FOLDER coverage, and PYTHONPATH=FOLDER", file=sys.stderr)
        return 2
    import coverage

    with tempfile.TemporaryDirectory() as folder:
        include = [str(PACKAGE / file) for file in FILES]
        measured = coverage.Coverage(data_file=os.path.join(folder, "data"), branch=True, include=include)
        measured.start()
        from lstm_parity.fuzz import fuzz

        found = fuzz(cases=arguments.cases, seed=arguments.seed, progress=True)
        measured.stop()
        print(f"{found.cases_run} cases in {found.seconds:.0f} s, {found.compiled} compiled, seed {found.seed}")
        if found.failure is not None:
            print("they differ: lstm-parity fuzz says where")
        print(f"{'branches of':22} {'all':>5} {'taken':>6} {'raise':>6} {'left':>5}")
        unexplained = [line for file in FILES for line in report(measured, file)]
    print("\n".join(["", "left, and why:", *unexplained] if unexplained else ["", "none left unexplained"]))
    return 1 if unexplained else 0


def report(measured, file: str) -> list[str]:
    """Print the row of a file; what is left of it, for the list."""
    path = PACKAGE / file
    analysis = measured._analyze(str(path))
    stats = analysis.branch_stats()
    lines, tree = path.read_text().splitlines(), ast.parse(path.read_text())
    left = [
        Left(line, target, raises(tree, line, target))
        for line, targets in sorted(analysis.missing_branch_arcs().items())
        for target in targets
    ]
    every = sum(n for n, _ in stats.values())
    errors = sum(branch.raises for branch in left)
    print(f"{file:22} {every:5} {every - len(left):6} {errors:6} {len(left) - errors:5}")
    found = []
    for branch in left:
        text = lines[branch.line - 1].strip()
        if not branch.raises:
            found.append(f"  {file}:{branch.line} -> {branch.target}: {text}")
    return found


def raises(tree: ast.AST, line: int, target: int) -> bool:
    """Whether the branch from this line begins a block that ends by raising an error."""
    blocks = [
        block
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and node.lineno == line
        for block in (node.body, node.orelse)
        if block and block[0].lineno == target
    ]
    return any(isinstance(block[-1], ast.Raise) for block in blocks)


if __name__ == "__main__":
    sys.exit(main())
