"""The LSTM by hand: one unit, twelve scalars, one price per day. Arrays: ``(*series, days)``; states: memories."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lstm_parity.annotations import NumPyWeights
from lstm_parity.sides.call import Arrays, Call
from lstm_parity.sides.extended_recurrence import backpropagate, unroll
from lstm_parity.sides.kinds.kind import ModelKind
from lstm_parity.sides.kinds.records import (
    Asked,
    Backward,
    Given,
    JaxArrays,
    JaxForward,
    Layers,
    Sizes,
    TorchArrays,
    TorchForward,
    native,
)
from lstm_shared.by_hand import COMPANY_PRICES
from lstm_shared.by_hand_to_lstm import by_hand_to_lstm
from lstm_shared.errors import InputError
from lstm_shared.inputs import require_prices
from lstm_shared.names import BY_HAND_GATES
from lstm_shared.specs import ByHandSpec, LSTMSpec
from lstm_shared.traces import ByHandTrace

if TYPE_CHECKING:
    import jax
    from torch import Tensor

    from jax_lstm.training import Loss

T = TypeVar("T")

# The weights of this model in torch, as an LSTM of one unit. Its i, f, g, o are pr, lr, p, o in the articles.
_PARTS = {
    part: tuple(form.format(gate) for gate in BY_HAND_GATES)
    for part, form in (("weight_ih", "w{}2"), ("weight_hh", "w{}1"), ("bias_ih", "b{}1"))
}


class ByHand(ModelKind[ByHandSpec]):
    """The model of the articles. It starts from zero, and ``torch.nn.LSTM(1, 1)`` can compute it too."""

    spec_type = ByHandSpec
    name = "by hand"
    says = "short_memory"
    states = ("long_memory", "short_memory")
    no_port = "a port of the by-hand model is checked as an LSTM: convert its weights with by_hand_to_lstm"
    single_unit = True
    trace_axes = 0
    draws_state = False
    is_nn_lstm = True

    def time_axis(self, call: Call) -> int:
        return call.inputs.ndim - 1

    @classmethod
    def spec_of(cls, sizes: Sizes) -> ByHandSpec:
        return ByHandSpec()

    def multiplies_inputs(self, name: str) -> bool:
        return name.endswith("2")

    def input_shape(self, rows: tuple[int, ...], steps: int, *, batch_first: bool) -> tuple[int, ...]:
        return (*rows, steps)

    def state_shapes(self, rows: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return rows, rows

    def make(self, weights: Arrays, given: Given, rng: np.random.Generator) -> Call:
        prices = native(COMPANY_PRICES if given.inputs is None else given.inputs)
        long_memory, short_memory = (native(memory) for memory in _memories(given.state, (0.0, 0.0)))
        require_prices(prices.shape, prices.dtype, long_memory.shape, short_memory.shape)
        cotangents = {name: rng.standard_normal(prices.shape) for name in self.states}
        memories = {"long_memory": long_memory, "short_memory": short_memory}
        state = {name: np.broadcast_to(memory, prices.shape[:-1]) for name, memory in memories.items()}
        return Call(self.spec, weights, prices, state, cotangents)

    def require_steps(self, shape: tuple[int, ...]) -> None:
        if not shape[-1]:
            raise InputError(f"prices has shape {shape}, expected (*series, days) with at least one day")

    def jax_forward(self, call: Call, implementation: str) -> JaxForward:
        import jax_lstm

        def forward(weights: JaxArrays, prices: "jax.Array", state: JaxArrays) -> JaxArrays:
            trace = jax_lstm.by_hand.trace(weights, prices, **state)
            return {"long_memory": trace.long_memory, "short_memory": trace.short_memory}

        return forward

    def torch_forward(self, module: Any, call: Call) -> TorchForward:
        def forward(prices: "Tensor", state: TorchArrays) -> TorchArrays:
            trace = module.trace(prices, **state)
            return {"long_memory": trace.long_memory, "short_memory": trace.short_memory}

        return forward

    def jax_trace(self, call: Call) -> ByHandTrace:
        import jax

        import jax_lstm

        return jax.jit(jax_lstm.by_hand.trace)(call.weights, call.inputs, **call.state)

    def torch_trace(self, call: Call) -> ByHandTrace:
        import torch_lstm

        return torch_lstm.LSTMByHand(call.weights).trace(call.inputs, **call.state)

    def exact(self, call: Call) -> tuple[Arrays, Backward]:
        """Compute the call as an LSTM of one unit. The rows are the series, and the second bias is zero."""
        inputs, wide = call.inputs, call.inputs.dtype
        parts = {part: np.array([call.weights[name] for name in names]) for part, names in _PARTS.items()}
        parts |= {part: parts[part][:, None] for part in ("weight_ih", "weight_hh")}
        parts["bias_hh"] = np.zeros_like(parts["bias_ih"])
        series, days = inputs.shape[:-1], inputs.shape[-1]
        rows = math.prod(series)
        features = inputs.reshape(rows, days).T[..., None]
        begin = {name: np.zeros((rows, 1), wide) for name in self.states}
        begin |= {name: array.reshape(rows, 1) for name, array in call.state.items()}
        always = np.ones((days, rows), bool)
        run = unroll(parts, features, begin["short_memory"], begin["long_memory"], always, ~always)

        def by_day(array: np.ndarray) -> np.ndarray:
            """Reshape (days, rows, 1) to (*series, days)."""
            return array[..., 0].T.reshape(*series, days)

        def backward(by: Arrays) -> Arrays:
            by_h, by_c = np.zeros_like(run.h), np.zeros_like(run.c)
            by_h[1:], by_c[1:] = (by[n].reshape(rows, days).T[..., None] for n in ("short_memory", "long_memory"))
            of_parts, by_inputs, by_short, by_long = backpropagate(run, by_h, by_c)
            gradient = {
                name: np.asarray(of_parts[part].ravel()[gate])
                for part, names in _PARTS.items()
                for gate, name in enumerate(names)
            }
            memories = {"short_memory": by_short.reshape(series), "long_memory": by_long.reshape(series)}
            return gradient | memories | {"inputs": by_day(by_inputs)}

        return {"long_memory": by_day(run.c[1:]), "short_memory": by_day(run.h[1:])}, backward

    def orders(self, call: Call, rng: np.random.Generator) -> None:
        return None

    def layers(self, weights: Arrays, asked: Asked) -> Layers:
        """Describe the by-hand model as an LSTM(1, 1): a day is a step, and a series is a row."""
        prices, calls = asked.inputs, asked.calls
        long_memory, short_memory = _memories(asked.state, (np.zeros(()), np.zeros(())))
        require_prices(prices.shape, prices.dtype, long_memory.shape, short_memory.shape)
        self.require_steps(prices.shape)
        series, days = prices.shape[:-1], prices.shape[-1]
        if calls[0].shape not in (prices.shape, series):
            raise InputError(
                f"outputs has shape {calls[0].shape}, expected the short memory of every day, {prices.shape}, or of "
                f"the last day, {series}"
            )
        h_0, c_0 = (np.broadcast_to(memory, series).reshape(1, -1, 1) for memory in (short_memory, long_memory))
        steps = prices.reshape(-1, days).T[..., None]
        known = None
        if calls[0].shape == prices.shape:
            seen = [call.reshape(-1, days).T[..., None] for call in calls]
        else:
            seen = [np.broadcast_to(call.reshape(1, -1, 1), steps.shape) for call in calls]
            known = np.broadcast_to((np.arange(days) == days - 1)[:, None, None], steps.shape)
        return Layers(LSTMSpec(1, 1), by_hand_to_lstm(weights), steps, (h_0, c_0), None, seen, known)

    def jax_loss(self) -> "Loss":
        import jax_lstm

        return jax_lstm.by_hand.loss

    def jax_predict(self, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
        import jax_lstm

        return np.asarray(jax_lstm.by_hand.trace(weights, inputs).short_memory)[..., -1]

    def torch_predict(self, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
        import torch_lstm
        from lstm_shared.tensors import to_array

        return to_array(torch_lstm.LSTMByHand(weights).trace(inputs).short_memory)[..., -1]


def _memories(state: Sequence[T] | None, zeros: tuple[T, T]) -> tuple[T, T]:
    """Return (long_memory, short_memory) as given, or zeros."""
    if state is None:
        return zeros
    if not (isinstance(state, tuple | list) and len(state) == 2):
        raise InputError("state is not a pair: expected (long_memory, short_memory), in that order")
    return state[0], state[1]
