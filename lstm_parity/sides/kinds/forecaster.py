"""A forecaster: an LSTM over (batch, time, features) with a linear head on its last output."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_parity.sides.call import Arrays, Call
from lstm_parity.sides.extended_stack import run_stack
from lstm_parity.sides.kinds.orders import flat, orders_of_states, orders_of_weights, outputs_order
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
    TorchForward,
    drawn_time,
    given_pair,
    native,
    native_pair,
)
from lstm_parity.sides.kinds.sequences import OverSequences, lstm_of
from lstm_shared.errors import InputError
from lstm_shared.inputs import require_sequence
from lstm_shared.specs import ForecasterSpec, LSTMSpec

if TYPE_CHECKING:
    import jax
    from torch import nn


class Forecaster(OverSequences[ForecasterSpec]):
    """The model that returns one prediction for each sequence."""

    spec_type = ForecasterSpec
    name = "forecaster"
    says = "predictions"
    prefix = "lstm."
    says_each_step = False
    batch_first = True

    @property
    def lstm(self) -> LSTMSpec:
        return self.spec.lstm

    @classmethod
    def spec_of(cls, sizes: Sizes) -> ForecasterSpec:
        return ForecasterSpec(lstm_of(sizes), sizes.outputs)

    def make(self, weights: Arrays, given: Given, rng: np.random.Generator) -> Call:
        inputs = given.inputs
        if inputs is None:
            inputs = rng.standard_normal((DRAWN_BATCH, drawn_time(), self.lstm.input_size))
        inputs, state = native(inputs), native_pair(given.state)
        require_sequence(self.lstm, inputs, state, batch_first=True)
        if inputs.ndim != 3 or not inputs.shape[1]:
            raise InputError(
                f"inputs has shape {inputs.shape}, expected (batch, time, features) with at least one step"
            )
        state = self.zero_state((inputs.shape[0],)) if state is None else state
        cotangents = {"predictions": rng.standard_normal((inputs.shape[0], self.spec.output_size))}
        states = dict(zip("hc", state, strict=True))
        return Call(self.spec, weights, inputs, states, cotangents, batch_first=True)

    def jax_forward(self, call: Call, implementation: str) -> JaxForward:
        import jax_lstm

        options: dict[str, Any] = {"batch_first": True, "implementation": implementation}

        def forward(weights: JaxArrays, inputs: "jax.Array", state: JaxArrays) -> JaxArrays:
            return {"predictions": jax_lstm.forecast(weights, inputs, state=given_pair(state), **options)}

        return forward

    def torch_forward(self, module: "nn.Module", call: Call) -> TorchForward:
        return lambda inputs, state: {"predictions": module(inputs, given_pair(state))}

    def exact(self, call: Call) -> tuple[Arrays, Backward]:
        head = call.weights["fc.weight"]
        weights, _, _ = self._arguments(call)
        forward, stacked = run_stack(self.lstm, weights, call.inputs.swapaxes(0, 1), call.state)
        last = forward["outputs"][-1]

        def backward(by: Arrays) -> Arrays:
            by = {name: np.zeros_like(array) for name, array in forward.items()} | by
            by["outputs"][-1] = by["predictions"] @ head
            gradient = stacked(by)
            return {
                **{f"{self.prefix}{name}": array for name, array in gradient.items()},
                "fc.weight": by["predictions"].T @ last,
                "fc.bias": by["predictions"].sum(0),
                "inputs": gradient["inputs"].swapaxes(0, 1),
                **{name: gradient[name] for name in "hc"},
            }

        return {"predictions": last @ head.T + call.weights["fc.bias"]}, backward

    def orders(self, call: Call, rng: np.random.Generator) -> Orders:
        found = orders_of_weights(self.lstm, call, rng, prefix=self.prefix)
        head = {
            "fc.weight": flat(call.weights["fc.weight"].shape, {1: outputs_order(self.lstm, found.of_h)}),
            "fc.bias": np.arange(self.spec.output_size),
            "predictions": flat(call.cotangents["predictions"].shape, {}),
        }
        return found.orders | head | orders_of_states(self.lstm, call, found)

    def named(self, returned: object) -> dict[str, object]:
        return {"predictions": returned}

    def layers(self, weights: Arrays, asked: Asked) -> Layers:
        raise InputError(
            "these are the weights of a forecaster: give only those under 'lstm.', and the outputs of that LSTM"
        )
