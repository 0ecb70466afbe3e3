"""What ``diagnose`` is asked, checked and brought into one form: time-major, with a batch axis, in float64."""

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
    """The right port, what was observed, and the outputs of a second call if there was one."""

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
    """Check the arguments of ``diagnose``; they are described there.

    Raises:
        WeightsError, InputError: everything that is wrong.
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
    """The outputs of one call, or of two."""
    if not isinstance(outputs, tuple):
        calls = [_array(outputs)]
    elif len(outputs) == 2 and not any(isinstance(call, tuple | list) for call in outputs):
        calls = [_array(call) for call in outputs]
    else:
        raise InputError(
            f"outputs is a tuple of {len(outputs)}, expected an array, or a pair of arrays from two calls; of what "
            "torch.nn.LSTM returns, (outputs, (h_n, c_n)), give the first"
        )
    problems = [
        f"outputs holds {call.dtype}, expected floating-point numbers"
        for call in calls
        if "float" not in call.dtype.name
    ]
    if calls[0].shape != calls[-1].shape:
        problems.append(
            f"the outputs of two calls have shapes {calls[0].shape} and {calls[1].shape}, expected the same"
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
    """How far a right port may be off, in the coarsest of the dtypes that it was given.

    The outputs' own dtype counts for float32 only: outputs in bfloat16 from weights in float32 are something to find.
    Where the model keeps half of the digits of that arithmetic in its outputs, one tolerance serves all steps. Where it
    does not, each step has its own, as far as there is one.
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
    else:  # what float32 does to this model says by how much it magnifies rounding errors
        floor = allowed * eps(dtype)
        tolerance = floor + magnified * eps(dtype) / eps("float32")
    if magnified <= ERRORS_ALLOWED * np.sqrt(eps(coarse)) * largest:
        return replace(observed, tolerance=tolerance, floor=floor, dtype=dtype)
    by_place = tolerances(port, exact, floor, dtype)
    return replace(observed, tolerance=floor, by_place=by_place, floor=floor, dtype=dtype)


def _magnitude(port: SimulatedPort) -> float:
    """By how much large inputs and states magnify rounding errors: |input| · max(1, |weight|), or 1 up to 4.

    Up to there, the range of N(0, 1), what ``factor`` allows was measured.
    """
    data = {"inputs": port.read_inputs, "h_0": port.h_0, "c_0": port.c_0}
    largest = group_scale(data)
    return 1.0 if largest <= ORDINARY_INPUT else largest * group_scale(port.weights)
