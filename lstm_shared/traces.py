"""The form in which both backends show everything that they compute."""

from typing import Any, NamedTuple


class ByHandTrace(NamedTuple):
    """Everything the by-hand LSTM computes, one entry a day: every field has shape ``(*series, days)``.

    The memories are those *after* the day.
    """

    long_remember_percent: Any
    potential_remember_percent: Any
    potential_memory: Any
    output_percent: Any
    long_memory: Any
    short_memory: Any


class LSTMTrace(NamedTuple):
    """Everything an LSTM computes, of every layer, direction and step, in the order of computation.

    Every field has shape ``(layers, directions, *inputs' leading axes, hidden_size)``; steps stand where their inputs
    stand, also in the reverse direction, and are zero in the padding.

    Attributes:
        input_gate, forget_gate, candidate, output_gate: i, f, g, o after their sigmoid or tanh.
        cell: c after the step.
        hidden: o · tanh(c).
        projection: the projection of ``hidden``, (…, proj_size); None without a projection.
    """

    input_gate: Any
    forget_gate: Any
    candidate: Any
    output_gate: Any
    cell: Any
    hidden: Any
    projection: Any
