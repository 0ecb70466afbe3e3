"""``torch.nn.LSTMCell``: one step of one layer. Its weights are named as in an LSTM, without the layer suffix."""

from typing import TYPE_CHECKING

import numpy as np

from lstm_parity.sides.call import Arrays, Call
from lstm_parity.sides.extended_recurrence import backpropagate, unroll
from lstm_parity.sides.kinds.kind import ModelKind
from lstm_parity.sides.kinds.orders import flat, orders_of_weights
from lstm_parity.sides.kinds.records import (
    DRAWN_BATCH,
    Asked,
    Backward,
    Given,
    JaxArrays,
    JaxForward,
    Layers,
    Orders,
    Sizes,
    TorchArrays,
    TorchForward,
    given_pair,
    native,
    native_pair,
)
from lstm_shared.errors import InputError
from lstm_shared.inputs import require_cell_inputs
from lstm_shared.specs import CellSpec, LSTMSpec

if TYPE_CHECKING:
    import jax
    from torch import Tensor, nn


class Cell(ModelKind[CellSpec]):
    """One step. Its states have the same leading axes as its inputs."""

    spec_type = CellSpec
    name = "cell"
    says = "h"
    returns = "(h, c)"
    has_steps = False

    @property
    def has_bias(self) -> bool:
        return self.spec.bias

    @property
    def _layer(self) -> LSTMSpec:
        """The one-layer LSTM that computes the same step."""
        return LSTMSpec(self.spec.input_size, self.spec.hidden_size, bias=self.spec.bias)

    def time(self, call: Call) -> int:
        return 1

    @classmethod
    def spec_of(cls, sizes: Sizes) -> CellSpec:
        return CellSpec(sizes.inputs, sizes.hidden, sizes.bias)

    def input_shape(self, rows: tuple[int, ...], steps: int, *, batch_first: bool) -> tuple[int, ...]:
        return (*rows, self.spec.input_size)

    def state_shapes(self, rows: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (*rows, self.spec.hidden_size), (*rows, self.spec.hidden_size)

    def make(self, weights: Arrays, given: Given, rng: np.random.Generator) -> Call:
        inputs, state = given.inputs, native_pair(given.state)
        inputs = native(rng.standard_normal((DRAWN_BATCH, self.spec.input_size)) if inputs is None else inputs)
        require_cell_inputs(self.spec, inputs, state)
        shape = (*inputs.shape[:-1], self.spec.hidden_size)
        states = dict(zip("hc", self.zero_state(inputs.shape[:-1]) if state is None else state, strict=True))
        return Call(self.spec, weights, inputs, states, {name: rng.standard_normal(shape) for name in "hc"})

    def jax_forward(self, call: Call, implementation: str) -> JaxForward:
        import jax_lstm

        def forward(weights: JaxArrays, inputs: "jax.Array", state: JaxArrays) -> JaxArrays:
            h, c = jax_lstm.lstm_cell(weights, inputs, given_pair(state))
            return {"h": h, "c": c}

        return forward

    def torch_forward(self, module: "nn.Module", call: Call) -> TorchForward:
        def forward(inputs: "Tensor", state: TorchArrays) -> TorchArrays:
            h, c = module(inputs, given_pair(state))
            return {"h": h, "c": c}

        return forward

    def exact(self, call: Call) -> tuple[Arrays, Backward]:
        """Compute the call as a sequence of one step, with one row if there is no batch."""
        inputs, state, size = call.inputs, call.state, self.spec.hidden_size
        features = inputs.reshape(1, -1, inputs.shape[-1])
        none = np.zeros((features.shape[1], size), inputs.dtype)
        h, c = (state[name].reshape(-1, size) if state else none for name in "hc")
        always = np.ones(features.shape[:2], bool)
        run = unroll(call.weights, features, h, c, always, ~always)
        shape = (*inputs.shape[:-1], size)

        def backward(by: Arrays) -> Arrays:
            by_h, by_c = (np.stack([np.zeros_like(h), by[name].reshape(h.shape)]) for name in "hc")
            gradient, by_inputs, by_h_0, by_c_0 = backpropagate(run, by_h, by_c)
            states = {"h": by_h_0.reshape(shape), "c": by_c_0.reshape(shape)}
            return gradient | states | {"inputs": by_inputs.reshape(inputs.shape)}

        return {"h": run.h[1].reshape(shape), "c": run.c[1].reshape(shape)}, backward

    def orders(self, call: Call, rng: np.random.Generator) -> Orders:
        found = orders_of_weights(self._layer, call, rng, suffix="_l0")
        shape = (*call.inputs.shape[:-1], self.spec.hidden_size)
        return found.orders | dict.fromkeys("hc", flat(shape, {len(shape) - 1: found.of_c[0]}))

    def named(self, returned: object) -> dict[str, object] | None:
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            return None
        return dict(zip("hc", returned, strict=True))

    def layers(self, weights: Arrays, asked: Asked) -> Layers:
        """Describe the cell as one step of a one-layer LSTM."""
        inputs, calls = asked.inputs, asked.calls
        require_cell_inputs(self.spec, inputs, asked.state)
        expected = (*inputs.shape[:-1], self.spec.hidden_size)
        if calls[0].shape != expected:
            raise InputError(f"outputs has shape {calls[0].shape}, expected that of h after the step, {expected}")
        h_0, c_0 = asked.state or self.zero_state(inputs.shape[:-1])

        def one_step(array: np.ndarray) -> np.ndarray:
            return array.reshape(1, -1, array.shape[-1])

        named = {f"{name}_l0": array for name, array in weights.items()}
        state = one_step(h_0), one_step(c_0)
        return Layers(self._layer, named, one_step(inputs), state, None, [one_step(call) for call in calls])
