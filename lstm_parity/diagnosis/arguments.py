"""What ``diagnose`` is asked, checked and brought into one form: time-major, with a batch axis, in float64."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np

from lstm_parity.compare.tolerance import eps, factor, group_scale, scale_of
from lstm_parity.diagnosis.arithmetic import ERRORS_ALLOWED, precision_tolerance
from lstm_parity.diagnosis.determined import tolerances
from lstm_parity.diagnosis.differences import PortOutputs
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate
from lstm_parity.sides.case import require_days
from lstm_shared.by_hand_to_lstm import by_hand_to_lstm
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.finite import not_finite
from lstm_shared.inputs import require_cell_inputs, require_prices, require_sequence
from lstm_shared.specs import ByHandSpec, CellSpec, LSTMSpec, Spec, in_words
from lstm_shared.tensors import to_array

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Question:
    """The right port, what was observed, and the outputs of a second call if there was one."""

    right: SimulatedPort
    observed: PortOutputs
    again: np.ndarray | None
    by_hand: bool


def ask(
    weights: Mapping[str, Any], inputs: Any, outputs: Any, *, state: Any, lengths: Any, batch_first: bool
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
    if not isinstance(spec, LSTMSpec) and lengths is not None:
        raise InputError(f"lengths are for an LSTM; these are the weights of {in_words(spec)}")
    if isinstance(spec, ByHandSpec):
        port, seen, known = _by_hand(arrays, inputs, calls, state)
    elif isinstance(spec, CellSpec):
        port, seen, known = _cell(spec, arrays, inputs, calls, state)
    elif isinstance(spec, LSTMSpec):
        port, seen, known = _lstm(spec, arrays, inputs, calls, state, lengths, batch_first)
    else:
        raise InputError(
            "these are the weights of a forecaster: give the weights under 'lstm.' and the outputs of its LSTM alone"
        )
    read = port.inputs if port.valid is None else port.inputs[port.valid]
    InputError.raise_any(not_finite({"inputs": read, "h_0": port.h_0, "c_0": port.c_0}))
    observed = _with_tolerance(PortOutputs(seen[0], known, 0.0), spec, port, arrays, inputs, calls[0])
    return Question(port, observed, seen[1] if len(seen) > 1 else None, spec.kind == "by-hand")


def _array(value: Any) -> np.ndarray:
    array = to_array(value) if hasattr(value, "detach") else np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _calls(outputs: Any) -> list[np.ndarray]:
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


def _lstm(
    spec: LSTMSpec,
    weights: dict[str, np.ndarray],
    inputs: np.ndarray,
    calls: list[np.ndarray],
    state: Any,
    lengths: np.ndarray | None,
    batch_first: bool,
) -> tuple[SimulatedPort, list[np.ndarray], None]:
    require_sequence(spec, inputs, state, batch_first=batch_first, lengths=lengths, known_lengths=lengths)

    def time_major(array: np.ndarray) -> np.ndarray:
        if inputs.ndim == 2:
            return array[:, None]
        return array.swapaxes(0, 1) if batch_first else array

    leading, features = inputs.shape[:-1], spec.output_size
    # the directions may be summed, and the axes exchanged
    sizes = (features, spec.state_size) if spec.bidirectional else (features,)
    shapes = [(*axes, size) for axes in (leading, leading[::-1]) for size in sizes]
    if calls[0].shape not in shapes:
        raise InputError(
            f"outputs has shape {calls[0].shape}, expected {shapes[0]}: the inputs' leading axes, {features} features"
        )
    major = time_major(inputs)
    valid = None
    if lengths is not None:
        valid = np.arange(major.shape[0])[:, None] < np.atleast_1d(lengths)[None]
    rows = (len(spec.places), major.shape[1])
    h_0, c_0 = state or (np.zeros((*rows, spec.state_size)), np.zeros((*rows, spec.hidden_size)))
    port = _port(spec, weights, major, (h_0.reshape(*rows, -1), c_0.reshape(*rows, -1)), valid)
    return port, [time_major(call).astype(np.float64) for call in calls], None


def _cell(
    spec: CellSpec, weights: dict[str, np.ndarray], inputs: np.ndarray, calls: list[np.ndarray], state: Any
) -> tuple[SimulatedPort, list[np.ndarray], None]:
    """One step of one layer."""
    require_cell_inputs(spec, inputs, state)
    expected = (*inputs.shape[:-1], spec.hidden_size)
    if calls[0].shape != expected:
        raise InputError(f"outputs has shape {calls[0].shape}, expected h after the step, {expected}")
    layer = LSTMSpec(spec.input_size, spec.hidden_size, bias=spec.bias)
    h_0, c_0 = state or (np.zeros(expected), np.zeros(expected))

    def one_step(array: np.ndarray) -> np.ndarray:
        return array.reshape(1, -1, array.shape[-1]).astype(np.float64)

    port = _port(
        layer, {f"{n}_l0": x for n, x in weights.items()}, one_step(inputs), (one_step(h_0), one_step(c_0)), None
    )
    return port, [one_step(call) for call in calls], None


def _by_hand(
    weights: dict[str, np.ndarray], prices: np.ndarray, calls: list[np.ndarray], state: Any
) -> tuple[SimulatedPort, list[np.ndarray], np.ndarray | None]:
    """The by-hand model as an LSTM(1, 1): a day is a step, a series a row."""
    if state is not None and not (isinstance(state, tuple) and len(state) == 2):
        raise InputError("state is not a pair (long_memory, short_memory), in that order")
    long_memory, short_memory = (np.zeros(()), np.zeros(())) if state is None else state
    require_prices(prices.shape, prices.dtype, long_memory.shape, short_memory.shape)
    require_days(prices.shape)
    series, days = prices.shape[:-1], prices.shape[-1]
    if calls[0].shape not in (prices.shape, series):
        raise InputError(
            f"outputs has shape {calls[0].shape}, expected the short memory of every day, {prices.shape}, or of the "
            f"last, {series}"
        )
    h_0, c_0 = (np.broadcast_to(memory, series).reshape(1, -1, 1) for memory in (short_memory, long_memory))
    steps = prices.reshape(-1, days).T[..., None]
    port = _port(LSTMSpec(1, 1), by_hand_to_lstm(weights), steps, (h_0, c_0), None)
    if calls[0].shape == prices.shape:
        return port, [call.reshape(-1, days).T[..., None].astype(np.float64) for call in calls], None
    seen = [np.broadcast_to(call.reshape(1, -1, 1), port.inputs.shape).astype(np.float64) for call in calls]
    known = np.broadcast_to((np.arange(days) == days - 1)[:, None, None], port.inputs.shape)
    return port, seen, known


def _port(
    spec: LSTMSpec, weights: Mapping[str, np.ndarray], inputs: np.ndarray, state: Pair, valid: np.ndarray | None
) -> SimulatedPort:
    doubles = {name: array.astype(np.float64) for name, array in weights.items()}
    for name, (rows, *_) in spec.shapes.items():
        if not spec.bias and name.startswith("weight_hh"):
            doubles |= {name.replace("weight_hh", bias): np.zeros(rows) for bias in ("bias_ih", "bias_hh")}
    h_0, c_0 = (part.astype(np.float64) for part in state)
    places = len(spec.places)
    return SimulatedPort(
        spec, doubles, inputs.astype(np.float64), h_0, c_0, valid, ("sigmoid",) * places, ("lstm",) * places
    )


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
    data = {"inputs": np.where(np.isfinite(port.inputs), port.inputs, 0.0), "h_0": port.h_0, "c_0": port.c_0}
    largest = group_scale(data)
    return 1.0 if largest <= 4 else largest * group_scale(port.weights)
