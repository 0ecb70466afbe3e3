"""An assertion for test suites: ``from lstm_parity.pytest_plugin import assert_parity``."""

from collections.abc import Callable
from typing import Any

from lstm_parity.annotations import Weights
from lstm_parity.report.report import Report
from lstm_parity.sides.port import Port
from lstm_parity.verdict.check import check


def assert_parity(weights: Weights, candidate: Callable[..., Any] | Port | None = None, **options: Any) -> Report:
    """Assert that a port agrees with PyTorch.

    Args:
        weights: the weight dictionary.
        candidate: the port, as in ``lstm_parity.check``; our JAX backend if left out.
        options: other arguments of ``lstm_parity.check``: inputs, state, lengths, dtypes, …

    Returns:
        The report, for further assertions.

    Raises:
        AssertionError: both sides differ, or the check is undecided. The message is the report, and its first line the
            verdict.
        WeightsError, InputError: an argument is wrong.
    """
    __tracebackhide__ = True  # pytest shows the caller's line instead of this one
    report = check(weights, candidate=candidate, **options)
    if not report.ok:
        raise AssertionError(str(report))
    return report
