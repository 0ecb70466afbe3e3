"""How well conditioned a case is: how far its result moves when its numbers move by a rounding error."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lstm_parity.compare.perturbations import one_ulp_away, reordered
from lstm_parity.compare.tolerance import group_scale, limit
from lstm_parity.sides.case import Case, Observation

Observe = Callable[[Case], Observation]

# With eight, what two right implementations are apart is at most 1.1 times the largest response at a recurrent gain of
# 6 (hidden 16, 60 steps, 40 seeds), and 1.4 times at a gain of 12; with three it was 4.9 times there.
ULP_PERTURBATIONS = 8
# Other orders of the sums, beside these: they move results by as much, in other directions.
REORDERINGS = 2


def response(case: Case, result: Observation, observe: Observe) -> Observation:
    """The largest distance of every number from ``result`` in the perturbed cases; infinite where there is none.

    Args:
        case: what was computed.
        result: of the reference, ``observe(case)``.
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
    """The largest response among numbers of a kind, broadcast against them: eight perturbations are few for each one.

    Of what has steps, all numbers of a step; and a step is never better conditioned than those that were computed
    before it. Of states, all of a layer and direction. Of a weight or its gradient, all (at each optimizer step).
    """
    if not apart.size:
        return apart
    if name in ("long_memory", "short_memory") and stage == "forward":
        return np.maximum.accumulate(apart, axis=-1)
    if name in ("outputs", "inputs") and case.kind.has_steps:
        return _by_step(case, apart, backwards=name == "inputs")
    # The first axis is that of layers and directions, or of optimizer steps.
    kept = 1 if name in ("h_n", "c_n", "h_0", "c_0") or "adam" in stage else 0
    return np.broadcast_to(apart.max(axis=tuple(range(kept, apart.ndim)), keepdims=True), apart.shape)


def _by_step(case: Case, apart: np.ndarray, *, backwards: bool) -> np.ndarray:
    axis = case.time_axis
    both = case.kind.both_directions
    from_both_ends = both and backwards  # gradients reach the inputs from either end
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
    """How many first steps respond within the limit in every array, outputs and gradients; 0 if none, or for a cell."""
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
