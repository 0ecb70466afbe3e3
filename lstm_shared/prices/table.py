"""Read the table in a CSV file: its rows with their line numbers, its columns by name."""

import csv
import io
import itertools
import os

from lstm_shared.errors import InputError
from lstm_shared.text_files import read_text
from lstm_shared.words import some_of

Rows = list[tuple[int, list[str]]]  # line number in the file, cells


def read_table(path: str | os.PathLike[str]) -> tuple[str, list[str], Rows]:
    """Return the delimiter, the names in the header, and the rows below it. Cells have no surrounding blanks."""
    text = read_text(path)

    def consistent_rows(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        widths = [len(row) for row in itertools.islice((row for row in reader if row), 20)]
        return (widths.count(widths[0]), widths[0]) if widths[0] > 1 else (0, 0)

    rows: Rows = []
    line = 1
    try:
        # Count the rows that are as wide as the header: a comma inside a name or a price is not a delimiter.
        delimiter = max(",;\t", key=consistent_rows)
        # Without strict, an open quote swallows all rows up to the next quote.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}: the row at line {line} is not CSV ({error}): "
            "look for a quote that is not closed, or that does not end its cell"
        ) from error
    if len(rows) < 2:
        raise InputError(f"{path}: no rows below the header, expected dates and prices")
    (_, header), *below = rows
    for _, cells in below:
        while len(cells) > len(header) and not cells[-1]:  # some programs end each row with a delimiter
            cells.pop()
    return delimiter, header, below


def find_column(header: list[str], name: str, problems: list[str]) -> int:
    """Return the index of the column. Add a line to ``problems`` unless exactly one column has this name."""
    name = name.strip()
    found = [at for at, there in enumerate(header) if there == name]
    found = found or [at for at, there in enumerate(header) if there.casefold() == name.casefold()]
    if len(found) != 1:
        what = f"{len(found)} columns are called {name!r}, expected one" if found else f"no column {name!r}"
        there = f"the columns are {some_of(map(show, header), 20)}"
        if len(header) == 1:  # there is a title above the header, or the delimiter is another one
            there += ": expected the header in the first row, with commas, semicolons or tabs between the names"
        problems.append(f"{what}: {there}")
    return found[0] if found else -1


def find_choice(header: list[str], where: str, problems: list[str]) -> tuple[int, str]:
    """Return the index of the column in ``COLUMN=VALUE``, and the value."""
    name, equals, value = where.partition("=")
    if not (equals and name.strip()):
        problems.append(f"where is {where!r}, expected COLUMN=VALUE, such as symbol=MSFT")
        return -1, ""
    return find_column(header, name, problems), value.strip()


def show(text: str) -> str:
    """Return a cell as text for a message, cut off after 40 characters."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
