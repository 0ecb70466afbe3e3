"""The place where two sides first differ, with both values, as data and as text. ``location`` finds it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

_SIGNIFICANT_DIGITS = 10


class Pair(NamedTuple, Generic[T]):
    """One thing for each side of a comparison: two names, two values or two errors."""

    candidate: T
    reference: T


class Values(NamedTuple):
    """The values of both sides at a place."""

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
        field: the gate or state, by its name in the trace: "input_gate", …, "cell", "hidden", "projection".
        layer: the layer, from 0.
        direction: "forward" or "reverse".
        step: the step of the sequence (by hand, the day), from 0.
        turn: the same step, counted from 0 in the order in which its direction computes. The reverse direction starts
            at the last step.
        row: the batch row (by hand, the series); None without a batch axis.
        unit: the unit of that gate or state; None by hand.
        values: the values of both sides there.
        tolerance: the largest difference allowed.
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
            place = f"on day {self.step + 1}{series}, {_WORDS[self.field]}"
        else:
            place = f"in layer {self.layer}, {self.direction} direction, step {self.step}, {_WORDS[self.field]}"
            place += f"{_in_row(self.row)}, unit {self.unit}"
        return f"first difference {place}: {_both(self.values, self.tolerance)}"


@dataclass(frozen=True)
class OutputLocation:
    """The first output out of tolerance, and how the error develops from there.

    Attributes:
        step: the step in the outputs, from 0.
        row: the batch row; None without a batch axis.
        unit: the unit of the outputs.
        direction: "forward"; or "reverse" if the forward half agrees. The reverse half is searched from the last step.
        values: the values of both sides there.
        tolerance: the largest difference allowed.
        errors: the largest error of each step, in the order in which the direction computes them.
        growth: the factor by which that error grows per step, fitted to the steps out of tolerance; NaN if there are
            fewer than two.
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
            place += " (reverse direction, which starts at the last step; the forward half agrees)"
        goes_on = ""
        if abs(self.growth - 1) < 0.02:
            goes_on = "; the error stays about the same from step to step"
        elif not np.isnan(self.growth):
            goes_on = f"; the error changes by a factor of {self.growth:.3g} per step"
        elif len(self.errors) > 1 and sum(not error <= self.tolerance for error in self.errors) == 1:
            goes_on = "; no other step is out of tolerance"
        return f"first difference at {place}: {_both(self.values, self.tolerance)}{goes_on}"


@dataclass(frozen=True)
class GradientLocation:
    """The first element of a gradient out of tolerance, with the gate that it belongs to.

    Attributes:
        name: the name of the weight, or "inputs", "h_0", "c_0".
        gate: "input", "forget", "candidate" or "output"; empty if the array has no gates (projection, inputs, states).
        row: the row within the block of that gate; None for a scalar.
        column: the column; None for a bias and a scalar.
        index: the index in the whole array.
        values: the values of both sides there.
        tolerance: the largest difference allowed.
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
        return f"first difference in the gradient of {', '.join(parts)}: {_both(self.values, self.tolerance)}"


def _in_row(row: int | None) -> str:
    return "" if row is None else f", batch row {row}"


def _both(values: Values, tolerance: float) -> str:
    reference, candidate = rounded(values, tolerance)
    return f"{candidate} (candidate) against {reference} (reference), {tolerance:.1e} allowed"


def rounded(values: Iterable[float], tolerance: float) -> list[str]:
    """Return the values of both sides as text, without the digits that differ from machine to machine.

    They get no digit below a tenth of the tolerance, and at most ten significant digits. If they look equal then, they
    get every digit down to a tenth of the tolerance: values that differ by more than the tolerance look different.
    """
    values = list(values)
    largest = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    if not (0 < tolerance < np.inf and largest):
        return [repr(value) for value in values]
    decimals = 1 - math.floor(math.log10(tolerance))
    shorter = min(decimals, _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(largest)))
    text = [repr(round(value, shorter)) for value in values]
    return text if len({*text}) == len(text) else [repr(round(value, decimals)) for value in values]
