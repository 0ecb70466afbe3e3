"""Both backends' traces of a case: every gate and state of every layer, direction and step."""

from functools import partial
from typing import Any

import jax
import numpy as np

import jax_lstm
from lstm_parity.sides.case import Case
from lstm_parity.sides.devices import full_precision
from lstm_shared.specs import ByHandSpec, ForecasterSpec
from lstm_shared.tensors import to_array
from lstm_shared.traces import ByHandTrace, LSTMTrace
from torch_lstm import LSTMByHand, trace


def trace_both(case: Case) -> tuple[LSTMTrace | ByHandTrace, LSTMTrace | ByHandTrace]:
    """(JAX's trace, torch's) as NumPy arrays, at full precision; of a forecaster, those of its LSTM. Not for a cell."""
    with full_precision(), jax.enable_x64(case.inputs.dtype == np.float64):
        if isinstance(case.spec, ByHandSpec):
            ours: Any = jax.jit(jax_lstm.by_hand.trace)(case.weights, case.inputs, **case.state)
            reference: Any = LSTMByHand(case.weights).trace(case.inputs, **case.state)
        else:
            prefix = "lstm." if isinstance(case.spec, ForecasterSpec) else ""
            weights = {n.removeprefix(prefix): a for n, a in case.weights.items() if n.startswith(prefix)}
            state = (case.state["h"], case.state["c"]) if case.state else None
            given = {"batch_first": case.batch_first, "lengths": case.lengths, "reset": case.reset}
            # As one program: each operation by itself is compiled too, and there are thirty.
            ours = jax.jit(partial(jax_lstm.lstm_trace, **given))(weights, case.inputs, state)
            reference = trace(weights, case.inputs, state, **given)
        ours = [None if field is None else np.asarray(field) for field in ours]
    reference = [None if field is None else to_array(field) for field in reference]
    kind = ByHandTrace if isinstance(case.spec, ByHandSpec) else LSTMTrace
    return kind(*ours), kind(*reference)
