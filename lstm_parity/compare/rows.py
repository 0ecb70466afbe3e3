"""Compare the arrays of two sides by name: one row each, with the share of the tolerance used and the worst place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lstm_parity.compare.places import GradientLocation, Location, OutputLocation, Pair
from lstm_parity.compare.tolerance import Arrays, eps, group_scale
from lstm_shared.argument_kinds import is_floating


@dataclass(frozen=True)
class Row:
    """One comparison of one array.

    Attributes:
        stage: "forward", "loss", "gradient", "adam", …
        name: the name of the array in that stage.
        dtype: the precision both sides computed in.
        sides: the names of the two sides, such as "jax" for the candidate and "torch" for the reference.
        difference: the largest ``|candidate - reference|``; NaN if either side has NaN or infinity.
        tolerance: the tolerance at ``where``.
        used: the largest share of the tolerance used anywhere in the array. 1.0 is the limit; the inverse is the
            headroom.
        relative: the relative error of the array: its largest difference over its largest reference magnitude.
        where: the index of the first value out of tolerance, in array order (in the Adam stage, the first axis is the
            steps). If every value is within tolerance, the index of the value that uses the largest share of it.
        values: the values of both sides at that index.
        errors: the distance of each side from the float64 result, in eps(dtype) · scale; None if there is no such
            result.
        problem: what is wrong besides the numbers: NaN or infinity, a different shape, a missing array. Empty if
            nothing is.
        judged: the share of the values that were judged, 0 to 1. The others respond too strongly to rounding errors.
        adam_steps: (judged, taken), the number of optimizer steps; None in other stages.
        setting: what was special about this run, in words; empty for the case as given.
        location: where the first failed row fails, if known; None in all other rows. It gives the layer, gate, step,
            row and unit if both sides show their gates; otherwise the step, row and unit of the outputs, or the gate,
            row and column of the gradient.
    """

    stage: str
    name: str
    dtype: str
    sides: Pair[str]
    difference: float
    tolerance: float
    used: float
    relative: float
    where: tuple[int, ...] = ()
    values: Pair[float] = Pair(0.0, 0.0)  # noqa: RUF009  a tuple cannot be changed
    errors: Pair[float] | None = None
    problem: str = ""
    judged: float = 1.0
    adam_steps: tuple[int, int] | None = None
    setting: str = ""
    location: Location | OutputLocation | GradientLocation | None = None

    @property
    def ok(self) -> bool:
        return not self.problem and self.used <= 1.0  # NaN is not <= 1


def compare(
    stage: str,
    candidate: Arrays,
    reference: Arrays,
    *,
    dtype: str,
    sides: tuple[str, str],
    allowed: float | Mapping[str, np.ndarray | float],
    scale: float | None = None,
    truth: Arrays | None = None,
    judged: Mapping[str, np.ndarray] | None = None,
) -> list[Row]:
    """Compare the arrays of a stage by name.

    Args:
        stage: the stage, for the rows.
        candidate, reference: name -> array. A name that only one side has makes a failed row.
        sides: what to call the two, the candidate first.
        dtype: the precision that eps is taken from.
        allowed: the tolerance, in eps · scale: one number for all arrays, or a number or an array of numbers per name.
        scale: the scale of the whole group; by default the largest magnitude in the reference, at least 1.
        truth: the float64 result, to say how far each side is from it.
        judged: name -> booleans that broadcast to the array: which of its values are judged. By default all are.

    Returns:
        One row for each name.
    """
    names = Pair(*sides)
    scale = group_scale(reference) if scale is None else scale
    unit = eps(dtype) * scale
    rows = []
    for name in [*reference, *(name for name in candidate if name not in reference)]:
        what = _Array(stage, name, dtype, names)
        if name not in candidate or name not in reference:
            side = names.candidate if name not in candidate else names.reference
            rows.append(_failed(what, f"{side} has no {name}"))
            continue
        a, b = (np.asarray(side[name]) for side in (candidate, reference))
        problem = ""
        if a.shape != b.shape:
            problem = f"{names.candidate} has shape {a.shape}, {names.reference} {b.shape}"
        elif not is_floating(a.dtype):
            problem = f"{names.candidate} has dtype {a.dtype}, expected floating-point numbers"
        if problem:
            rows.append(_failed(what, problem))
            continue
        if not a.size:
            rows.append(Row(*what, 0.0, unit, 0.0, 0.0))
            continue
        k = allowed[name] if isinstance(allowed, Mapping) else allowed
        tolerance = np.broadcast_to(np.asarray(k) * unit, a.shape)
        which = np.broadcast_to(True if judged is None else judged.get(name, True), a.shape)
        rows.append(_compare_array(what, a, b, tolerance, which))
        if truth is not None and name in truth:
            exact = np.asarray(truth[name])
            errors = Pair(*(float(np.max(np.abs(side.astype(exact.dtype) - exact))) / unit for side in (a, b)))
            rows[-1] = Row(**{**vars(rows[-1]), "errors": errors})
    return rows


class _Array(NamedTuple):
    """What is compared: the first four fields of a row."""

    stage: str
    name: str
    dtype: str
    sides: Pair[str]


def _compare_array(what: _Array, a: np.ndarray, b: np.ndarray, tolerance: np.ndarray, judged: np.ndarray) -> Row:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    unfit = ~(np.isfinite(a64) & np.isfinite(b64))
    difference = np.where(judged, np.abs(np.where(unfit, 0.0, a64) - np.where(unfit, 0.0, b64)), 0.0)
    used = np.where(unfit, np.inf, difference / tolerance)
    place = np.argmax(used > 1) if (used > 1).any() else np.argmax(used)
    where = tuple(int(i) for i in np.unravel_index(place, used.shape))
    problem = ""
    if unfit.any():
        problem = f"{int(unfit.sum())} of {a.size} values are NaN or infinite"
    return Row(
        *what,
        difference=float("nan") if problem else float(difference.max()),
        tolerance=float(tolerance[where]),
        used=float(used.max()),
        relative=float(difference.max() / max(np.max(np.abs(b64), initial=0.0, where=~unfit), np.finfo(float).tiny)),
        where=where,
        values=Pair(float(a64[where]), float(b64[where])),
        problem=problem,
        judged=float(judged.mean()),
    )


def _failed(what: _Array, problem: str) -> Row:
    return Row(*what, float("nan"), 0.0, float("inf"), float("nan"), problem=problem)
