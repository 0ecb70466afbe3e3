"""The checks of everything that is not a weight. Both backends call these, so that both say the same.

Only shapes and dtypes are looked at (and lengths, where they are known), so arrays of any framework will do.
"""

import operator
from typing import Any

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.specs import LSTMSpec

Shape = tuple[int, ...]


def is_whole(value: Any, at_least: int = 1) -> bool:
    """Whether this is a whole number, of Python or NumPy, and not too small."""
    try:
        return not isinstance(value, bool) and operator.index(value) >= at_least
    except TypeError:
        return False


def require_prices(shape: Shape, dtype: Any, long_memory: Shape, short_memory: Shape) -> None:
    """Check the inputs of the by-hand model by shape and dtype: prices (*series, days), memories () or (*series,).

    Raises:
        InputError: everything that is wrong.
    """
    problems = []
    if not shape:
        problems.append("prices is a single number, expected one a day: shape (days,) or (*series, days)")
    problems += _not_floating("prices", dtype)
    for name, memory in (("long_memory", long_memory), ("short_memory", short_memory)):
        if memory not in ((), shape[:-1]):
            problems.append(f"{name} has shape {memory}, expected () or one value a series, {shape[:-1]}")
    InputError.raise_any(problems)


def require_sequence(
    spec: LSTMSpec,
    inputs: Any,
    state: Any = None,
    *,
    batch_first: bool = False,
    lengths: Any = None,
    known_lengths: np.ndarray | None = None,
    reset: Any = None,
    dropout: float = 0.0,
    has_key: bool = True,
) -> None:
    """Check the arguments of an LSTM over a sequence.

    Args:
        inputs: (time, batch, input_size), (batch, time, input_size) with ``batch_first``, or (time, input_size).
        state: None or (h_0, c_0), (layers·directions, batch, size) each, without the batch axis when unbatched.
        lengths: None or integers (batch,), () when unbatched.
        known_lengths: their values, or None where they are not known yet (traced by jit); must be 0..time.
        reset: None or booleans with the inputs' leading axes.
        dropout: between layers, 0..1.
        has_key: whether there is randomness to draw from.

    Raises:
        InputError: everything that is wrong.
    """
    problems = []
    shape = tuple(inputs.shape)
    axes = "(batch, time, features)" if batch_first else "(time, batch, features)"
    problems += _not_floating("inputs", inputs.dtype)
    if len(shape) not in (2, 3):
        # without the axes nothing else can be judged
        raise InputError([*problems, f"inputs has shape {shape}, expected {axes} or, unbatched, (time, features)"])
    if shape[-1] != spec.input_size:
        problems.append(
            f"inputs has {shape[-1]} features, expected input_size {spec.input_size}: shape {shape}, {axes}"
        )
    batched = len(shape) == 3
    time = shape[1] if batched and batch_first else shape[0]
    batch = (shape[0 if batch_first else 1],) if batched else ()
    if state is not None:
        problems += _wrong_state(spec, state, batch)
    if lengths is not None:
        problems += _wrong_lengths(lengths, known_lengths, batch, time)
    if reset is not None:
        if tuple(reset.shape) != shape[:-1]:
            problems.append(f"reset has shape {tuple(reset.shape)}, expected the inputs' leading axes, {shape[:-1]}")
        if "bool" not in str(reset.dtype):
            problems.append(f"reset holds {reset.dtype}, expected booleans")
        if spec.bidirectional:
            problems.append("reset works forward in time only: this model is bidirectional")
    if not 0 <= dropout <= 1:
        problems.append(f"dropout is {dropout}, expected a probability, 0 to 1")
    elif dropout and not has_key:
        problems.append(
            f"dropout is {dropout} but there is no key to draw from: pass key, or dropout=0.0 for inference"
        )
    InputError.raise_any(problems)


def require_cell_inputs(spec: Any, inputs: Any, state: Any) -> None:
    """Check the arguments of one LSTM cell: inputs (batch, input_size) or (input_size,), states likewise.

    Raises:
        InputError: everything that is wrong.
    """
    shape = tuple(inputs.shape)
    problems = _not_floating("inputs", inputs.dtype)
    if len(shape) not in (1, 2) or shape[-1] != spec.input_size:
        problems.append(f"inputs has shape {shape}, expected (batch, {spec.input_size}) or ({spec.input_size},)")
    elif state is not None:
        expected = (*shape[:-1], spec.hidden_size)
        problems += _wrong_pair(state, ("h", expected), ("c", expected))
    InputError.raise_any(problems)


def _wrong_state(spec: LSTMSpec, state: Any, batch: Shape) -> list[str]:
    layers = spec.num_layers * len(spec.directions)
    return _wrong_pair(state, ("h_0", (layers, *batch, spec.state_size)), ("c_0", (layers, *batch, spec.hidden_size)))


def _wrong_pair(state: Any, *expected: tuple[str, Shape]) -> list[str]:
    if not isinstance(state, tuple | list) or len(state) != 2:
        return [f"state is {type(state).__name__}, expected a pair (h, c), in that order"]
    problems = []
    for (name, shape), array in zip(expected, state, strict=True):
        if tuple(array.shape) != shape:
            problems.append(f"{name} has shape {tuple(array.shape)}, expected {shape}")
        problems += _not_floating(name, array.dtype)
    return problems


def _wrong_lengths(lengths: Any, known: np.ndarray | None, batch: Shape, time: int) -> list[str]:
    problems = []
    if tuple(lengths.shape) != batch:
        hint = "; is batch_first meant?" if batch and tuple(lengths.shape) == (time,) else ""
        problems.append(f"lengths has shape {tuple(lengths.shape)}, expected one a sequence, {batch}{hint}")
    if "int" not in str(lengths.dtype):
        problems.append(f"lengths holds {lengths.dtype}, expected whole numbers")
    elif known is not None and (wrong := known[(known < 0) | (known > time)]).size:
        problems.append(
            f"lengths holds {', '.join(map(str, wrong[:5]))}, expected 0 up to the {time} steps of the inputs"
        )
    return problems


def _not_floating(name: str, dtype: Any) -> list[str]:
    if "float" in str(dtype):
        return []
    return [f"{name} holds {dtype}, expected floating-point numbers (write 1.0 for 1)"]
