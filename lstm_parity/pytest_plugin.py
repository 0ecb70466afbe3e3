"""For other people's test suites: ``from lstm_parity.pytest_plugin import assert_parity``."""

from collections.abc import Callable
from typing import Any

from lstm_parity.annotations import Weights
from lstm_parity.report.report import Report
from lstm_parity.sides.port import Port
from lstm_parity.verdict.check import check


def assert_parity(weights: Weights, candidate: Callable[..., Any] | Port | None = None, **options: Any) -> Report:
    """Fail, with the report as the message and its verdict as the first line, unless a port agrees with PyTorch.

    Args:
        weights: the dictionary that the port is of.
        candidate: the port, as for ``lstm_parity.check``; our JAX backend when left out.
        options: further arguments of ``lstm_parity.check``: inputs, state, lengths, dtypes, …

    Returns:
        The report, for tests that want to ask more of it.

    Raises:
        AssertionError: they differ, or that is undecided.
        WeightsError, InputError: the arguments are not what they should be.
    """
    __tracebackhide__ = True  # pytest then shows the caller's line, not this one
    report = check(weights, candidate=candidate, **options)
    if not report.ok:
        raise AssertionError(str(report))
    return report
