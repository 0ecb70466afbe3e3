"""The comparison policy: how close two backends must be. The only place where a tolerance is decided.

``|a - b| <= K · eps(dtype) · scale``, with scale = max(1, largest magnitude in the reference group), a group being all
outputs together or all gradients together. Purely relative or ULP tests are wrong here: in a gradient that cancels,
correct code is off by a thousand eps relative to what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from lstm_shared.specs import ByHandSpec, Spec

if TYPE_CHECKING:
    from lstm_parity.location import Location
    from lstm_parity.output_location import GradientLocation, OutputLocation

Arrays = Mapping[str, np.ndarray]

# Adam, as the check steps it: torch's and optax's default settings.
LEARNING_RATE = 1e-3
ADAM_EPSILON = 1e-8

# K of the two kinds of model; ``factor`` has the measurements.
BY_HAND_FACTOR = 128.0
LSTM_FACTOR = 64.0

# K after 400 Adam steps from the published initial weights, in float64 (measured: at most 1).
TRAJECTORY_FACTOR = 64


@dataclass(frozen=True)
class Row:
    """One comparison of one array.

    Attributes:
        stage: "forward", "loss", "gradient", "adam", …
        name: which array of that stage.
        dtype: the precision both sides computed in.
        sides: what was compared, the candidate first: ("jax", "torch").
        difference: largest |candidate - reference|; NaN when either side has NaN or infinity.
        tolerance: what is allowed at ``where``.
        used: largest share of the tolerance used anywhere: 1.0 is the limit; its inverse is the headroom.
        relative: the array's own relative error, largest difference over largest reference magnitude.
        where: index of the first value out of tolerance, in the array's order (the Adam stage has the step first), or
            of the largest used share when all are within.
        values: (candidate, reference) at that index.
        errors: (candidate, reference) distance of each side from the float64 result, in eps(dtype) · scale; None
            where there is no such result.
        problem: what is wrong besides differing numbers: NaN, another shape, a missing array; empty if nothing is.
        location: of a report's first failed row, where that is: the layer, gate, step, row and unit when the gates of
            both are known, else the step, row and unit of the outputs, or the gate, row and column of the gradient.
    """

    stage: str
    name: str
    dtype: str
    sides: tuple[str, str]
    difference: float
    tolerance: float
    used: float
    relative: float
    where: tuple[int, ...] = ()
    values: tuple[float, float] = (0.0, 0.0)
    errors: tuple[float, float] | None = None
    problem: str = ""
    location: "Location | OutputLocation | GradientLocation | None" = None

    @property
    def ok(self) -> bool:
        return not self.problem and self.used <= 1.0  # NaN is not <= 1


def eps(dtype: str) -> float:
    """Distance from 1 to the next number in this floating-point dtype."""
    return float(ml_dtypes.finfo(np.dtype(dtype)).eps)


def factor(spec: Spec, steps: int) -> float:
    """K, the number of eps allowed, for a model and a number of steps (days).

    By hand, with weights from N(0, 1) and prices of order 1, the worst of 1,000 random dictionaries used 2.6 eps over
    4 days and 48 over 64; beyond, rounding keeps growing with the days.

    The vector model is judged relative to a group's largest magnitude, which grows with the lengths of its sums as
    their rounding does: from hidden size 4 to 512 and 6 to 1,000 steps, up to three layers and both directions, outputs
    used at most 2.0 eps and gradients 9.1 in float64 (small sizes, biases of order 1), and Adam steps 38 of their grown
    tolerance (float32, hidden size 512, in weights whose gradient almost vanishes).
    """
    if isinstance(spec, ByHandSpec):
        return 32.0 if steps <= 4 else BY_HAND_FACTOR * max(1.0, steps / 64)
    return LSTM_FACTOR


def magnitude(weights: Arrays, *inputs: np.ndarray) -> float:
    """By how much the scale grows with large inputs: max(1, |input|, |memory|) · max(1, |weight|).

    1 for weights and inputs of order 1 (below 4, the range of N(0, 1)), for which K is calibrated.
    """
    largest_input = max(map(_largest, inputs), default=0.0)
    return 1.0 if largest_input <= 4 else largest_input * group_scale(weights)


def group_scale(group: Arrays) -> float:
    """max(1, largest finite magnitude in the group)."""
    return max([1.0, *map(_largest, group.values())])


def adam_growth(gradient: np.ndarray, gradient_scale: float, steps: int) -> np.ndarray:
    """How far a rounding error of 1 in the gradient can move the weights in 1 to ``steps`` Adam steps: (steps, *shape).

    Adam divides by the gradient's own root mean square, so an error of ``gradient_scale`` in an element of size g moves
    its weight by up to learning rate · gradient_scale / g a step.
    """
    a_step = LEARNING_RATE * gradient_scale / np.maximum(np.abs(gradient), ADAM_EPSILON)
    return np.arange(1, steps + 1).reshape(-1, *(1,) * gradient.ndim) * a_step


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
) -> list[Row]:
    """Compare the arrays of a stage by name.

    Args:
        candidate, reference: name -> array; a name on one side only is a failed row.
        dtype: the precision that eps is taken from.
        allowed: tolerance in eps · scale: one number, or for each name a number or an array by element.
        scale: of the whole group; by default the largest magnitude in the reference, at least 1.
        truth: the float64 result, to say how far each side is from it.
    """
    scale = group_scale(reference) if scale is None else scale
    unit = eps(dtype) * scale
    rows = []
    for name in [*reference, *(name for name in candidate if name not in reference)]:
        if name not in candidate or name not in reference:
            side = sides[0] if name not in candidate else sides[1]
            rows.append(_failed(stage, name, dtype, sides, f"{side} has no {name}"))
            continue
        a, b = (np.asarray(side[name]) for side in (candidate, reference))
        if a.shape != b.shape:
            rows.append(_failed(stage, name, dtype, sides, f"{sides[0]} has shape {a.shape}, {sides[1]} {b.shape}"))
            continue
        if not a.size:
            rows.append(Row(stage, name, dtype, sides, 0.0, unit, 0.0, 0.0))
            continue
        k = allowed[name] if isinstance(allowed, Mapping) else allowed
        rows.append(_compare_array(stage, name, dtype, sides, a, b, np.broadcast_to(np.asarray(k) * unit, a.shape)))
        if truth is not None and name in truth:
            exact = np.asarray(truth[name], np.float64)
            errors = tuple(float(np.max(np.abs(side.astype(np.float64) - exact))) / unit for side in (a, b))
            rows[-1] = Row(**{**vars(rows[-1]), "errors": errors})
    return rows


def _compare_array(
    stage: str, name: str, dtype: str, sides: tuple[str, str], a: np.ndarray, b: np.ndarray, tolerance: np.ndarray
) -> Row:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    unfit = ~(np.isfinite(a64) & np.isfinite(b64))
    difference = np.abs(np.where(unfit, 0.0, a64) - np.where(unfit, 0.0, b64))
    used = np.where(unfit, np.inf, difference / tolerance)
    place = np.argmax(used > 1) if (used > 1).any() else np.argmax(used)
    where = tuple(int(i) for i in np.unravel_index(place, used.shape))
    problem = ""
    if unfit.any():
        problem = f"{int(unfit.sum())} of {a.size} values are NaN or infinite"
    return Row(
        stage,
        name,
        dtype,
        sides,
        difference=float("nan") if problem else float(difference.max()),
        tolerance=float(tolerance[where]),
        used=float(used.max()),
        relative=float(difference.max() / max(np.max(np.abs(b64), initial=0.0, where=~unfit), np.finfo(float).tiny)),
        where=where,
        values=(float(a64[where]), float(b64[where])),
        problem=problem,
    )


def _largest(array: np.ndarray) -> float:
    """Largest finite magnitude; in padding there may be anything."""
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def _failed(stage: str, name: str, dtype: str, sides: tuple[str, str], problem: str) -> Row:
    return Row(stage, name, dtype, sides, float("nan"), 0.0, float("inf"), float("nan"), problem=problem)
