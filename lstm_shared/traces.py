"""The form in which both backends return everything that they compute."""

from typing import Any, NamedTuple


class ByHandTrace(NamedTuple):
    """Everything the by-hand LSTM computes, one entry per day. Every field has shape ``(*series, days)``.

    The memories are those *after* each day.
    """

    long_remember_percent: Any
    potential_remember_percent: Any
    potential_memory: Any
    output_percent: Any
    long_memory: Any
    short_memory: Any


class LSTMTrace(NamedTuple):
    """Everything an LSTM computes in every layer, direction and step. The fields are in the order of computation.

    Every field has shape ``(layers, directions, *inputs' leading axes, hidden_size)``. Each step has the index of its
    input, also in the reverse direction. Steps in the padding are zero.

    Attributes:
        input_gate: i, after its sigmoid.
        forget_gate: f, after its sigmoid.
        candidate: g, after its tanh.
        output_gate: o, after its sigmoid.
        cell: c after the step.
        hidden: o · tanh(c).
        projection: the projection of ``hidden``, (…, proj_size); None if there is none.
    """

    input_gate: Any
    forget_gate: Any
    candidate: Any
    output_gate: Any
    cell: Any
    hidden: Any
    projection: Any
