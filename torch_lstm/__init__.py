"""The PyTorch backend: reference modules, and training with Lightning. Never imports jax."""

from lstm_shared.training import FitResult
from torch_lstm.by_hand import LSTMByHand
from torch_lstm.training import fit

__all__ = ["FitResult", "LSTMByHand", "fit"]
