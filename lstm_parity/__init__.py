"""The tool on top of both backends: compare, check, and the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_parity.compare import Row
    from lstm_parity.report import Report
    from lstm_parity.verdict import check

__all__ = ["Report", "Row", "check"]


def __getattr__(name: str) -> Any:
    """Load both frameworks only when they are needed, so that ``lstm-parity --help`` and ``inspect`` answer at once."""
    import importlib

    homes = {"check": "lstm_parity.verdict", "Row": "lstm_parity.compare", "Report": "lstm_parity.report"}
    if name not in homes:
        raise AttributeError(f"module 'lstm_parity' has no attribute {name!r}")
    return getattr(importlib.import_module(homes[name]), name)
