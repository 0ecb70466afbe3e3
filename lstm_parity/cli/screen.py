"""What the commands print: nothing in it acts on the terminal but our own colours, and no figure is cut short."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lstm_parity.process.standard_streams import output_named
from lstm_shared.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.segment import Segment

# A narrower terminal breaks the lines itself; it does not get fewer figures. Some say that they have 0 columns.
_LEAST_WIDTH = 80


def say(*lines: str) -> None:
    """Print lines as they are, each on its line."""
    with output_named():
        for line in lines:
            print(printable(line), file=sys.stdout)


def show(*parts: "RenderableType") -> None:
    """Print what rich can render, as wide as the terminal, or wider where a table or a word needs it."""
    from rich.console import Console, Group
    from rich.measure import Measurement

    # What is in square brackets may be part of a name: no markup.
    console = Console(markup=False, emoji=False, highlight=False)
    group = Group(*parts)
    options = console.options.update(width=10_000)
    width = max(_LEAST_WIDTH, console.width, Measurement.get(console, options, group).minimum)
    console.width = width
    with output_named():
        console.print(_Visible(group), crop=False)


class _Visible:
    """A renderable without blanks at the ends of lines, and with an escape for each character that a terminal obeys."""

    def __init__(self, part: "RenderableType"):
        self._part = part

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Segment]":
        from rich.segment import Segment

        for line in Segment.split_lines(console.render(self._part, options)):
            while line and not line[-1].control and not line[-1].text.strip(" "):
                line.pop()  # rich fills lines up with blanks, which a narrower terminal would wrap
            for number, segment in enumerate(line, 1):
                text = segment.text.rstrip(" ") if number == len(line) else segment.text
                yield segment if segment.control else Segment(printable(text), segment.style)
            yield Segment.line()

    def __rich_measure__(self, console: "Console", options: "ConsoleOptions") -> "Measurement":
        from rich.measure import Measurement

        return Measurement.get(console, options, self._part)
