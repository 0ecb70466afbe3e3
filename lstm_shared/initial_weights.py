"""New weight dictionaries, drawn at random from a seed."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from lstm_shared.by_hand import BY_HAND
from lstm_shared.describe import describe
from lstm_shared.errors import InputError
from lstm_shared.memory import require_memory
from lstm_shared.model_arguments import wrong_dtype, wrong_output_size, wrong_seed, wrong_sizes
from lstm_shared.specs import LSTMSpec

_DRAWN = 8  # bytes per number while it is drawn: float64


def init_by_hand(seed: int = 0, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Draw the twelve scalars as the published model does: weights from N(0, 1), biases 0.

    The random stream is NumPy's, so both backends start from the same numbers. torch's stream would give others.

    Raises:
        InputError: the seed is not a whole number of at least 0, or the dtype is not a floating-point one.
    """
    InputError.raise_any(wrong_seed(seed) + wrong_dtype(dtype))
    draw = np.random.default_rng(seed).standard_normal
    return {name: np.asarray(draw() if name.startswith("w") else 0.0, dtype) for name in BY_HAND}


def init_lstm(
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    bias: bool = True,
    bidirectional: bool = False,
    proj_size: int = 0,
    seed: int = 0,
    dtype: Any = np.float32,
) -> dict[str, np.ndarray]:
    """Draw an LSTM as ``torch.nn.LSTM`` does: every weight and bias from U(±1/√hidden_size).

    The sizes have torch's names and meanings. The random stream is NumPy's; numbers are drawn in float64 and then cast
    to ``dtype``.

    Returns:
        A dictionary like ``torch.nn.LSTM.state_dict()``: ``weight_ih_l0`` (4·hidden_size, input_size) and so on.

    Raises:
        InputError: a size is not a positive whole number, the projection is not smaller than the hidden size, the
            model does not fit into memory, or the seed or dtype is wrong as in ``init_by_hand``.
    """
    InputError.raise_any(
        wrong_sizes(input_size, hidden_size, num_layers, bias, bidirectional, proj_size)
        + wrong_seed(seed)
        + wrong_dtype(dtype)
    )
    spec = LSTMSpec(input_size, hidden_size, num_layers, bias, bidirectional, proj_size)
    _require_memory(spec, dtype)
    rng = np.random.default_rng(seed)
    bound = 1 / np.sqrt(hidden_size)
    return {name: rng.uniform(-bound, bound, shape).astype(dtype) for name, shape in spec.shapes.items()}


def init_forecaster(
    input_size: int, hidden_size: int, output_size: int = 1, *, seed: int = 0, dtype: Any = np.float32, **lstm: Any
) -> dict[str, np.ndarray]:
    """Draw an LSTM and a linear head as torch does: the head from U(±1/√features).

    Args:
        lstm: further arguments of ``init_lstm``.

    Returns:
        The LSTM's names prefixed with ``lstm.``, ``fc.weight`` (output_size, features) and ``fc.bias`` (output_size,).

    Raises:
        InputError: as in ``init_lstm``, or the output size is not a positive whole number.
    """
    problems = wrong_output_size(output_size)
    try:
        weights = init_lstm(input_size, hidden_size, seed=seed, dtype=dtype, **lstm)
    except InputError as error:
        raise InputError([*error.problems, *problems]) from None
    InputError.raise_any(problems)
    spec = describe(weights)
    assert isinstance(spec, LSTMSpec)
    require_memory("the head", output_size * spec.output_size * _DRAWN)
    bound = 1 / np.sqrt(spec.output_size)
    rng = np.random.default_rng((seed, 1))  # a stream of its own, so that the LSTM is the same with or without a head
    head = {"fc.weight": (output_size, spec.output_size), "fc.bias": (output_size,)}
    return {f"lstm.{name}": array for name, array in weights.items()} | {
        name: rng.uniform(-bound, bound, shape).astype(dtype) for name, shape in head.items()
    }


def _require_memory(spec: LSTMSpec, dtype: Any) -> None:
    """Refuse a model that does not fit. Count from two layers, because a list of all weights may itself not fit."""
    two = replace(spec, num_layers=2).shapes  # all layers after the first are alike
    first, other = (sum(prod(shape) for name, shape in two.items() if f"_l{n}" in name) for n in (0, 1))
    drawn = max(map(prod, two.values())) * _DRAWN
    numbers = first + other * (spec.num_layers - 1)
    require_memory("these weights", numbers * np.dtype(dtype).itemsize + drawn)
