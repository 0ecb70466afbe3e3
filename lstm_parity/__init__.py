"""Compare an LSTM in JAX with its PyTorch reference: check, locate, diagnose, and the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstm_parity.compare.rows import Row
    from lstm_parity.diagnosis.explain import Diagnosis, diagnose
    from lstm_parity.location.outputs import locate_gradient, locate_outputs
    from lstm_parity.location.traces import locate
    from lstm_parity.report.report import Report
    from lstm_parity.verdict.check import check

__all__ = ["Diagnosis", "Report", "Row", "check", "diagnose", "locate", "locate_gradient", "locate_outputs"]


_HOMES = {
    "check": "lstm_parity.verdict.check",
    "Row": "lstm_parity.compare.rows",
    "Report": "lstm_parity.report.report",
    "diagnose": "lstm_parity.diagnosis.explain",
    "Diagnosis": "lstm_parity.diagnosis.explain",
    "locate": "lstm_parity.location.traces",
    "locate_gradient": "lstm_parity.location.outputs",
    "locate_outputs": "lstm_parity.location.outputs",
}


def __getattr__(name: str) -> object:
    """Load the frameworks only on demand, so that ``lstm-parity --help`` and ``inspect`` answer at once."""
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("lstm-parity")
    if name not in _HOMES:
        raise AttributeError(f"module 'lstm_parity' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
