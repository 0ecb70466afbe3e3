"""Where two sides part first, as a place with both values, and in words. The functions of ``location`` find it."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class Pair(NamedTuple, Generic[T]):
    """What the two sides of a comparison have each, by field: a name, a value, an error."""

    candidate: T
    reference: T


class Values(NamedTuple):
    """The values of both sides at a place, in the order in which a sentence has them."""

    reference: float
    candidate: float


_WORDS = {
    "input_gate": "input gate",
    "forget_gate": "forget gate",
    "candidate": "candidate",
    "output_gate": "output gate",
    "cell": "cell state",
    "hidden": "hidden state",
    "projection": "projection",
    "long_remember_percent": "long remember percent (forget gate)",
    "potential_remember_percent": "potential remember percent (input gate)",
    "potential_memory": "potential memory (candidate)",
    "output_percent": "output percent (output gate)",
    "long_memory": "long memory (cell state)",
    "short_memory": "short memory (hidden state)",
}


@dataclass(frozen=True)
class Location:
    """The first value out of tolerance in a trace.

    Attributes:
        field: which gate or state, by its name in the trace: "input_gate", …, "cell", "hidden", "projection".
        layer, direction: where it stands in the model; the direction is "forward" or "reverse".
        step: where its inputs stand in the sequence (by hand, the day), from 0.
        turn: the step in the order in which its direction computes, from 0; the reverse one begins at the last step.
        row: batch row (by hand, the series); None without a batch axis.
        unit: None by hand.
        values: of both sides there.
        tolerance: what is allowed.
    """

    field: str
    layer: int
    direction: str
    step: int
    turn: int
    row: int | None
    unit: int | None
    values: Values
    tolerance: float

    def __str__(self) -> str:
        if self.unit is None:
            series = "" if self.row is None else f", series {self.row}"
            place = f"day {self.step + 1}{series}, {_WORDS[self.field]}"
        else:
            place = f"layer {self.layer}, {self.direction} direction, step {self.step}, {_WORDS[self.field]}"
            place += f"{_in_row(self.row)}, unit {self.unit}"
        return f"first apart in {place}: {_both(self.values, self.tolerance)}"


@dataclass(frozen=True)
class OutputLocation:
    """The first output out of tolerance, and how the error goes on.

    Attributes:
        step, row, unit: in the outputs; the row is None without a batch axis.
        direction: "forward", or "reverse" when the forward half agrees and the reverse half was looked at from its end.
        errors: the largest error of each step, in the order in which the direction computes them.
        growth: the factor by which that error grows a step, fitted to the steps out of tolerance; NaN when there are
            too few.
    """

    step: int
    row: int | None
    unit: int
    direction: str
    values: Values
    tolerance: float
    errors: tuple[float, ...]
    growth: float

    def __str__(self) -> str:
        place = f"step {self.step}{_in_row(self.row)}, unit {self.unit}"
        if self.direction == "reverse":
            place += " (of the reverse direction, which begins at the end; the forward half agrees)"
        goes_on = ""
        if abs(self.growth - 1) < 0.02:
            goes_on = "; the error stays about as large from step to step"
        elif not np.isnan(self.growth):
            goes_on = f"; the error changes by a factor of {self.growth:.3g} a step"
        elif len(self.errors) > 1 and sum(not error <= self.tolerance for error in self.errors) == 1:
            goes_on = "; no other step is out of tolerance"
        return f"first apart at {place}: {_both(self.values, self.tolerance)}{goes_on}"


@dataclass(frozen=True)
class GradientLocation:
    """The first element of a gradient out of tolerance, by the block of its gate.

    Attributes:
        name: of the weight, or "inputs", "h_0", "c_0".
        gate: "input", "forget", "candidate" or "output"; empty where there are no gates (projection, inputs, states).
        row: in the gate's block; None for a scalar.
        column: None for a bias and a scalar.
        index: in the whole array.
    """

    name: str
    gate: str
    row: int | None
    column: int | None
    index: tuple[int, ...]
    values: Values
    tolerance: float

    def __str__(self) -> str:
        parts = [self.name]
        if self.gate:
            parts.append(f"{self.gate} gate")
            parts += [f"{word} {k}" for word, k in (("row", self.row), ("column", self.column)) if k is not None]
        elif self.index:
            parts.append(f"element {list(self.index)}")
        return f"first apart in the gradient of {', '.join(parts)}: {_both(self.values, self.tolerance)}"


def _in_row(row: int | None) -> str:
    return "" if row is None else f", batch row {row}"


def _both(values: Values, tolerance: float) -> str:
    return f"{values.reference!r} (reference) against {values.candidate!r} (candidate), {tolerance:.1e} allowed"
