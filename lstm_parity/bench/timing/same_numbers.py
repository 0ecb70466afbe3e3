"""The comparison before the timing: only contenders that compute the reference's numbers are timed."""

import numpy as np

from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders.program import Shown
from lstm_parity.compare.rows import Row, compare
from lstm_parity.compare.tolerance import TRAJECTORY_FACTOR, adam_tolerance, eps, factor, group_scale


def judge(case: BenchCase, dtype: str, contender: str, shown: Shown, reference: Shown) -> list[Row]:
    """Compare the numbers of a contender with those of the reference for the same case and mode.

    A stage or name that the contender lacks fails. The exception is a weight after an Adam step: its layout may have no
    place for it. If one side has losses for more steps, the extra steps are not compared.

    Args:
        shown, reference: stage -> name -> array, as ``Program.show`` returns them.
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
    """Say where and by how much a row exceeds its tolerance."""
    where = f" at {list(row.where)}" if row.where else ""
    if row.problem:
        return f"{row.stage}, {row.name}, {row.dtype}: {row.problem}"
    return (
        f"{row.stage}, {row.name}{where}, {row.dtype}: {row.values.candidate:.6g} ({row.sides.candidate}) against "
        f"{row.values.reference:.6g} ({row.sides.reference}), {row.tolerance:.1e} allowed"
    )
