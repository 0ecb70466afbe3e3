"""Tables of reports, which all look alike."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lstm_parity.compare.rows import Row
from lstm_shared.printable import printable


class _WholeCells(Table):
    """A table wide enough for every cell of its ``no_wrap`` columns, which rich would cut off."""

    def add_column(self, header: RenderableType = "", *args: Any, **options: Any) -> None:
        super().add_column(header, *args, **options)
        for line in str(header).splitlines():
            self._widen([*[""] * (len(self.columns) - 1), line])

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*cells, **options)
        self._widen(cells)

    def _widen(self, cells: Iterable[object]) -> None:
        for column, cell in zip(self.columns, cells, strict=False):
            if column.no_wrap:
                column.min_width = max(column.min_width or 0, cell_len(str(cell)))


def table_of_numbers(title: str | None, names: str, numbers: Iterable[str]) -> Table:
    """Return a table as narrow as possible: a column titled ``names``, and one for each title in ``numbers``."""
    table = _WholeCells(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(names, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def titled_table(shown: Sequence[Row], rows: Sequence[Row], *, agree: bool) -> list[RenderableType]:
    """Return a title, the table of the rows shown, what its columns mean, and an empty line.

    Args:
        shown: all rows of a report, or the first few.
        rows: all rows of it.
        agree: whether both sides agree.
    """
    order = "closest to the limit first" if agree else "worst first"
    every = len(shown) == len(rows)
    title = f"{_sides_of(rows)}, {order}{'' if every else f', {len(shown)} of {len(rows)} (all with --all)'}:"
    # Which side is closer to the truth matters if the sides differ, or with --truth extended.
    measured = [row for row in shown if row.errors is not None]
    distances = bool(measured) and (every or not agree or any(row.dtype == "float64" for row in measured))
    words = "difference: the largest; allowed: the tolerance; used: the largest share of it"
    if distances:
        words += "; off: how far each side is from the more precise result, in eps · scale"
    return [Text(title, style="bold"), _table_of_rows(shown, distances=distances), Text(words, style="dim"), Text()]


def indented(line: str) -> RenderableType:
    """Keep an indented line indented when a narrow terminal wraps it."""
    text = line.lstrip(" ")
    return Padding(Text(text), (0, 0, 0, len(line) - len(text)))


def _table_of_rows(rows: Sequence[Row], *, distances: bool) -> Table:
    """Return a table of comparisons in the order given. It fits 80 columns if the names are short enough.

    Args:
        distances: whether to show how far each side is from the more precise result.
    """
    columns = ["difference", "allowed", "used", *(["off"] if distances else [])]
    table = table_of_numbers(None, "array", columns)
    table.columns[0].no_wrap = False
    for row in rows:
        cells = describe_row(row)
        numbers = [cells[column] for column in columns[:3]]
        if distances:
            numbers.append("" if row.errors is None else " / ".join(f"{error:.2g}" for error in row.errors))
        # Text, because a name may look like rich markup.
        table.add_row(Text(f"{row.dtype} {cells['array']}"), *numbers, style="" if row.ok else "bold red")
    return table


def _sides_of(rows: Iterable[Row]) -> str:
    """Say who was compared with whom: "jax against torch and nn.LSTM"."""
    references: dict[str, dict[str, None]] = {}
    for row in rows:
        references.setdefault(row.sides.candidate, {})[row.sides.reference] = None
    return printable("; ".join(f"{candidate} against {' and '.join(them)}" for candidate, them in references.items()))


def describe_row(row: Row) -> dict[str, str]:
    """Return the printable cells of a row, by column title."""
    setting = [row.setting] if row.setting else []
    if row.sides.reference != "torch":
        setting.append(f"against {row.sides.reference}")
    return {
        "array": printable(f"{stage_in_words(row)} {row.name}" + (f" ({', '.join(setting)})" if setting else "")),
        "difference": f"{row.difference:.1e}",
        "allowed": f"{row.tolerance:.1e}",
        "used": percent(row.used) if row.judged else "not judged",
        "relative": f"{row.relative:.1e}",
    }


def stage_in_words(row: Row) -> str:
    """Return the name of the stage; for Adam, with the step, counted from one."""
    return f"adam step {row.where[0] + 1}" if row.stage == "adam" and row.where else row.stage


def percent(used: float) -> str:
    """Format a share of a tolerance."""
    return f"{100 * used:.1f} %" if used < 10 else f"{used:.1e} ×"
