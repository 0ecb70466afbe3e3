"""The two errors of the project. Each says everything that is wrong, one problem to a line."""

from collections.abc import Iterable


class ReportedError(ValueError):
    """A ValueError whose message lists every problem found, one to a line.

    Attributes:
        problems: the lines of the message.
    """

    def __init__(self, problems: str | Iterable[str]):
        lines = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(lines))

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(str(self).splitlines())

    @classmethod
    def raise_any(cls, problems: list[str]) -> None:
        """Raise this error with all the problems, or do nothing when there are none."""
        if problems:
            raise cls(problems)


class WeightsError(ReportedError):
    """A weight dictionary, or the file it comes from, is not what it should be."""


class OtherCellError(WeightsError):
    """The dictionary is a sound one of another recurrent cell: a GRU or a plain RNN."""


class InputError(ReportedError):
    """An argument other than the weights (inputs, states, lengths, options) is not what it should be."""
