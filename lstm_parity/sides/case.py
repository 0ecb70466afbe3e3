"""One case to check: a dictionary, inputs, initial states, and the fixed random cotangents of the loss."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np

from jax_lstm.recurrences.choose import chunk_steps
from lstm_shared.by_hand import COMPANY_PRICES
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.finite import not_finite
from lstm_shared.inputs import require_cell_inputs, require_prices, require_sequence
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec, Spec, in_words

# What a backend computed: stage -> name -> array, in the order of computation. Stages are "forward", "loss",
# "gradient" and "adam"; in the last the arrays have the steps as their first axis.
Observation = dict[str, dict[str, np.ndarray]]

# Inputs that are drawn when none are given: two whole chunks of the fast backward pass and a remainder, a few rows.
DRAWN_BATCH = 3
DRAWN_TIME = 2 * chunk_steps(DRAWN_BATCH) + 5


@dataclass(frozen=True)
class Case:
    """Everything a backend needs to compute the observations of a check; NumPy arrays throughout.

    Attributes:
        inputs: by hand, prices (*series, days); else as for ``jax_lstm.lstm``, ``lstm_cell`` or ``forecast``.
        state: the initial states by name: ``long_memory`` and ``short_memory`` by hand, else ``h`` and ``c``. Empty
            where the model is to be called without one.
        cotangents: for every forward array, the random numbers of order 1 whose inner product with it is the loss; no
            gradient is then too small to be judged.
        steps: Adam steps to take.
        seed: where the cotangents (and inputs, if none were given) come from.
        batch_first, lengths, reset: as in ``jax_lstm.lstm``.
    """

    spec: Spec
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    state: dict[str, np.ndarray]
    cotangents: dict[str, np.ndarray]
    steps: int
    seed: int
    batch_first: bool = False
    lengths: np.ndarray | None = None
    reset: np.ndarray | None = None

    @property
    def time(self) -> int:
        """Steps of the inputs, days by hand, 1 for a cell."""
        return 1 if isinstance(self.spec, CellSpec) else self.inputs.shape[self.time_axis]

    @property
    def time_axis(self) -> int:
        """Which axis of the inputs the steps are. Not for a cell, which has none."""
        if isinstance(self.spec, ByHandSpec):
            return self.inputs.ndim - 1
        return 1 if self.inputs.ndim == 3 and self.batch_first else 0

    def without_state(self) -> "Case":
        """The same case, for implementations that are called without a state and then begin at zero."""
        return replace(self, state={})

    def first_steps(self, steps: int) -> "Case":
        """The same case, its sequences cut off after so many steps (days). Not for a cell, which has one."""
        axis = self.time_axis

        def cut(array: np.ndarray, axis: int = axis) -> np.ndarray:
            return array[(slice(None),) * axis + (slice(steps),)]

        by_step = ("outputs", "long_memory", "short_memory")
        return replace(
            self,
            inputs=cut(self.inputs),
            cotangents={name: cut(array) if name in by_step else array for name, array in self.cotangents.items()},
            lengths=None if self.lengths is None else np.minimum(self.lengths, steps),
            reset=None if self.reset is None else cut(self.reset),
        )

    def not_finite(self) -> list[str]:
        """A line for each weight, state and input that is NaN or infinite. What stands in the padding is not read."""
        read = self.inputs
        if self.lengths is not None:
            steps = np.arange(self.time).reshape(-1, 1) < np.atleast_1d(self.lengths)
            steps = steps.T if self.inputs.ndim == 3 and self.batch_first else steps
            read = self.inputs[steps.reshape(self.inputs.shape[:-1])]
        return not_finite({**self.weights, **self.state, "inputs": read})

    def astype(self, dtype: str) -> "Case":
        """The same case with every floating-point array rounded to this dtype; what is too large becomes infinite."""

        def cast(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: array.astype(np.dtype(dtype)) for name, array in arrays.items()}

        with np.errstate(over="ignore"):  # ``not_finite`` tells
            return replace(
                self,
                weights=cast(self.weights),
                inputs=self.inputs.astype(np.dtype(dtype)),
                state=cast(self.state),
                cotangents=cast(self.cotangents),
            )


def make_case(
    weights: Mapping[str, Any],
    inputs: Any = None,
    *,
    state: Any = None,
    batch_first: bool = False,
    lengths: Any = None,
    reset: Any = None,
    steps: int = 10,
    seed: int = 0,
    draw_state: bool = False,
) -> Case:
    """Check the arguments of ``check`` and fill in what was left out.

    Args:
        draw_state: whether a state that is left out is drawn, as ``check`` does; else, and by hand, it is zero.

    Raises:
        WeightsError, InputError: as the backends would say it, or something that is read is NaN or infinite.
    """
    spec = describe(weights)
    arrays = {name: _native(weights[name]) for name in spec.shapes}
    WeightsError.raise_any(not_finite(arrays))
    rng = np.random.default_rng(seed)
    if isinstance(spec, LSTMSpec):
        case = _lstm_case(spec, arrays, inputs, state, batch_first, lengths, reset, rng)
    else:
        if lengths is not None or reset is not None:
            raise InputError(f"lengths and reset are for an LSTM; these are the weights of {in_words(spec)}")
        make = {ByHandSpec: _by_hand_case, CellSpec: _cell_case, ForecasterSpec: _forecaster_case}[type(spec)]
        case = make(spec, arrays, inputs, state, rng)
    if draw_state and state is None and not isinstance(spec, ByHandSpec):  # the articles begin at zero
        case = replace(case, state={name: _drawn_state(name, array.shape, rng) for name, array in case.state.items()})
    InputError.raise_any(case.not_finite())
    return replace(case, steps=steps, seed=seed)


def require_days(shape: tuple[int, ...]) -> None:
    """Raise an InputError where prices of this shape have no day: nothing would be computed, and nothing compared."""
    if not shape[-1]:
        raise InputError(f"prices has shape {shape}, without a day: expected at least one in (*series, days)")


def _native(value: Any) -> np.ndarray:
    """As an array in this machine's byte order, which both frameworks need."""
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _drawn_state(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Of a size that the model could have reached: what it says is within (-1, 1), what it remembers may be larger."""
    drawn = rng.standard_normal(shape)
    return np.tanh(drawn) if name in ("h", "short_memory") else drawn


def _by_hand_case(spec: ByHandSpec, weights: Any, inputs: Any, state: Any, rng: np.random.Generator) -> Case:
    prices = _native(COMPANY_PRICES if inputs is None else inputs)
    if state is not None and not (isinstance(state, tuple | list) and len(state) == 2):
        raise InputError("state is not a pair (long_memory, short_memory), in that order")
    long_memory, short_memory = (_native(memory) for memory in ((0.0, 0.0) if state is None else state))
    require_prices(prices.shape, prices.dtype, long_memory.shape, short_memory.shape)
    cotangents = {name: rng.standard_normal(prices.shape) for name in ("long_memory", "short_memory")}
    memories = {"long_memory": long_memory, "short_memory": short_memory}
    state = {name: np.broadcast_to(memory, prices.shape[:-1]) for name, memory in memories.items()}
    return Case(spec, weights, prices, state, cotangents, 0, 0)


def _lstm_case(
    spec: LSTMSpec,
    weights: Any,
    inputs: Any,
    state: Any,
    batch_first: bool,
    lengths: Any,
    reset: Any,
    rng: np.random.Generator,
) -> Case:
    lengths, reset = (None if x is None else _native(x) for x in (lengths, reset))
    if inputs is None:
        time, batch = (DRAWN_TIME, DRAWN_BATCH) if lengths is None else (int(lengths.max(initial=0)), lengths.size)
        leading = reset.shape if reset is not None else (batch, time) if batch_first else (time, batch)
        inputs = rng.standard_normal((*leading, spec.input_size))
    inputs = _native(inputs)
    if isinstance(state, tuple | list):
        state = tuple(map(_native, state))
    require_sequence(spec, inputs, state, batch_first=batch_first, lengths=lengths, known_lengths=lengths, reset=reset)
    batch = inputs.shape[:-1][0 if batch_first else 1 :][:1] if inputs.ndim == 3 else ()
    rows = (len(spec.places), *batch)
    if state is None:
        state = (np.zeros((*rows, spec.state_size)), np.zeros((*rows, spec.hidden_size)))
    shapes = {
        "outputs": (*inputs.shape[:-1], spec.output_size),
        "h_n": (*rows, spec.state_size),
        "c_n": (*rows, spec.hidden_size),
    }
    cotangents = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    states = dict(zip("hc", state, strict=True))
    return Case(spec, weights, inputs, states, cotangents, 0, 0, batch_first, lengths, reset)


def _cell_case(spec: CellSpec, weights: Any, inputs: Any, state: Any, rng: np.random.Generator) -> Case:
    inputs = _native(rng.standard_normal((DRAWN_BATCH, spec.input_size)) if inputs is None else inputs)
    if isinstance(state, tuple | list):
        state = tuple(map(_native, state))
    require_cell_inputs(spec, inputs, state)
    shape = (*inputs.shape[:-1], spec.hidden_size)
    states = dict(zip("hc", (np.zeros(shape), np.zeros(shape)) if state is None else state, strict=True))
    return Case(spec, weights, inputs, states, {name: rng.standard_normal(shape) for name in "hc"}, 0, 0)


def _forecaster_case(spec: ForecasterSpec, weights: Any, inputs: Any, state: Any, rng: np.random.Generator) -> Case:
    drawn_shape = (DRAWN_BATCH, DRAWN_TIME, spec.lstm.input_size)
    inputs = _native(rng.standard_normal(drawn_shape) if inputs is None else inputs)
    if isinstance(state, tuple | list):
        state = tuple(map(_native, state))
    require_sequence(spec.lstm, inputs, state, batch_first=True)
    if inputs.ndim != 3 or not inputs.shape[1]:
        raise InputError(f"inputs has shape {inputs.shape}, expected (batch, time, features) with at least one step")
    rows = (len(spec.lstm.places), inputs.shape[0])
    if state is None:
        state = (np.zeros((*rows, spec.lstm.state_size)), np.zeros((*rows, spec.lstm.hidden_size)))
    cotangents = {"predictions": rng.standard_normal((inputs.shape[0], spec.output_size))}
    return Case(spec, weights, inputs, dict(zip("hc", state, strict=True)), cotangents, 0, 0, batch_first=True)
