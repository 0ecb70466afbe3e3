"""What a case can show: how far its results move with each weight, gate and state, and what moves nothing.

If no result depends on an array, a port may have anything there and every comparison still agrees. The recurrent
weights of a cell that starts from zero are an example. The verdict says nothing about such an array, so every report
names it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lstm_parity.compare.conditioning import Observe
from lstm_parity.compare.tolerance import eps, factor, group_scale
from lstm_parity.sides.case import Case, Observation
from lstm_shared.names import GATES, WITH_GATES, gate_in_words


@dataclass(frozen=True)
class Sensitivity:
    """How far the results move with one part of a model.

    Attributes:
        name: the name of the weight or the state ("h", "c").
        gate: the gate whose rows these are; empty if the array has no gates.
        moves: how many tolerances the loss moves if one entry is wrong by its own size, to first order. If that is
            below 1: how many tolerances the outputs move if the part is zeroed, reversed (a scalar: negated) or
            increased by one. If this too is below 1, a mistake there does not show.
    """

    name: str
    gate: str
    moves: float

    @property
    def seen(self) -> bool:
        return self.moves >= 1.0


def audit(case: Case, reference: Observation, observe: Observe) -> list[Sensitivity]:
    """Measure the sensitivity to every weight, gate by gate, and to the state.

    Args:
        case: the case in float64, with the cotangents of the arrays that are compared.
        reference: ``observe(case)``.
        observe: the reference.
    """
    gradients = reference["gradient"]
    tolerance = factor(case.spec, case.time) * eps("float64") * group_scale(gradients)
    found = []
    for name, gate, part in _parts(case):
        array = case.weights[name] if name in case.weights else case.state[name]
        gradient = gradients[name if name in case.weights else f"{name}_0"]
        sizes = np.maximum(np.abs(array[part]), np.abs(array[part]).mean() if array[part].size else 0)
        moves = float(np.max(np.abs(gradient[part]) * sizes, initial=0.0)) / tolerance
        if not moves >= 1.0:  # saturated, or zero itself: its effect only shows if it moves far
            moves = max(moves, _moved_far(case, name, part, reference, observe))
        found.append(Sensitivity(name, gate, moves))
    return found


def _parts(case: Case) -> Iterator[tuple[str, str, tuple[slice, ...]]]:
    """Yield (name, gate, slices of the array) for each part of the model."""
    for name, array in case.weights.items():
        part = name.rpartition(".")[2]
        if not part.startswith(WITH_GATES) or case.kind.single_unit:
            yield name, "", ()
            continue
        size = len(array) // 4
        for number, gate in enumerate(map(gate_in_words, GATES)):
            yield name, gate, (slice(number * size, (number + 1) * size),)
    for name in case.state:
        yield name, "", ()


def _moved_far(case: Case, name: str, part: tuple[slice, ...], reference: Observation, observe: Observe) -> float:
    """Return how many tolerances the outputs move if the part is zeroed, reversed or increased by one."""
    group = "weights" if name in case.weights else "state"
    arrays = getattr(case, group)
    forward = reference["forward"]
    tolerance = factor(case.spec, case.time) * eps("float64") * group_scale(forward)
    largest = 0.0
    for change in (np.zeros_like, lambda x: x[::-1] if x.ndim else -x, lambda x: x + 1):
        array = arrays[name].copy()
        array[part] = change(arrays[name][part])
        moved = observe(replace(case, steps=0, **{group: {**arrays, name: array}}))["forward"]
        apart = max((float(np.max(np.abs(moved[n] - forward[n]), initial=0.0)) for n in case.cotangents), default=0.0)
        largest = max(largest, apart / tolerance)
        if largest >= 1.0:
            break
    return largest


def unseen(found: list[Sensitivity]) -> list[str]:
    """Return a sentence for each thing that these inputs cannot show: whole arrays, and single gates of an array."""
    if found and not any(one.seen for one in found):
        return ["these inputs do not reach any weight"]
    sentences = []
    hidden = [one for one in found if not one.seen]
    of_weight: dict[str, list[Sensitivity]] = {}
    for one in found:
        of_weight.setdefault(one.name, []).append(one)
    whole = {name for name, parts in of_weight.items() if not any(part.seen for part in parts)}
    for name in of_weight:
        if name in whole:
            what = f"the state {name}" if name in ("h", "c", "long_memory", "short_memory") else name
            sentences.append(f"these inputs cannot tell whether {what} is used")
    gates: dict[str, list[str]] = {}
    for one in hidden:
        if one.name not in whole:
            gates.setdefault(one.gate, []).append(one.name)
    for gate, names in gates.items():
        some = f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}"
        sentences.append(f"these inputs cannot tell what the {gate} does with {some}")
    return sentences
