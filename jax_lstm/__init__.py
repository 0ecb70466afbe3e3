"""The JAX backend: an LSTM as pure functions of (weights, data), and training with optax. Never imports torch."""

from jax_lstm import by_hand
from jax_lstm.by_hand import lstm_unit
from jax_lstm.training import fit
from lstm_shared.training import FitResult

__all__ = ["FitResult", "by_hand", "fit", "lstm_unit"]
