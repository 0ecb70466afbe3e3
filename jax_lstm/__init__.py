"""The JAX backend: LSTMs as pure functions of (weights, data), and training with optax. Never imports torch."""

from types import ModuleType
from typing import TYPE_CHECKING

from lstm_shared.requirements import say_what_to_install
from lstm_shared.traces import ByHandTrace, LSTMTrace
from lstm_shared.training.plan import FitResult

with say_what_to_install("jax_lstm", {"jax": "JAX", "optax": "optax"}, extra="jax"):
    from jax_lstm import by_hand, forecaster
    from jax_lstm.by_hand import lstm_unit
    from jax_lstm.cell import lstm_cell
    from jax_lstm.forecaster import forecast
    from jax_lstm.stack import lstm, lstm_trace
    from jax_lstm.training import fit

if TYPE_CHECKING:
    from jax_lstm import linen, nnx

__all__ = [
    "ByHandTrace",
    "FitResult",
    "LSTMTrace",
    "by_hand",
    "fit",
    "forecast",
    "forecaster",
    "linen",
    "lstm",
    "lstm_cell",
    "lstm_trace",
    "lstm_unit",
    "nnx",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def __getattr__(name: str) -> ModuleType | str:
    """Load the Flax modules when they are asked for: the functions do not need Flax, which takes a second."""
    if name == "__version__":
        from importlib.metadata import version

        return version("lstm-parity")
    if name not in ("linen", "nnx"):
        raise AttributeError(f"module 'jax_lstm' has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"jax_lstm.{name}")
