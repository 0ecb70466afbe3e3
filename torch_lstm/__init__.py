"""The PyTorch backend: reference modules, and training with Lightning. Never imports jax."""

from lstm_shared.requirements import say_what_to_install
from lstm_shared.traces import ByHandTrace, LSTMTrace
from lstm_shared.training.plan import FitResult

with say_what_to_install("torch_lstm", {"torch": "PyTorch", "lightning": "Lightning"}, extra="torch"):
    from torch_lstm.by_hand import LSTMByHand
    from torch_lstm.explicit import trace
    from torch_lstm.forecaster import Forecaster
    from torch_lstm.linear_gates import LinearGatesCell
    from torch_lstm.modules import from_torch, to_torch
    from torch_lstm.training import fit

__all__ = [
    "ByHandTrace",
    "FitResult",
    "Forecaster",
    "LSTMByHand",
    "LSTMTrace",
    "LinearGatesCell",
    "fit",
    "from_torch",
    "to_torch",
    "trace",
]
