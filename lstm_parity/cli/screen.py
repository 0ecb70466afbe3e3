"""Print: nothing but our own colors acts on the terminal, and no number is cut off."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lstm_parity.process.standard_streams import output_named
from lstm_shared.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.segment import Segment

# A narrower terminal wraps the lines itself, and gets every number. Some terminals claim to have 0 columns.
_LEAST_WIDTH = 80


def say(*lines: str) -> None:
    """Print each line as it is."""
    with output_named():
        for line in lines:
            print(printable(line), file=sys.stdout)


def show(*parts: "RenderableType") -> None:
    """Print rich renderables as wide as the terminal, or wider if a table or a word needs it."""
    from rich.console import Console, Group
    from rich.measure import Measurement

    # No markup: square brackets may be part of a name.
    console = Console(markup=False, emoji=False, highlight=False)
    group = Group(*parts)
    options = console.options.update(width=10_000)
    width = max(_LEAST_WIDTH, console.width, Measurement.get(console, options, group).minimum)
    console.width = width
    with output_named():
        console.print(_Visible(group), crop=False)


class _Visible:
    """A renderable without trailing blanks, in which characters that control the terminal become escapes."""

    def __init__(self, part: "RenderableType"):
        self._part = part

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Segment]":
        from rich.segment import Segment

        for line in Segment.split_lines(console.render(self._part, options)):
            while line and not line[-1].control and not line[-1].text.strip(" "):
                line.pop()  # rich pads lines with blanks, which a narrower terminal would wrap
            for number, segment in enumerate(line, 1):
                text = segment.text.rstrip(" ") if number == len(line) else segment.text
                yield segment if segment.control else Segment(printable(text), segment.style)
            yield Segment.line()

    def __rich_measure__(self, console: "Console", options: "ConsoleOptions") -> "Measurement":
        from rich.measure import Measurement

        return Measurement.get(console, options, self._part)
