"""The look that the reports' tables share."""

from collections.abc import Iterable

from rich.table import Table


def table_of_numbers(title: str, names: str, numbers: Iterable[str]) -> Table:
    """A titled table as narrow as it can be: no lines, a column of ``names`` and one for each of ``numbers``."""
    table = Table(
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
