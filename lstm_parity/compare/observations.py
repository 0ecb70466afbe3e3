"""What two implementations computed for a case, compared stage by stage in the order of computation."""

import math
from dataclasses import replace

import numpy as np

from lstm_parity.compare.conditioning import Observe, response
from lstm_parity.compare.rows import Row, compare
from lstm_parity.compare.tolerance import (
    RESPONSE_FACTOR,
    adam_judges,
    adam_tolerance,
    eps,
    factor,
    group_scale,
    input_factor,
    limit,
)
from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.torch_backend import STEP_GRADIENTS
from lstm_shared.finite import count_not_finite, largest_magnitude
from lstm_shared.names import parse_weight_name

# A step of Adam is compared while it tells right from wrong in this share of all weights. In the others the gradient is
# so small that rounding errors decide which way they go.
_JUDGED_SHARE = 0.9


def judge(
    case: Case,
    candidate: Observation,
    reference: Observation,
    *,
    sides: tuple[str, str],
    dtype: str,
    truth: Observation | None,
    observe: Observe,
) -> list[Row]:
    """Compare, and measure how well conditioned the case is where it matters: where something is out of tolerance.

    Args:
        case: what both computed, in ``dtype``.
        candidate, reference: what they showed of it.
        truth: the float64 result, below float64.
        observe: the reference, for the perturbed cases.
    """

    def rows(moves: Observation | None = None) -> list[Row]:
        return compare_observations(case, candidate, reference, sides=sides, dtype=dtype, truth=truth, moves=moves)

    def wrong(rows: list[Row]) -> list[Row]:
        return [row for row in rows if not row.ok and not row.problem]

    found = rows()
    if not wrong(found):
        return found
    # Without Adam's steps first: ten times as quick, and where the gradients differ already no step needs it.
    shorter, shown = replace(case, steps=0), {s: a for s, a in reference.items() if s not in ("adam", STEP_GRADIENTS)}
    moves = response(shorter, shown, observe)
    found = rows(moves)
    if case.steps and (left := wrong(found)) and all(row.stage == "adam" for row in left):
        found = rows(moves | response(case, {STEP_GRADIENTS: reference[STEP_GRADIENTS]}, observe))
    return found


def finite_part(candidate: Observation, reference: Observation) -> tuple[Observation, Observation, list[str]]:
    """Both without what the reference itself has NaN or infinity in: nobody can say what is right there.

    Where that is so of an output it is so of all that is computed from it, and where it is so of a gradient, of Adam's
    steps; a gradient that overflows says nothing about the others.

    Returns:
        The candidate's part, the reference's, and which arrays of the reference were not finite.
    """
    unfit = {
        (stage, name)
        for stage, arrays in reference.items()
        for name, array in arrays.items()
        if count_not_finite(array)
    }
    if not unfit:
        return candidate, reference, []
    stages = {stage for stage, _ in unfit}
    if "forward" in stages:
        left: set[str] = set()
    elif stages == {"loss"}:
        left = {*reference}
    else:
        left = {*reference} - {"adam", STEP_GRADIENTS}

    def part(side: Observation) -> Observation:
        return {
            stage: {name: array for name, array in arrays.items() if (stage, name) not in unfit}
            for stage, arrays in side.items()
            if stage in left
        }

    return part(candidate), part(reference), [f"{s} {n}" for s, n in sorted(unfit) if s != STEP_GRADIENTS]


def compare_observations(
    case: Case,
    candidate: Observation,
    reference: Observation,
    *,
    sides: tuple[str, str],
    dtype: str,
    truth: Observation | None = None,
    moves: Observation | None = None,
) -> list[Row]:
    """Compare what two implementations computed for a case, in the order of computation.

    Args:
        case: what both computed.
        candidate, reference: stage -> name -> array.
        sides: what to call the two.
        dtype: the precision both computed in.
        truth: the float64 result, to say how far each side is from it.
        moves: the reference's response to rounding errors (``conditioning.response``), where it was measured.
    """
    k, largest_input = factor(case.spec, case.time), largest_magnitude(case.read_inputs)
    rows: list[Row] = []
    determined = True
    for stage, arrays in reference.items():
        if stage == STEP_GRADIENTS:
            continue
        scale = group_scale(arrays)
        if stage == "loss":  # a sum of products: its rounding grows with their magnitudes, not with what is left
            forward = reference["forward"]
            scale = max(1.0, sum(float(np.sum(np.abs(forward[name] * c))) for name, c in case.cotangents.items()))
        unit = eps(dtype) * scale
        allowed: dict[str, np.ndarray | float] = {}
        judged: dict[str, np.ndarray] = {}
        taken = None
        if stage == "adam":
            tolerances = _adam_tolerances(reference, k, dtype, moves)
            allowed = {name: tolerance / unit for name, tolerance in tolerances.items()}
            steps = judged_adam_steps(tolerances) if determined else 0
            taken = (steps, case.steps)
            for name, tolerance in tolerances.items():
                early = np.arange(len(tolerance)).reshape(-1, *(1,) * (tolerance.ndim - 1)) < steps
                judged[name] = early & adam_judges(tolerance)
        else:
            for name in arrays:
                own = k
                if stage == "gradient" and case.kind.multiplies_inputs(name):
                    own = input_factor(k, scale, largest_input)
                allowed[name] = own
                if moves is not None and name in moves.get(stage, {}):
                    moved = moves[stage][name]
                    allowed[name] = np.maximum(own, RESPONSE_FACTOR * np.where(np.isfinite(moved), moved, 0) / unit)
                    judged[name] = (moved <= limit(dtype) * scale) & determined
        if stage == "forward":
            # Where rounding errors decide the outputs they decide what is computed from them, and how far two right
            # gradients are apart is then so irregular that ten responses do not tell: 69 times theirs in 1 pair of 788.
            determined = all(bool(which.all()) for which in judged.values())
        compared = compare(
            stage,
            candidate.get(stage, {}),
            {name: arrays[name] for name in sorted(arrays, key=_backwards)} if stage == "gradient" else arrays,
            dtype=dtype,
            sides=sides,
            allowed=allowed,
            scale=scale,
            truth=None if truth is None else truth.get(stage),
            judged=judged,
        )
        rows += [replace(row, adam_steps=taken) for row in compared] if taken else compared
    return rows


def _adam_tolerances(reference: Observation, k: float, dtype: str, moves: Observation | None) -> dict[str, np.ndarray]:
    """How far each weight may be off after each step, from the gradients that the reference's steps took."""
    by_step = reference[STEP_GRADIENTS]
    steps = len(next(iter(by_step.values())))
    errors = np.array([k * eps(dtype) * group_scale({n: g[step] for n, g in by_step.items()}) for step in range(steps)])
    own = k * eps(dtype) * group_scale(reference["adam"])
    tolerances = {}
    for name, gradients in by_step.items():
        measured = np.zeros(steps)
        if moves is not None:
            # Of the first gradient alone, where the steps were not perturbed.
            moved = moves[STEP_GRADIENTS][name] if STEP_GRADIENTS in moves else moves["gradient"][name][None]
            largest = moved.reshape(len(moved), -1).max(axis=1, initial=0.0)
            measured = RESPONSE_FACTOR * np.broadcast_to(largest, steps)
        tolerances[name] = adam_tolerance(gradients, np.maximum(errors, measured), own)
    return tolerances


def judged_adam_steps(tolerances: dict[str, np.ndarray]) -> int:
    """How many steps, from the first on, tell right from wrong in nearly all weights."""
    judges = [adam_judges(tolerance).reshape(len(tolerance), -1) for tolerance in tolerances.values()]
    shares = np.concatenate(judges, axis=1).mean(axis=1)
    return int(np.argmin(shares >= _JUDGED_SHARE)) if (shares < _JUDGED_SHARE).any() else len(shares)


def _backwards(name: str) -> float:
    """Sorts gradients as the backward pass computes them, where a mistake in one layer spoils those of all below it:
    the head's, the last layer's, …, the first layer's, those of the inputs and initial states."""
    if name.startswith("fc."):
        return -math.inf
    known = parse_weight_name(name.rpartition(".")[2])
    return 1 if known is None else -known.layer
