"""New weight dictionaries: drawn from a seed, or made from the by-hand model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_shared.by_hand import BY_HAND
from lstm_shared.describe import describe, require_by_hand
from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole
from lstm_shared.specs import LSTMSpec


def init_by_hand(seed: int = 0, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Draw the twelve scalars as the published model does: weights from N(0, 1), biases 0.

    The stream is NumPy's, so that both backends start from the same numbers; it is not torch's stream.

    Raises:
        InputError: a seed that is not a whole number from 0 up, or a dtype that is not a floating-point one.
    """
    InputError.raise_any(_problems(seed, dtype))
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

    Args are torch's, with its meanings. The stream is NumPy's, drawn in float64 and then cast to ``dtype``.

    Returns:
        The dictionary of ``torch.nn.LSTM.state_dict()``: ``weight_ih_l0`` (4·hidden_size, input_size) and so on.

    Raises:
        InputError: a size that is not a positive whole number, a projection that is not smaller than the hidden size,
            or a seed or dtype as in ``init_by_hand``.
    """
    problems = [
        f"{name} is {value!r}, expected a positive whole number"
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers))
        if not is_whole(value)
    ]
    if not is_whole(proj_size, at_least=0):
        problems.append(f"proj_size is {proj_size!r}, expected a whole number, 0 for none")
    elif is_whole(hidden_size) and proj_size >= hidden_size:
        problems.append(f"proj_size is {proj_size}, expected less than hidden_size, which is {hidden_size}")
    InputError.raise_any(problems + _problems(seed, dtype))
    spec = LSTMSpec(input_size, hidden_size, num_layers, bias, bidirectional, proj_size)
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
        The LSTM's names prefixed ``lstm.``, ``fc.weight`` (output_size, features) and ``fc.bias`` (output_size,).

    Raises:
        InputError: as ``init_lstm``, or an output size that is not a positive whole number.
    """
    if not is_whole(output_size):
        raise InputError(f"output_size is {output_size!r}, expected a positive whole number")
    weights = init_lstm(input_size, hidden_size, seed=seed, dtype=dtype, **lstm)
    spec = describe(weights)
    assert isinstance(spec, LSTMSpec)
    bound = 1 / np.sqrt(spec.output_size)
    rng = np.random.default_rng((seed, 1))  # a stream of its own: the LSTM's is the same with and without a head
    head = {"fc.weight": (output_size, spec.output_size), "fc.bias": (output_size,)}
    return {f"lstm.{name}": array for name, array in weights.items()} | {
        name: rng.uniform(-bound, bound, shape).astype(dtype) for name, shape in head.items()
    }


def _problems(seed: Any, dtype: Any) -> list[str]:
    problems = []
    if not is_whole(seed, at_least=0):
        problems.append(f"seed is {seed!r}, expected a whole number, 0 or larger")
    if "float" not in np.dtype(dtype).name:
        problems.append(f"dtype is {np.dtype(dtype).name}, expected a floating-point one, such as float32")
    return problems


def by_hand_to_lstm(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The twelve scalars as an ``nn.LSTM(1, 1)`` dictionary: gate order (i, f, g, o), the second bias zero.

    Raises:
        WeightsError: the dictionary is not a by-hand model.
    """
    require_by_hand(weights)
    gates = ("pr", "lr", "p", "o")  # the by-hand names of i, f, g, o

    def stack(pattern: str) -> np.ndarray:
        return np.stack([np.asarray(weights[pattern.format(gate)]) for gate in gates])

    bias = stack("b{}1")
    return {
        "weight_ih_l0": stack("w{}2")[:, None],
        "weight_hh_l0": stack("w{}1")[:, None],
        "bias_ih_l0": bias,
        "bias_hh_l0": np.zeros_like(bias),
    }
