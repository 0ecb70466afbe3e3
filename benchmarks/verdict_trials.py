"""One trial of ``verdict.py``: draw a model, make a right pair or plant a mistake, and run ``check`` on it."""

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from verdict_models import KINDS, Model, draw_model
from verdict_plants import MISTAKES, draw_plant
from verdict_ports import RIGHT, port

import lstm_parity
from lstm_parity.compare.conditioning import Observe
from lstm_parity.compare.rows import Row
from lstm_parity.compare.tolerance import group_scale
from lstm_parity.sides import torch_backend
from lstm_parity.sides.case import Case, Observation, make_case
from lstm_parity.sides.port import Port, observe
from lstm_parity.verdict import judgement
from lstm_shared import describe

ROLES = ("pair", "plant")

# What computes the right results and the ports with mistakes. JAX is rare: it takes a second or two to compile.
_PAIRS = ("our backends",) * 7 + ("numpy", "torch", "jax")
_PORTS = ("torch",) * 5 + ("numpy",) * 3 + ("jax",)

# The tolerance in which a mistake is measured: 64 eps of the group's scale, or 64 times the largest of eight responses
# to one ulp, up to a response of 1e-6. It is repeated here so that a slip in ``compare`` shows. An entry counts if its
# response is below a quarter of that limit, because eight other perturbations give another response. An entry of a
# gradient counts only if the responses of all outputs are below it too.
_EPS = float(np.finfo(np.float64).eps)
_FLAT, _RESPONSES, _LIMIT, _PERTURBATIONS = 64 * _EPS, 64.0, 1e-6 / 4, 8


def run_trial(role: str, number: int, seed: int) -> dict[str, Any]:
    """Draw and judge one model.

    Returns:
        For every trial: role, number, kind, model; by: what computes it; verdict: "agree", "differ", "undecided" or
        "error"; line: the verdict in words; seconds; used: stage and dtype -> largest share of the tolerance, with
        "measured" in the key if the response was measured.
        For a pair: invisible: the parts that the report lists as such; wrongly: those of them on which the outputs do
        depend.
        For a plant: mistake, size; moves: by how many tolerances it moves an entry (None if it was caught and that is
        certainly more than one).
    """
    rng = np.random.default_rng((seed, ROLES.index(role), number))
    kind = KINDS[number % len(KINDS)]  # verdict.py relies on this
    by = str(rng.choice(_PAIRS if role == "pair" else _PORTS))
    model = draw_model(kind, rng, by_hand=by == "our backends")
    found = {"role": role, "number": number, "kind": kind, "model": model.name, "by": by}
    candidate = None
    if by != "our backends":
        changes, plant = RIGHT, None
        if role == "plant":
            plant = draw_plant(describe(model.weights), model.options, by, rng)
            changes = MISTAKES[plant.name]
            found |= {"mistake": plant.name, "size": plant.size}
        candidate = Port(port(model.weights, by, changes, plant), framework=by)  # pyright: ignore[reportArgumentType]
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mistakes may overflow
        try:
            found |= _judged(model, candidate, role)
        except Exception as error:
            found |= {"verdict": "error", "line": f"{type(error).__name__}: {error}"}
    return found | {"seconds": round(time.process_time() - began, 2)}


def _judged(model: Model, candidate: Port | None, role: str) -> dict[str, Any]:
    used: dict[str, float] = {}
    with _shares_kept(used):
        report = lstm_parity.check(
            model.weights, model.inputs, candidate=candidate, state=model.state, seed=model.seed, **model.options
        )
    found = {"verdict": report.verdict_word, "line": report.verdict(), "used": used}
    case = make_case(
        model.weights, model.inputs, state=model.state, steps=0, seed=model.seed, draw_state=True, **model.options
    )
    if role == "pair":
        return found | _invisible(case, report)
    assert candidate is not None
    return found | {"moves": _moves(case, candidate, caught=report.verdict_word == "differ")}


@contextmanager
def _shares_kept(used: dict[str, float]) -> Iterator[None]:
    """Record how much of its tolerance each row uses, and whether its response to rounding errors was measured."""
    usual = judgement.judge

    def judge(*positional: Any, observe: Observe, **others: Any) -> list[Row]:
        perturbed = []
        rows = usual(*positional, observe=lambda case: perturbed.append(case) or observe(case), **others)
        for row in rows:
            key = f"{row.stage} {row.dtype}{', measured' if perturbed else ''}"
            used[key] = max(used.get(key, 0.0), float(f"{row.used:.3g}"))
        return rows

    judgement.judge = judge
    try:
        yield
    finally:
        judgement.judge = usual


def _invisible(case: Case, report: Any) -> dict[str, Any]:
    """Return the parts that the report calls invisible, and those of them on which the outputs do depend."""
    prefixes = [re.match(r"first (\d+) steps", row.setting) for row in report.rows if row.dtype == "float64"]
    steps = [int(prefix[1]) for prefix in prefixes if prefix]
    case = case.first_steps(steps[0]) if steps else case
    exact = torch_backend.observe(case)["forward"]
    listed, wrongly = [], []
    for part in report.sensitivity:
        if part.seen or part.name not in case.weights | case.state:
            continue
        name = f"{part.name} {part.gate}".strip()
        listed.append(name)
        held = "weights" if part.name in case.weights else "state"
        array = getattr(case, held)[part.name]
        size = len(array) // 4 if part.gate else 0
        gate = ("input gate", "forget gate", "candidate", "output gate").index(part.gate) if part.gate else 0
        rows = slice(gate * size, (gate + 1) * size) if part.gate else ...
        for other in (0 * array[rows], -array[rows], array[rows] + 1):
            wrong = array.copy()
            wrong[rows] = other
            moved = torch_backend.observe(replace(case, **{held: getattr(case, held) | {part.name: wrong}}))["forward"]
            if _flat_moves({"forward": moved}, {"forward": exact}) > 10 and name not in wrongly:
                wrongly.append(name)
    return {"invisible": listed, "wrongly": wrongly}


def _flat_moves(observed: Observation, reference: Observation) -> float:
    """Return the largest difference, in the tolerances of a well-conditioned model."""
    return max(
        float(np.max(np.abs(observed[stage][name] - array), initial=0.0)) / (_FLAT * group_scale(arrays))
        for stage, arrays in reference.items()
        if stage in observed and stage != "loss"
        for name, array in arrays.items()
        if name in observed[stage]
    )


def _moves(case: Case, candidate: Port, *, caught: bool) -> float | None:
    """Return by how many tolerances the port's arrays are off at most, over all steps or those that can be judged."""
    observed, returned = observe(case, candidate)
    reference = torch_backend.observe(returned)
    if not all(np.isfinite(a).all() for arrays in observed.values() for a in arrays.values()):
        return float("inf")
    flat = _flat_moves(observed, reference)
    if caught:
        return None if flat > 1 else flat
    if flat <= 1:
        return flat
    responses = _responses(returned, reference)
    moves = _largest(observed, reference, responses)
    if _within_limit(responses, reference) or case.cotangents.keys() <= {"h", "c"}:
        return moves
    fits, too_many = 0, case.time
    while too_many - fits > 1:
        steps = (fits + too_many) // 2
        shorter = returned.first_steps(steps)
        reference = torch_backend.observe(shorter)
        fitting = _within_limit(_responses(shorter, reference), reference)
        fits, too_many = (steps, too_many) if fitting else (fits, steps)
    if not fits:
        return moves
    observed, shorter = observe(case.first_steps(fits), candidate)
    reference = torch_backend.observe(shorter)
    return max(moves, _largest(observed, reference, _responses(shorter, reference)))


def _responses(case: Case, reference: Observation) -> Observation:
    """Return the largest change of each entry, or of those computed before it, over eight cases one ulp away."""
    largest = {stage: {n: np.zeros(a.shape) for n, a in arrays.items()} for stage, arrays in reference.items()}
    for number in range(_PERTURBATIONS):
        moved = torch_backend.observe(_one_ulp_away(case, np.random.default_rng((12345, number))))
        for stage, arrays in largest.items():
            for name in arrays:
                arrays[name] = np.maximum(arrays[name], np.abs(moved[stage][name] - reference[stage][name]))
    for stage, arrays in largest.items():
        for name, array in arrays.items():
            if name == "outputs" and stage == "forward" and not getattr(case.spec, "bidirectional", False):
                others = tuple(axis for axis in range(array.ndim) if axis != case.time_axis)
                by_step = array.max(axis=others, keepdims=True)
                arrays[name] = np.broadcast_to(np.maximum.accumulate(by_step, case.time_axis), array.shape)
            else:
                arrays[name] = np.full(array.shape, array.max(initial=0.0))
    return largest


def _one_ulp_away(case: Case, rng: np.random.Generator) -> Case:
    def moved(array: np.ndarray) -> np.ndarray:
        return np.nextafter(array, rng.choice([-np.inf, np.inf], array.shape))

    weights, state = ({name: moved(array) for name, array in group.items()} for group in (case.weights, case.state))
    return replace(case, weights=weights, state=state, inputs=moved(case.inputs))


def _within_limit(responses: Observation, reference: Observation) -> bool:
    return all(
        bool((responses[stage][name] <= _LIMIT * group_scale(arrays)).all())
        for stage, arrays in reference.items()
        if stage != "loss"
        for name in arrays
    )


def _largest(observed: Observation, reference: Observation, responses: Observation) -> float:
    largest = 0.0
    determined = _within_limit(responses, {"forward": reference["forward"]})
    for stage in ("forward", "gradient") if determined else ("forward",):
        scale = group_scale(reference[stage])
        for name, array in observed.get(stage, {}).items():
            response = responses[stage][name]
            off = np.abs(array - reference[stage][name]) / np.maximum(_FLAT * scale, _RESPONSES * response)
            largest = max(largest, float(np.max(off, initial=0.0, where=response <= _LIMIT * scale)))
    return largest
