"""Check the arguments of ``diagnose`` and bring them into one form: time-major, with a batch axis, in float64."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np
from numpy.typing import ArrayLike

from lstm_parity.annotations import Weights
from lstm_parity.compare.tolerance import ORDINARY_INPUT, eps, factor, group_scale, scale_of
from lstm_parity.diagnosis.arithmetic import ERRORS_ALLOWED, precision_tolerance
from lstm_parity.diagnosis.determined import tolerances
from lstm_parity.diagnosis.differences import PortOutputs
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate
from lstm_parity.sides.kinds import Asked, Layers, kind_of
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.finite import not_finite
from lstm_shared.specs import Spec, in_words
from lstm_shared.tensors import to_array


@dataclass(frozen=True)
class Question:
    """The checked arguments of ``diagnose``.

    Attributes:
        right: the port without a mistake.
        observed: the outputs of the port in question.
        again: its outputs in a second call; None if there was only one.
        by_hand: whether the model is the by-hand one.
    """

    right: SimulatedPort
    observed: PortOutputs
    again: np.ndarray | None
    by_hand: bool


def ask(
    weights: Weights,
    inputs: ArrayLike,
    outputs: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    state: Any,
    lengths: ArrayLike | None,
    batch_first: bool,
) -> Question:
    """Check the arguments of ``diagnose``, which describes them.

    Raises:
        WeightsError, InputError: an argument is wrong; one line for each problem.
    """
    spec = describe(weights)
    arrays = {name: _array(weights[name]) for name in spec.shapes}
    WeightsError.raise_any(not_finite(arrays))
    inputs = _array(inputs)
    state = tuple(_array(part) for part in state) if isinstance(state, tuple | list) else state
    lengths = None if lengths is None else _array(lengths)
    calls = _calls(outputs)
    kind = kind_of(spec)
    if lengths is not None and not kind.takes_sequence_options:
        raise InputError(f"lengths are for an LSTM; these are the weights of {in_words(spec)}")
    layers = kind.layers(arrays, Asked(inputs, calls, state, lengths, batch_first))
    port, seen = _port(layers), [call.astype(np.float64) for call in layers.seen]
    InputError.raise_any(not_finite({"inputs": port.read_inputs, "h_0": port.h_0, "c_0": port.c_0}))
    observed = _with_tolerance(PortOutputs(seen[0], layers.known, 0.0), spec, port, arrays, inputs, calls[0])
    return Question(port, observed, seen[1] if len(seen) > 1 else None, kind.single_unit)


def _array(value: Any) -> np.ndarray:
    array = to_array(value) if hasattr(value, "detach") else np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _calls(outputs: ArrayLike | tuple[ArrayLike, ArrayLike]) -> list[np.ndarray]:
    """Return the outputs of one call, or of two, as a list."""
    if not isinstance(outputs, tuple):
        calls = [_array(outputs)]
    elif len(outputs) == 2 and not any(isinstance(call, tuple | list) for call in outputs):
        calls = [_array(call) for call in outputs]
    else:
        raise InputError(
            f"outputs is a tuple of {len(outputs)}, expected an array, or a pair of arrays from two calls; "
            "torch.nn.LSTM returns (outputs, (h_n, c_n)): pass only the outputs"
        )
    problems = [
        f"outputs holds {call.dtype}, expected floating-point numbers"
        for call in calls
        if "float" not in call.dtype.name
    ]
    if calls[0].shape != calls[-1].shape:
        problems.append(
            f"the outputs of the two calls have shapes {calls[0].shape} and {calls[1].shape}, expected the same shape"
        )
    InputError.raise_any(problems)
    return calls


def _port(layers: Layers) -> SimulatedPort:
    spec, places = layers.spec, len(layers.spec.places)
    doubles = {name: array.astype(np.float64) for name, array in layers.weights.items()}
    for name, (rows, *_) in spec.shapes.items():
        if not spec.bias and name.startswith("weight_hh"):
            doubles |= {name.replace("weight_hh", bias): np.zeros(rows) for bias in ("bias_ih", "bias_hh")}
    h_0, c_0 = (part.astype(np.float64) for part in layers.state)
    inputs, sigmoids, equations = layers.inputs.astype(np.float64), ("sigmoid",) * places, ("lstm",) * places
    return SimulatedPort(spec, doubles, inputs, h_0, c_0, layers.valid, sigmoids, equations)


def _with_tolerance(
    observed: PortOutputs,
    spec: Spec,
    port: SimulatedPort,
    weights: Mapping[str, np.ndarray],
    inputs: np.ndarray,
    outputs: np.ndarray,
) -> PortOutputs:
    """Return the observed outputs with how far a right port may be off, in the coarsest dtype of weights and inputs.

    The outputs' own dtype counts as float32 at the coarsest: bfloat16 outputs from float32 weights are a mistake to
    find. If rounding in that dtype leaves half of the outputs' digits intact, one tolerance serves all steps. If not,
    each output gets its own, as long as it can be judged at all.
    """
    dtypes = {array.dtype.name for array in (*weights.values(), inputs)}
    with np.errstate(over="ignore"):
        if outputs.dtype != np.float64 or np.array_equal(outputs.astype(np.float32), outputs, equal_nan=True):
            dtypes.add("float32")
    exact = simulate([port])[0]
    largest = scale_of(exact)
    scale = largest * _magnitude(port)
    allowed = factor(spec, port.inputs.shape[0]) * scale
    dtype = max(dtypes, key=eps)
    coarse = dtype if eps(dtype) > eps("float32") else "float32"
    magnified = precision_tolerance(port, coarse)
    if coarse == dtype:
        floor = allowed * eps("float32")
        tolerance = floor + magnified
    else:  # how far float32 moves this model shows how much it magnifies rounding errors
        floor = allowed * eps(dtype)
        tolerance = floor + magnified * eps(dtype) / eps("float32")
    if magnified <= ERRORS_ALLOWED * np.sqrt(eps(coarse)) * largest:
        return replace(observed, tolerance=tolerance, floor=floor, dtype=dtype)
    by_place = tolerances(port, exact, floor, dtype)
    return replace(observed, tolerance=floor, by_place=by_place, floor=floor, dtype=dtype)


def _magnitude(port: SimulatedPort) -> float:
    """Return how much large inputs and states magnify rounding errors: |input| · max(1, |weight|).

    Up to an input of 4, the range of N(0, 1), it is 1: there, what ``factor`` allows was measured.
    """
    data = {"inputs": port.read_inputs, "h_0": port.h_0, "c_0": port.c_0}
    largest = group_scale(data)
    return 1.0 if largest <= ORDINARY_INPUT else largest * group_scale(port.weights)
