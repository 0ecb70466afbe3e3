"""``torch.nn.LSTM``: layers, directions and projection, with sequences of different lengths, and resets."""

from typing import TYPE_CHECKING

import numpy as np

from lstm_parity.sides.call import Arrays, Call
from lstm_parity.sides.extended_stack import run_stack
from lstm_parity.sides.kinds.orders import orders_of_states, orders_of_weights
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
    drawn_time,
    given_pair,
    native,
    native_pair,
)
from lstm_parity.sides.kinds.sequences import OverSequences, lstm_of, sequence_options
from lstm_shared.errors import InputError
from lstm_shared.inputs import require_sequence
from lstm_shared.specs import LSTMSpec

if TYPE_CHECKING:
    import jax
    from torch import Tensor, nn


class LSTM(OverSequences[LSTMSpec]):
    """The model with every option of ``jax_lstm.lstm``."""

    spec_type = LSTMSpec
    name = "LSTM"
    says = "outputs"
    takes_sequence_options = True
    has_layouts = True

    @property
    def lstm(self) -> LSTMSpec:
        return self.spec

    @property
    def both_directions(self) -> bool:
        return self.spec.bidirectional

    @classmethod
    def spec_of(cls, sizes: Sizes) -> LSTMSpec:
        return lstm_of(sizes)

    def make(self, weights: Arrays, given: Given, rng: np.random.Generator) -> Call:
        spec, inputs, batch_first = self.spec, given.inputs, given.batch_first
        lengths, reset = (None if x is None else native(x) for x in (given.lengths, given.reset))
        if inputs is None:
            time, batch = (drawn_time(), DRAWN_BATCH)
            if lengths is not None:
                time, batch = int(lengths.max(initial=0)), lengths.size
            leading = reset.shape if reset is not None else (batch, time) if batch_first else (time, batch)
            inputs = rng.standard_normal((*leading, spec.input_size))
        inputs, state = native(inputs), native_pair(given.state)
        options = {"batch_first": batch_first, "lengths": lengths, "known_lengths": lengths, "reset": reset}
        require_sequence(spec, inputs, state, **options)
        rows = inputs.shape[:-1][0 if batch_first else 1 :][:1] if inputs.ndim == 3 else ()
        of_h, of_c = self.state_shapes(rows)
        state = self.zero_state(rows) if state is None else state
        shapes = {"outputs": (*inputs.shape[:-1], spec.output_size), "h_n": of_h, "c_n": of_c}
        cotangents = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        states = dict(zip("hc", state, strict=True))
        return Call(spec, weights, inputs, states, cotangents, batch_first, lengths, reset)

    def jax_forward(self, call: Call, implementation: str) -> JaxForward:
        import jax_lstm

        options = sequence_options(call)

        def forward(weights: JaxArrays, inputs: "jax.Array", state: JaxArrays) -> JaxArrays:
            initial = given_pair(state)
            outputs, (h_n, c_n) = jax_lstm.lstm(weights, inputs, initial, implementation=implementation, **options)
            return {"outputs": outputs, "h_n": h_n, "c_n": c_n}

        return forward

    def torch_forward(self, module: "nn.Module", call: Call) -> TorchForward:
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        from torch_lstm.explicit import run

        lengths = None if call.lengths is None else torch.tensor(call.lengths)
        steps = self.time(call)
        # pack_padded_sequence does not take the length of an unbatched sequence, an empty batch, or length 0.
        unpackable = lengths is not None and (not lengths.dim() or not lengths.numel() or 0 in lengths)
        refused = call.reset is not None or not steps or unpackable

        def forward(inputs: "Tensor", state: TorchArrays) -> TorchArrays:
            initial = given_pair(state)
            if refused:  # nn.LSTM cannot run this, so the explicit gates are the reference
                parameters = dict(module.named_parameters())
                outputs, (h_n, c_n), _ = run(parameters, inputs, initial, **sequence_options(call))
            elif lengths is None:
                outputs, (h_n, c_n) = module(inputs, initial)
            else:
                packed = pack_padded_sequence(inputs, lengths, batch_first=call.batch_first, enforce_sorted=False)
                outputs, (h_n, c_n) = module(packed, initial)
                outputs, _ = pad_packed_sequence(outputs, batch_first=call.batch_first, total_length=steps)
            return {"outputs": outputs, "h_n": h_n, "c_n": c_n}

        return forward

    def exact(self, call: Call) -> tuple[Arrays, Backward]:
        batched = call.inputs.ndim == 3

        def time_first(array: np.ndarray) -> np.ndarray:
            return _time_first(array, batched, call.batch_first)

        def as_given(array: np.ndarray) -> np.ndarray:
            return array[:, 0] if not batched else array.swapaxes(0, 1) if call.batch_first else array

        reset = None if call.reset is None else time_first(call.reset)
        rows = {name: array if batched else array[:, None] for name, array in call.state.items()}
        forward, stacked = run_stack(self.spec, call.weights, time_first(call.inputs), rows, call.lengths, reset)
        states = {name: _unbatched(forward[name], batched) for name in ("h_n", "c_n")}

        def backward(by: Arrays) -> Arrays:
            by_states = {name: by[name] if batched else by[name][:, None] for name in ("h_n", "c_n")}
            gradient = stacked({"outputs": time_first(by["outputs"]), **by_states})
            states = {name: _unbatched(gradient[name], batched) for name in "hc"}
            return gradient | states | {"inputs": as_given(gradient["inputs"])}

        return {"outputs": as_given(forward["outputs"]), **states}, backward

    def orders(self, call: Call, rng: np.random.Generator) -> Orders:
        found = orders_of_weights(self.spec, call, rng)
        return found.orders | orders_of_states(self.spec, call, found)

    def layers(self, weights: Arrays, asked: Asked) -> Layers:
        spec, inputs, calls, lengths = self.spec, asked.inputs, asked.calls, asked.lengths
        options = {"batch_first": asked.batch_first, "lengths": lengths, "known_lengths": lengths}
        require_sequence(spec, inputs, asked.state, **options)
        leading, features = inputs.shape[:-1], spec.output_size
        # The port may have summed the directions or swapped the leading axes.
        sizes = (features, spec.state_size) if spec.bidirectional else (features,)
        shapes = [(*axes, size) for axes in (leading, leading[::-1]) for size in sizes]
        if calls[0].shape not in shapes:
            raise InputError(
                f"outputs has shape {calls[0].shape}, expected {shapes[0]}: the leading axes of the inputs, then "
                f"{features} features"
            )
        major, *seen = (_time_first(array, inputs.ndim == 3, asked.batch_first) for array in (inputs, *calls))
        valid = None
        if lengths is not None:
            valid = np.arange(major.shape[0])[:, None] < np.atleast_1d(lengths)[None]
        of_h, of_c = self.state_shapes((major.shape[1],))
        h_0, c_0 = asked.state or self.zero_state((major.shape[1],))
        state = h_0.reshape(*of_h[:2], -1), c_0.reshape(*of_c[:2], -1)
        return Layers(spec, weights, major, state, valid, seen)


def _time_first(array: np.ndarray, batched: bool, batch_first: bool) -> np.ndarray:
    """Rearrange the axes of the caller to (time, batch, …)."""
    return array[:, None] if not batched else array.swapaxes(0, 1) if batch_first else array


def _unbatched(state: np.ndarray, batched: bool) -> np.ndarray:
    return state if batched else state[:, 0]
