"""Train, predict and trace with either backend, by its name."""

import contextlib
import os
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax
import torch

import jax_lstm
import torch_lstm
from lstm_parity.annotations import NumPyWeights
from lstm_parity.sides.kinds import kind_of
from lstm_shared.describe import describe
from lstm_shared.tensors import to_array
from lstm_shared.traces import ByHandTrace
from lstm_shared.training.plan import FitResult

Backend = Literal["jax", "torch"]
BACKENDS: tuple[Backend, ...] = ("jax", "torch")


def train(
    backend: Backend,
    weights: NumPyWeights,
    data: tuple[np.ndarray, ...],
    *,
    learning_rate: float = 1e-3,
    log_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> FitResult:
    """Train a by-hand model or a forecaster with Adam, in the dtype of the weights (NumPy arrays).

    ``options`` are the ones that both ``fit`` functions take; only torch uses ``log_dir``.
    """
    if backend == "torch":
        adam = partial(torch.optim.Adam, lr=learning_rate)
        module = torch_lstm.to_torch(weights)
        assert isinstance(module, torch_lstm.LSTMByHand | torch_lstm.Forecaster)
        return torch_lstm.fit(module, data, optimizer=adam, log_dir=log_dir, **options)
    loss = kind_of(describe(weights)).jax_loss()
    with _x64_for(weights):
        return jax_lstm.fit(loss, dict(weights), data, optimizer=optax.adam(learning_rate), **options)


def predict(backend: Backend, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
    """Predict what follows each series.

    The by-hand model maps ``(*series, days)`` to ``(*series,)``, a forecaster (batch, time, features) to
    (batch, output).
    """
    kind = kind_of(describe(weights))
    if backend == "torch":
        with torch.no_grad():
            return kind.torch_predict(weights, inputs)
    with _x64_for(weights):
        return kind.jax_predict(weights, inputs)


def trace(
    backend: Backend,
    weights: NumPyWeights,
    prices: np.ndarray,
    long_memory: float = 0.0,
    short_memory: float = 0.0,
) -> ByHandTrace:
    """Return the gates and memories of every day, as NumPy arrays."""
    if backend == "torch":
        with torch.no_grad():
            fields = torch_lstm.LSTMByHand(weights).trace(prices, long_memory, short_memory)
            return ByHandTrace(*map(to_array, fields))
    with _x64_for(weights):
        return ByHandTrace(*map(np.asarray, jax_lstm.by_hand.trace(weights, prices, long_memory, short_memory)))


def _x64_for(weights: NumPyWeights) -> contextlib.AbstractContextManager[object]:
    return jax.enable_x64(any(np.asarray(weight).dtype == np.float64 for weight in weights.values()))
