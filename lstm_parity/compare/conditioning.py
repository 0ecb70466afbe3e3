"""How well conditioned a case is: how far its result moves when its numbers move by a rounding error."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lstm_parity.compare.perturbations import one_ulp_away, reordered
from lstm_parity.compare.tolerance import group_scale, limit
from lstm_parity.sides.case import Case, Observation

Observe = Callable[[Case], Observation]

# With eight, two right implementations differ by at most 1.1 times the largest response at a recurrent gain of 6
# (hidden size 16, 60 steps, 40 seeds), and by at most 1.4 times at a gain of 12. With three it was 4.9 times at 12.
ULP_PERTURBATIONS = 8
# On top of these, the sums are added up in other orders. This moves results just as far, but in other directions.
REORDERINGS = 2


def response(case: Case, result: Observation, observe: Observe) -> Observation:
    """Return how far each number of ``result`` moves, at most, in the perturbed cases; infinite where a result is NaN.

    Args:
        case: the unperturbed case.
        result: what the reference computes for it, ``observe(case)``.
        observe: the reference.
    """
    largest = {stage: {n: np.zeros(a.shape) for n, a in arrays.items()} for stage, arrays in result.items()}
    for moved in _perturbed(case, observe):
        for stage, arrays in result.items():
            for name, array in arrays.items():
                with np.errstate(invalid="ignore"):
                    apart = np.abs(moved[stage][name].astype(np.float64) - array.astype(np.float64))
                apart = np.where(np.isnan(apart), np.inf, apart)
                largest[stage][name] = np.maximum(largest[stage][name], apart)
    return {
        stage: {name: pooled(case, stage, name, array) for name, array in arrays.items()}
        for stage, arrays in largest.items()
    }


def _perturbed(case: Case, observe: Observe) -> Iterator[Observation]:
    for number in range(ULP_PERTURBATIONS):
        yield observe(one_ulp_away(case, number))
    for number in range(REORDERINGS):
        if (other := reordered(case, number)) is not None:
            yield other[1](observe(other[0]))


def pooled(case: Case, stage: str, name: str, apart: np.ndarray) -> np.ndarray:
    """Return the largest response in each pool of numbers, broadcast to the array's shape.

    Eight perturbations are too few to measure each number on its own. Arrays with a time axis have one pool per step,
    and a step is never taken to be better conditioned than the steps computed before it. States have one pool per
    layer and direction. A weight or its gradient is a single pool (one for each optimizer step).
    """
    if not apart.size:
        return apart
    if name in ("long_memory", "short_memory") and stage == "forward":
        return np.maximum.accumulate(apart, axis=-1)
    if name in ("outputs", "inputs") and case.kind.has_steps:
        return _by_step(case, apart, backwards=name == "inputs")
    # The first axis runs over layers and directions, or over optimizer steps.
    kept = 1 if name in ("h_n", "c_n", "h_0", "c_0") or "adam" in stage else 0
    return np.broadcast_to(apart.max(axis=tuple(range(kept, apart.ndim)), keepdims=True), apart.shape)


def _by_step(case: Case, apart: np.ndarray, *, backwards: bool) -> np.ndarray:
    axis = case.time_axis
    both = case.kind.both_directions
    from_both_ends = both and backwards  # gradients reach the inputs from both ends
    halves = np.split(apart, 2, axis=-1) if both and not backwards else [apart]
    pools = []
    for number, half in enumerate(halves):
        others = tuple(other for other in range(half.ndim) if other != axis)
        by_step = half.max(axis=others, keepdims=True)
        if not from_both_ends:
            turned = backwards or number == 1
            by_step = np.flip(by_step, axis) if turned else by_step
            by_step = np.maximum.accumulate(by_step, axis)
            by_step = np.flip(by_step, axis) if turned else by_step
        pools.append(np.broadcast_to(by_step, half.shape))
    return np.concatenate(pools, axis=-1)


def judged_steps(case: Case, observe: Observe, dtype: str) -> int:
    """Return how many steps, from the first on, can be judged: every output and gradient responds within the limit.

    0 if not even one step can be judged, and for a cell.
    """
    if not case.kind.has_steps:
        return 0
    fits, steps = 0, 1
    while steps <= case.time and _within_limit(case.first_steps(steps), observe, dtype):
        fits, steps = steps, 2 * steps
    too_many = min(steps, case.time + 1)
    while too_many - fits > 1:
        steps = (fits + too_many) // 2
        if _within_limit(case.first_steps(steps), observe, dtype):
            fits = steps
        else:
            too_many = steps
    return fits


def _within_limit(case: Case, observe: Observe, dtype: str) -> bool:
    case = replace(case, steps=0)
    result = observe(case)
    allowed = {stage: limit(dtype) * group_scale(arrays) for stage, arrays in result.items()}
    return all(
        bool((np.abs(moved[stage][name].astype(np.float64) - array) <= allowed[stage]).all())
        for moved in _perturbed(case, observe)
        for stage in ("forward", "gradient")
        for name, array in result[stage].items()
    )
