"""The project's two errors, which list everything that is wrong, one problem per line; and ``Terminated``."""

from collections.abc import Iterable
from typing import Any

from lstm_shared.printable import printable


class ReportedError(ValueError):
    """A ValueError whose message lists every problem found, one per line.

    Names in the message may come from anywhere, so it escapes characters that would break the line or control a
    terminal.

    Attributes:
        problems: the lines of the message.
    """

    def __init__(self, problems: str | Iterable[str]):
        lines = [problems] if isinstance(problems, str) else problems
        self.problems = tuple(printable(line) for line in lines)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)  # otherwise the whole message would be unpickled as one problem

    @classmethod
    def raise_any(cls, problems: list[str]) -> None:
        """Raise this error with all the problems, or do nothing when there are none."""
        if problems:
            raise cls(problems)


class WeightsError(ReportedError):
    """A weight dictionary, or the file it comes from, is invalid or not of the expected kind."""


class OtherCellError(WeightsError):
    """The weights are valid, but belong to another recurrent cell: a GRU or a plain RNN."""


class InputError(ReportedError):
    """An argument other than the weights (inputs, states, lengths, options) is invalid."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM). Like KeyboardInterrupt, this is not an error: save, and let it pass."""
