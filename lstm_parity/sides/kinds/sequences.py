"""What an LSTM and a forecaster have in common: both run an LSTM over sequences, starting from given states."""

from abc import abstractmethod
from functools import partial

import numpy as np

from lstm_parity.sides.call import Call
from lstm_parity.sides.kinds.kind import ModelKind, S
from lstm_parity.sides.kinds.records import SequenceOptions, Sizes, given_pair
from lstm_shared.specs import LSTMSpec
from lstm_shared.traces import LSTMTrace


class OverSequences(ModelKind[S]):
    """A model with an LSTM inside. The names of that LSTM's weights start with ``prefix``."""

    has_implementations = True

    @property
    @abstractmethod
    def lstm(self) -> LSTMSpec: ...

    @property
    def has_bias(self) -> bool:
        return self.lstm.bias

    def input_shape(self, rows: tuple[int, ...], steps: int, *, batch_first: bool) -> tuple[int, ...]:
        return (*((*rows, steps) if batch_first else (steps, *rows)), self.lstm.input_size)

    def state_shapes(self, rows: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        first = len(self.lstm.places)
        return (first, *rows, self.lstm.state_size), (first, *rows, self.lstm.hidden_size)

    def jax_trace(self, call: Call) -> LSTMTrace:
        import jax

        import jax_lstm

        # Compile it as one program: without jit, each of its thirty operations is compiled on its own.
        return jax.jit(partial(jax_lstm.lstm_trace, **sequence_options(call)))(*self._arguments(call))

    def torch_trace(self, call: Call) -> LSTMTrace:
        import torch_lstm

        return torch_lstm.trace(*self._arguments(call), **sequence_options(call))

    def _arguments(self, call: Call) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
        """Return (weights of the LSTM, inputs, state)."""
        named = ((name, array) for name, array in call.weights.items() if name.startswith(self.prefix))
        return {name.removeprefix(self.prefix): array for name, array in named}, call.inputs, given_pair(call.state)


def lstm_of(sizes: Sizes) -> LSTMSpec:
    """Return the LSTM of these sizes."""
    return LSTMSpec(
        input_size=sizes.inputs,
        hidden_size=sizes.hidden,
        num_layers=sizes.layers,
        bias=sizes.bias,
        bidirectional=sizes.bidirectional,
        proj_size=sizes.projection,
    )


def sequence_options(call: Call) -> SequenceOptions:
    """Return the options of a call, in the form that the functions of both backends take."""
    return {"batch_first": call.batch_first, "lengths": call.lengths, "reset": call.reset}
