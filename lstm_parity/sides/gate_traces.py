"""Trace a case in both backends: every gate and state of every layer, direction and step."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from lstm_parity.sides.case import Case
from lstm_parity.sides.devices import full_precision
from lstm_shared.tensors import to_array
from lstm_shared.traces import ByHandTrace, LSTMTrace

Trace = TypeVar("Trace", bound=ByHandTrace | LSTMTrace)


def trace_both(case: Case) -> tuple[LSTMTrace | ByHandTrace, LSTMTrace | ByHandTrace]:
    """Return (JAX's trace, torch's trace) as NumPy arrays, computed at full precision.

    For a forecaster these are the traces of its LSTM. A cell has none.
    """
    with full_precision(), jax.enable_x64(case.inputs.dtype == np.float64):
        ours = case.kind.jax_trace(case)
        reference = case.kind.torch_trace(case)
        ours = _arrays(ours, np.asarray)
    return ours, _arrays(reference, to_array)


def _arrays(trace: Trace, convert: Callable[[Any], np.ndarray]) -> Trace:
    return type(trace)(*(None if field is None else convert(field) for field in trace))
