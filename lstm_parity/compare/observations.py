"""Compare what two implementations computed for a case, stage by stage, in the order of computation."""

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

# A step of Adam is compared if it tells right from wrong in this share of all weights. The gradients of the remaining
# weights are so small that rounding errors decide which way those weights move.
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
    """Compare two observations. If something is out of tolerance, measure the conditioning and compare again.

    Args:
        case: what both sides computed, in ``dtype``.
        candidate, reference: what each side computed.
        sides: what to call the two, the candidate first.
        dtype: the precision both sides computed in.
        truth: the float64 result, if ``dtype`` is below float64; else None.
        observe: the reference, which also runs the perturbed cases.
    """

    def rows(moves: Observation | None = None) -> list[Row]:
        return compare_observations(case, candidate, reference, sides=sides, dtype=dtype, truth=truth, moves=moves)

    def wrong(rows: list[Row]) -> list[Row]:
        return [row for row in rows if not row.ok and not row.problem]

    found = rows()
    if not wrong(found):
        return found
    # First without Adam's steps: that is ten times as fast, and enough if the gradients already differ.
    shorter, shown = replace(case, steps=0), {s: a for s, a in reference.items() if s not in ("adam", STEP_GRADIENTS)}
    moves = response(shorter, shown, observe)
    found = rows(moves)
    if case.steps and (left := wrong(found)) and all(row.stage == "adam" for row in left):
        found = rows(moves | response(case, {STEP_GRADIENTS: reference[STEP_GRADIENTS]}, observe))
    return found


def finite_part(candidate: Observation, reference: Observation) -> tuple[Observation, Observation, list[str]]:
    """Leave out the arrays in which the reference itself has NaN or infinity: nobody can say what is right there.

    If a forward array is not finite, everything is left out, because everything else follows from the forward pass. If
    a gradient is not finite, Adam's steps are left out too. The other gradients stay: an overflow in one of them says
    nothing about the others.

    Returns:
        What is left of the candidate, what is left of the reference, and which arrays of the reference are not finite.
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
        case: what both sides computed.
        candidate, reference: what each side computed, as stage -> name -> array.
        sides: what to call the two, the candidate first.
        dtype: the precision both sides computed in.
        truth: the float64 result, to say how far each side is from it.
        moves: the reference's response to rounding errors (``conditioning.response``), if it was measured.
    """
    k, largest_input = factor(case.spec, case.time), largest_magnitude(case.read_inputs)
    rows: list[Row] = []
    determined = True
    for stage, arrays in reference.items():
        if stage == STEP_GRADIENTS:
            continue
        scale = group_scale(arrays)
        if stage == "loss":  # a sum of products: its rounding error grows with the products, even if they cancel
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
            # If rounding errors decide an output, they also decide everything computed from it. How far apart two right
            # gradients are is then so irregular that ten responses do not show it: in 1 pair of 788, 69 times as far.
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
    """Return how far each weight may be off after each step, given the gradients that the reference stepped with."""
    by_step = reference[STEP_GRADIENTS]
    steps = len(next(iter(by_step.values())))
    errors = np.array([k * eps(dtype) * group_scale({n: g[step] for n, g in by_step.items()}) for step in range(steps)])
    own = k * eps(dtype) * group_scale(reference["adam"])
    tolerances = {}
    for name, gradients in by_step.items():
        measured = np.zeros(steps)
        if moves is not None:
            # If Adam's steps were not perturbed, the response of the first gradient serves for all of them.
            moved = moves[STEP_GRADIENTS][name] if STEP_GRADIENTS in moves else moves["gradient"][name][None]
            largest = moved.reshape(len(moved), -1).max(axis=1, initial=0.0)
            measured = RESPONSE_FACTOR * np.broadcast_to(largest, steps)
        tolerances[name] = adam_tolerance(gradients, np.maximum(errors, measured), own)
    return tolerances


def judged_adam_steps(tolerances: dict[str, np.ndarray]) -> int:
    """Return how many steps, from the first on, tell right from wrong in nearly all weights."""
    judges = [adam_judges(tolerance).reshape(len(tolerance), -1) for tolerance in tolerances.values()]
    shares = np.concatenate(judges, axis=1).mean(axis=1)
    return int(np.argmin(shares >= _JUDGED_SHARE)) if (shares < _JUDGED_SHARE).any() else len(shares)


def _backwards(name: str) -> float:
    """Return a key that sorts gradients in the order in which the backward pass computes them.

    The head comes first, then the last layer down to the first, then the inputs and initial states. A mistake in one
    layer spoils the gradients of all layers below it.
    """
    if name.startswith("fc."):
        return -math.inf
    known = parse_weight_name(name.rpartition(".")[2])
    return 1 if known is None else -known.layer
