"""Same numbers first: a contender is timed only when it computes what the reference computes."""

import numpy as np

from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders.program import Shown
from lstm_parity.compare.rows import Row, compare
from lstm_parity.compare.tolerance import TRAJECTORY_FACTOR, adam_tolerance, eps, factor, group_scale


def judge(case: BenchCase, dtype: str, contender: str, shown: Shown, reference: Shown) -> list[Row]:
    """Compare what a contender showed with what the reference showed for the same case and mode.

    Args:
        shown, reference: stage -> name -> array, as ``Program.show`` returns them. Stages and names that the
            contender does not show fail, but for weights after an Adam step that its layout has no place for; of
            losses, as many steps are compared as both have.
    """
    k = TRAJECTORY_FACTOR if case.kind == "by hand" else factor(case.spec, case.time)
    rows: list[Row] = []
    for stage, expected in reference.items():
        arrays = shown.get(stage, {})
        allowed: float | dict[str, np.ndarray] = k
        if stage == "losses":
            steps = min(len(array) for array in (*arrays.values(), *expected.values()))
            arrays, expected = ({name: a[:steps] for name, a in side.items()} for side in (arrays, expected))
        elif stage == "adam" and arrays:
            expected = {name: array for name, array in expected.items() if name in arrays}
            gradient, unit = reference["gradient"], eps(dtype) * group_scale(expected)
            errors = np.array([k * eps(dtype) * group_scale(gradient)])
            allowed = {n: adam_tolerance(gradient[n][None], errors, k * unit)[0] / unit for n in expected}
        rows += compare(stage, arrays, expected, dtype=dtype, sides=(contender, "torch"), allowed=allowed)
    return rows


def in_words(row: Row) -> str:
    """Where and by how much a row is out of its tolerance."""
    where = f" at {list(row.where)}" if row.where else ""
    if row.problem:
        return f"{row.stage}, {row.name}, {row.dtype}: {row.problem}"
    return (
        f"{row.stage}, {row.name}{where}, {row.dtype}: {row.values.candidate:.6g} ({row.sides.candidate}) against "
        f"{row.values.reference:.6g} ({row.sides.reference}), {row.tolerance:.1e} allowed"
    )
