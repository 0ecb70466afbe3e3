"""Checks of all arguments that are not weights. Both backends call these, so both give the same messages.

The checks read shapes and dtypes only (and the values of lengths, if they are known), so arrays may come from any
framework.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import (
    as_array,
    dtype_name,
    in_words,
    is_sequence,
    not_floating,
    not_real,
    wrong_probability,
    wrong_switches,
)
from lstm_shared.array_types import Array, Shape
from lstm_shared.errors import InputError
from lstm_shared.specs import CellSpec, LSTMSpec
from lstm_shared.states_and_lengths import wrong_lengths, wrong_pair, wrong_state


def is_whole(value: Any, at_least: int = 1) -> bool:
    """Return whether this is a whole number (Python's or NumPy's) of at least ``at_least``."""
    try:
        return not isinstance(value, bool) and operator.index(value) >= at_least
    except TypeError:
        return False


def require_prices(
    shape: Shape, dtype: Any, long_memory: Shape, short_memory: Shape, *, others: Sequence[str] = ()
) -> None:
    """Check the inputs of the by-hand model by shape and dtype: prices (*series, days), memories () or (*series,).

    Args:
        others: problems already found in other arguments, to be raised in the same message.

    Raises:
        InputError: something is wrong. The message lists everything that is.
    """
    problems = [*others]
    if not shape:
        problems.append("prices is a single number, expected one per day: shape (days,) or (*series, days)")
    problems += not_floating("prices", dtype)
    for name, memory in (("long_memory", long_memory), ("short_memory", short_memory)):
        if memory not in ((), shape[:-1]):
            problems.append(f"{name} has shape {memory}, expected () or one value per series, {shape[:-1]}")
    InputError.raise_any(problems)


def read_prices(prices: Any, long_memory: Any, short_memory: Any) -> tuple[Any, Any, Any]:
    """Return the arguments of the by-hand model as arrays, after the checks of ``require_prices``.

    Raises:
        InputError: something is wrong. The message lists everything that is.
    """
    problems: list[str] = []
    prices = as_array("prices", prices, problems)
    memories: list[Any] = []
    for name, memory in (("long_memory", long_memory), ("short_memory", short_memory)):
        memories.append(as_array(name, memory, problems))
        problems += [] if memories[-1] is None else not_real(name, memories[-1].dtype)
    if prices is None:  # the other checks need its shape
        raise InputError(problems)
    shapes = (() if memory is None else tuple(memory.shape) for memory in memories)
    require_prices(tuple(prices.shape), prices.dtype, *shapes, others=problems)
    long, short = memories
    return prices, long, short


def read_numbers(**numbers: Any) -> tuple[Any, ...]:
    """Return numbers, or arrays of any shape, as arrays.

    Raises:
        InputError: something is wrong. The message lists everything that is.
    """
    problems: list[str] = []
    arrays = [as_array(name, value, problems) for name, value in numbers.items()]
    for name, array in zip(numbers, arrays, strict=True):
        problems += [] if array is None else not_real(name, array.dtype)
    InputError.raise_any(problems)
    return tuple(arrays)


def read_labelled(batch: Any, inputs: str) -> tuple[Any, Any]:
    """Return the inputs and labels of a batch, the labels as an array.

    Args:
        inputs: the model's name for its inputs, for messages.

    Raises:
        InputError: the batch is not a pair, or the labels are not numbers.
    """
    if not is_sequence(batch) or len(batch) != 2:
        raise InputError(f"batch is {in_words(batch)}, expected a pair ({inputs}, labels)")
    (labels,) = read_numbers(labels=batch[1])
    return batch[0], labels


def require_labels(labels: Array, predictions: Array) -> None:
    """Raise an InputError unless labels and predictions have the same shape. Otherwise they would be broadcast."""
    if tuple(labels.shape) != tuple(predictions.shape):
        raise InputError(
            f"labels has shape {tuple(labels.shape)}, expected that of the predictions, {tuple(predictions.shape)}"
        )


def require_sequence(
    spec: LSTMSpec,
    inputs: Array | None,
    state: Any = None,
    *,
    batch_first: bool = False,
    lengths: Array | None = None,
    known_lengths: np.ndarray | None = None,
    reset: Array | None = None,
    dropout: Any = 0.0,
    has_key: bool = True,
    others: Sequence[str] = (),
) -> None:
    """Check the arguments of an LSTM over a sequence.

    An array that is None was either left out by the caller or is already named in ``others``.

    Args:
        inputs: (time, batch, input_size), (batch, time, input_size) with ``batch_first``, or (time, input_size).
        state: None or (h_0, c_0), (layers·directions, batch, size) each, without the batch axis when unbatched.
        lengths: None or integers (batch,), () when unbatched.
        known_lengths: their values, which must be 0..time; or None if they are not known yet (traced by jit).
        reset: None or booleans with the inputs' leading axes.
        dropout: between layers, 0..1.
        has_key: whether there is a random key to draw from.
        others: problems already found in other arguments, to be raised in the same message.

    Raises:
        InputError: something is wrong. The message lists everything that is.
    """
    problems = [*others, *wrong_switches(batch_first=batch_first)]
    wrong_dropout = wrong_probability("dropout", dropout)
    if not wrong_dropout and dropout and not has_key:
        wrong_dropout.append(
            f"dropout is {dropout} but there is no key to draw from: pass key, or dropout=0.0 for inference"
        )
    if inputs is None:
        InputError.raise_any([*problems, *wrong_dropout])
        return
    shape = tuple(inputs.shape)
    axes = "(batch, time, features)" if batch_first else "(time, batch, features)"
    problems += not_floating("inputs", inputs.dtype)
    if len(shape) not in (2, 3):
        # the other checks need the axes
        problems.append(f"inputs has shape {shape}, expected {axes} or, unbatched, (time, features)")
        raise InputError([*problems, *wrong_dropout])
    if shape[-1] != spec.input_size:
        problems.append(
            f"inputs has {shape[-1]} features, expected input_size {spec.input_size}: shape {shape}, {axes}"
        )
    batched = len(shape) == 3
    time = shape[1] if batched and batch_first else shape[0]
    batch = (shape[0 if batch_first else 1],) if batched else ()
    if state is not None:
        problems += wrong_state(spec, state, batch)
    if lengths is not None:
        problems += wrong_lengths(lengths, known_lengths, batch, time)
    if reset is not None:
        if tuple(reset.shape) != shape[:-1]:
            problems.append(f"reset has shape {tuple(reset.shape)}, expected the inputs' leading axes, {shape[:-1]}")
        if dtype_name(reset.dtype) != "bool":
            problems.append(f"reset holds {dtype_name(reset.dtype)}, expected booleans")
        if spec.bidirectional:
            problems.append("reset works forward in time only: this model is bidirectional")
    InputError.raise_any([*problems, *wrong_dropout])


def require_cell_inputs(spec: CellSpec, inputs: Any, state: Any, others: Sequence[str] = ()) -> None:
    """Check the arguments of one LSTM cell: inputs (batch, input_size) or (input_size,), states likewise.

    Args:
        others: as in ``require_sequence``. An array that is None has the same meaning as there.

    Raises:
        InputError: something is wrong. The message lists everything that is.
    """
    if inputs is None:
        InputError.raise_any([*others])
        return
    shape = tuple(inputs.shape)
    problems = [*others, *not_floating("inputs", inputs.dtype)]
    if len(shape) not in (1, 2) or shape[-1] != spec.input_size:
        problems.append(f"inputs has shape {shape}, expected (batch, {spec.input_size}) or ({spec.input_size},)")
    elif state is not None:
        expected = (*shape[:-1], spec.hidden_size)
        problems += wrong_pair(state, ("h", expected), ("c", expected))
    InputError.raise_any(problems)
