"""Checks of an LSTM's states and of the lengths of its sequences, by their shapes and dtypes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import dtype_name, in_words, is_sequence, not_floating
from lstm_shared.array_types import Array, Shape
from lstm_shared.specs import LSTMSpec


def wrong_state(spec: LSTMSpec, state: Any, batch: Shape) -> list[str]:
    """Return what is wrong with the pair (h_0, c_0) of an LSTM. ``batch`` is (size,), or () if unbatched."""
    layers = len(spec.places)
    return wrong_pair(state, ("h_0", (layers, *batch, spec.state_size)), ("c_0", (layers, *batch, spec.hidden_size)))


def wrong_pair(state: Any, *expected: tuple[str, Shape]) -> list[str]:
    """Return what is wrong with a pair of states, given the expected names and shapes."""
    if not is_sequence(state) or len(state) != 2:
        found = f"{in_words(state)} of {len(state)}" if is_sequence(state) else in_words(state)
        return [f"state is {found}, expected a pair (h, c), in that order"]
    problems: list[str] = []
    arrays: Sequence[Array | None] = state
    for (name, shape), array in zip(expected, arrays, strict=True):
        if array is None:
            continue
        if tuple(array.shape) != shape:
            problems.append(f"{name} has shape {tuple(array.shape)}, expected {shape}")
        problems += not_floating(name, array.dtype)
    return problems


def wrong_lengths(lengths: Array, known: np.ndarray | None, batch: Shape, time: int) -> list[str]:
    """Return what is wrong with the lengths of sequences: their shape and dtype, and their values if known."""
    problems: list[str] = []
    if tuple(lengths.shape) != batch:
        hint = "; check batch_first" if batch and tuple(lengths.shape) == (time,) else ""
        problems.append(f"lengths has shape {tuple(lengths.shape)}, expected {batch}, one length per sequence{hint}")
    if "int" not in dtype_name(lengths.dtype):
        problems.append(f"lengths holds {dtype_name(lengths.dtype)}, expected whole numbers")
    elif known is not None and (wrong := known[(known < 0) | (known > time)]).size:
        problems.append(
            f"lengths holds {', '.join(map(str, wrong[:5]))}, expected 0 up to the {time} steps of the inputs"
        )
    return problems
