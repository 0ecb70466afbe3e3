"""Print which branches of the recurrences ``lstm-parity fuzz`` takes, as a table, and each branch that it misses.

    python benchmarks/coverage_of_fuzz.py [--cases 200] [--seed 0]

It needs the package coverage, which no extra installs: ``pip install --target FOLDER coverage``, then set
PYTHONPATH=FOLDER. The exit code is 1 if a missed branch raises no error and ``NOT_BY_FUZZ`` does not explain it.
"""

import argparse
import ast
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parent.parent / "jax_lstm"
FILES = (
    "recurrences/step.py",
    "recurrences/scan.py",
    "recurrences/chunked.py",
    "recurrences/single_kernel.py",
    "compiler/one_kernel.py",
    "stack.py",
    "by_hand.py",
    "cell.py",
    "recurrences/choose.py",
    "recurrences/by_name.py",
    "recurrences/directions.py",
    "recurrences/recompute.py",
)

# (file, function, part of the branching line, or "" for all lines of the function) -> why no case goes there.
NOT_BY_FUZZ: dict[tuple[str, str, str], str] = {
    ("compiler/one_kernel.py", "fits_one_kernel", ""): "only fit asks",
    ("compiler/one_kernel.py", "_compiles", ""): "only fit and vmap ask",
    ("compiler/one_kernel.py", "_is_safe", ""): "only fit and vmap ask",
    ("compiler/one_kernel.py", "_equations", ""): "only fit and vmap ask",
    ("compiler/one_kernel.py", "_run", ""): "only for calls outside any program, and under disable_jit",
    ("compiler/one_kernel.py", "_batched", ""): "only under vmap",
    ("compiler/one_kernel.py", "_full", ""): "only in forward mode",
    ("stack.py", "lstm", 'implementation == "cudnn"'): "only on an NVIDIA GPU",
    ("stack.py", "_run", "recompute is not None"): "no case asks for recompute",
    ("stack.py", "_run", "layer and dropout"): "torch and JAX draw different masks",
    ("stack.py", "_drop", ""): "torch and JAX draw different masks",
    ("stack.py", "_trace", ""): "check looks at gates only to name a place",
    ("recurrences/choose.py", "choose", "default_backend"): "only on devices other than CPUs",
    ("recurrences/choose.py", "choose", "not sizes.known"): "only in a program that is exported for any size",
    ("recurrences/recompute.py", "recur_in_segments", ""): "no case asks for recompute",
}


class Left(NamedTuple):
    """A branch that no case took."""

    file: str
    function: str
    line: int
    target: int
    text: str
    raises: bool

    @property
    def why(self) -> str:
        """The known reason, or an empty string."""
        known = ((f, name, part) for f, name, part in NOT_BY_FUZZ if (f, name) == (self.file, self.function))
        return next((NOT_BY_FUZZ[key] for key in known if key[2] in self.text), "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if find_spec("coverage") is None:
        print(
            "error: coverage is not installed: pip install --target FOLDER coverage, then set PYTHONPATH=FOLDER",
            file=sys.stderr,
        )
        return 2
    import coverage  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        include = [str(PACKAGE / file) for file in FILES]
        measured = coverage.Coverage(data_file=os.path.join(folder, "data"), branch=True, include=include)
        measured.start()
        from lstm_parity.fuzz.search import fuzz

        found = fuzz(cases=arguments.cases, seed=arguments.seed, progress=True)
        measured.stop()
        print(f"{found.cases_run} cases in {found.seconds:.0f} s, {found.compiled} compiled, seed {found.seed}")
        if found.failure is not None:
            print("they differ: lstm-parity fuzz says where")
        print(f"{'branches of':22} {'all':>5} {'taken':>6} {'raise':>6} {'left':>5}")
        left = [branch for file in FILES for branch in report(measured, file)]
    for branch in left:
        print(f"{branch.file}:{branch.line} to {branch.target}, {branch.function}: {branch.why or 'UNEXPLAINED'}")
        print(f"    {branch.text}")
    return 1 if found.failure is not None or any(not branch.why for branch in left) else 0


def report(measured: Any, file: str) -> list[Left]:
    """Print the row for a file. Return the branches that were not taken and raise no error."""
    path = PACKAGE / file
    analysis = measured._analyze(str(path))
    lines, tree = path.read_text().splitlines(), ast.parse(path.read_text())
    missed = [
        Left(file, function_of(tree, line), line, target, lines[line - 1].strip(), raises(tree, line, target))
        for line, targets in sorted(analysis.missing_branch_arcs().items())
        for target in targets
    ]
    every = sum(all_of_line for all_of_line, _ in analysis.branch_stats().values())
    left = [branch for branch in missed if not branch.raises]
    print(f"{file:22} {every:5} {every - len(missed):6} {len(missed) - len(left):6} {len(left):5}")
    return left


def function_of(tree: ast.AST, line: int) -> str:
    """Return the name of the innermost function around this line."""
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return max(functions, key=lambda node: node.lineno).name if functions else ""


def raises(tree: ast.AST, line: int, target: int) -> bool:
    """Return whether the branch from this line leads to a block that ends by raising an error."""
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
