"""Price series from CSV files: one price a day, read strictly, with every bad row named."""

import csv
import io
import itertools
import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.text_files import read_text
from lstm_shared.words import some_of

_DATE_NAMES = ("date", "datetime", "timestamp", "day", "time")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_YEAR, _MONTH, _DAY, _NAME = r"(?P<year>\d{4})", r"(?P<month>\d\d?)", r"(?P<day>\d\d?)", r"(?P<month>[a-z]{3,9})\.?"
_TIME = r"(?:[T ] *\d\d?:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?(?: ?(?:Z|UTC|[-+]\d\d:?\d\d))?)?"
# 31 January 2000 in each format that is understood -> its pattern.
_DATE_FORMATS = {
    example: re.compile(pattern + _TIME, re.ASCII | re.IGNORECASE)
    for example, pattern in {
        "2000-01-31": f"{_YEAR}-{_MONTH}-{_DAY}",
        "2000/01/31": f"{_YEAR}/{_MONTH}/{_DAY}",
        "20000131": r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
        "Jan 31 2000": f"{_NAME} {_DAY},? {_YEAR}",
        "31 Jan 2000": f"{_DAY}[ -]{_NAME}[ -]{_YEAR}",
        "01/31/2000": rf"{_MONTH}(?P<separator>[-/]){_DAY}(?P=separator){_YEAR}",
        "31/01/2000": rf"{_DAY}(?P<separator>[-/]){_MONTH}(?P=separator){_YEAR}",
        "31.01.2000": rf"{_DAY}\.{_MONTH}\.{_YEAR}",
    }.items()
}
_PRICE = re.compile(
    r"([-+]?)(?:[$£¥\u20a0-\u20cf] ?)?((?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)",
    re.ASCII | re.IGNORECASE,
)

_Rows = list[tuple[int, list[str]]]  # line number in the file, cells


@dataclass(frozen=True)
class PriceSeries:
    """One price a day, in the order of the days.

    Attributes:
        dates: (days,) datetime64[D], rising.
        prices: (days,) float64, in the file's unit.
        column: the name of the price column, as the file spells it.
        source: the file.
    """

    dates: np.ndarray
    prices: np.ndarray
    column: str
    source: Path


def read_prices(path: str | os.PathLike[str], column: str = "close", *, where: str | None = None) -> PriceSeries:
    """Read one price a day from a CSV file with a header, plain or gzipped, with commas, semicolons or tabs.

    The date column is the one called date, datetime, timestamp, day or time, else the first one that holds nothing
    but dates. Its dates are all in one of the usual formats, a time of day is ignored. Prices may have thousands
    separators and a currency sign: ``$1,234.50``.

    Args:
        path: the file.
        column: name of the price column; upper and lower case are the same.
        where: ``COLUMN=VALUE``, to read only these rows of a file that holds several series.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: every row that has no date, no price or another number of columns, with its line; missing
            columns; dates that occur twice or can be read in two ways; a file that is not a table.
    """
    try:
        return _read_series(path, column, where)
    except MemoryError as error:
        raise InputError(f"{path}: there is not enough memory to read it") from error


def _read_series(path: str | os.PathLike[str], column: str, where: str | None) -> PriceSeries:
    delimiter, header, rows = _read_table(path)
    problems: list[str] = []
    price_at = _find_column(header, column, problems)
    where_at, wanted = (None, "") if where is None else _find_choice(header, where, problems)
    _raise(path, problems)

    # A row with an unquoted thousands separator is one cell too long: its price must not be read as what is left of it.
    if ragged := [f"line {line} has {len(cells)}" for line, cells in rows if len(cells) != len(header)]:
        problems.append(f"{len(header)} columns expected in every row, {some_of(ragged)}: repair these rows")
    rows = whole = [(line, cells) for line, cells in rows if len(cells) == len(header)]
    if where_at is not None:
        rows = [(line, cells) for line, cells in whole if cells[where_at] == wanted]
        if whole and not rows:
            there = some_of(map(_show, dict.fromkeys(cells[where_at] for _, cells in whole)))
            problems.append(f"no row has {wanted!r} in column {header[where_at]!r}: it holds {there}")
    if not rows:
        _raise(path, problems)
    prices = _read_numbers(rows, price_at, header[price_at], delimiter, problems)
    date_at = _find_dates(header, rows, price_at, problems)
    dates = [] if date_at is None else _read_dates(rows, date_at, header[date_at], problems)
    _raise(path, problems)
    _raise(path, _repeated(header, rows, dates, {date_at, price_at}))
    days = np.array(dates, "datetime64[D]")
    order = np.argsort(days)
    return PriceSeries(days[order], np.array(prices)[order], header[price_at], Path(path))


def _read_table(path: str | os.PathLike[str]) -> tuple[str, list[str], _Rows]:
    """The delimiter, the names in the header, and the rows below it; all cells without surrounding blanks."""
    text = read_text(path)

    def consistent_rows(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        widths = [len(row) for row in itertools.islice(filter(None, reader), 20)]
        return (widths.count(widths[0]), widths[0]) if widths[0] > 1 else (0, 0)

    rows: _Rows = []
    line = 1
    try:
        # The rows that are as wide as the header decide: a comma inside a name or a price is not a delimiter.
        delimiter = max(",;\t", key=consistent_rows)
        # Not strict, an open quote swallows all rows up to the next one.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}: the row at line {line} is not CSV ({error}): "
            "look for a quote that is not closed, or does not end its cell"
        ) from error
    if len(rows) < 2:
        raise InputError(f"{path}: no rows below the header, expected dates and prices")
    (_, header), *below = rows
    for _, cells in below:
        while len(cells) > len(header) and not cells[-1]:  # some programs end each row with a delimiter
            cells.pop()
    return delimiter, header, below


def _find_column(header: list[str], name: str, problems: list[str]) -> int:
    """Where the column is; when there is not one, the problems say so."""
    name = name.strip()
    found = [at for at, there in enumerate(header) if there == name]
    found = found or [at for at, there in enumerate(header) if there.casefold() == name.casefold()]
    if len(found) != 1:
        what = f"{len(found)} columns are called {name!r}, expected one" if found else f"no column {name!r}"
        there = f"the columns are {some_of(map(_show, header), 20)}"
        if len(header) == 1:  # a title above the header, or another delimiter
            there += ": expected the header in the first row, with commas, semicolons or tabs between the names"
        problems.append(f"{what}: {there}")
    return found[0] if found else -1


def _find_choice(header: list[str], where: str, problems: list[str]) -> tuple[int, str]:
    """The column of ``COLUMN=VALUE``, and the value."""
    name, equals, value = where.partition("=")
    if not (equals and name.strip()):
        problems.append(f"where is {where!r}, expected COLUMN=VALUE, such as symbol=MSFT")
        return -1, ""
    return _find_column(header, name, problems), value.strip()


def _find_dates(header: list[str], rows: _Rows, price_at: int, problems: list[str]) -> int | None:
    lower = [name.casefold() for name in header]
    if named := [lower.index(name) for name in _DATE_NAMES if name in lower]:
        return named[0]
    for at in range(len(header)):
        if at != price_at and any(None not in dates for dates in _all_dates(rows, at).values()):
            return at
    problems.append(
        f"no date column: expected one called {', '.join(_DATE_NAMES)}, or one that holds nothing but dates; "
        f"the columns are {some_of(map(_show, header), 20)}"
    )
    return None


def _all_dates(rows: _Rows, at: int) -> dict[str, list[date | None]]:
    """The cells of a column, read in each format; None for those that are not dates in it."""
    return {
        example: [_parse_date(cells[at], pattern) for _, cells in rows] for example, pattern in _DATE_FORMATS.items()
    }


def _parse_date(text: str, pattern: re.Pattern[str]) -> date | None:
    if not (match := pattern.fullmatch(text)):
        return None
    month = match["month"].lower()
    number = next((at for at, name in enumerate(_MONTHS, 1) if name.startswith(month)), 0)
    try:
        return date(int(match["year"]), int(month) if month.isdigit() else number, int(match["day"]))
    except ValueError:  # 31 February
        return None


def _read_dates(rows: _Rows, at: int, name: str, problems: list[str]) -> list[date]:
    # The format that most rows are in comes first, so that the others are the ones to repair.
    (example, dates), *others = sorted(_all_dates(rows, at).items(), key=lambda item: item[1].count(None))
    if bad := [f"line {line} {_show(cells[at])}" for (line, cells), day in zip(rows, dates, strict=True) if not day]:
        known = f"one like {', '.join(_DATE_FORMATS)}" if len(bad) == len(rows) else f"{example} as in other rows"
        problems.append(f"not a date in column {name!r}: {some_of(bad)}; expected {known}: repair these rows")
    elif None not in others[0][1]:
        other, other_dates = others[0]
        for (line, cells), day, other_day in zip(rows, dates, other_dates, strict=True):
            if day != other_day:
                problems.append(
                    f"the dates in column {name!r} can be read as {example} and as {other} "
                    f"(line {line}, {cells[at]!r}, is {day} or {other_day}): write them as 2000-01-31"
                )
                break
    return [day for day in dates if day]


def _read_numbers(rows: _Rows, at: int, name: str, delimiter: str, problems: list[str]) -> list[float]:
    prices, bad = [], []
    for line, cells in rows:
        match = _PRICE.fullmatch(cells[at])
        prices.append(float(match[1] + match[2].replace(",", "")) if match else np.nan)
        if not np.isfinite(prices[-1]):
            bad.append(f"line {line} {_show(cells[at])}")
    if bad:
        problems.append(
            f"not a price in column {name!r}: {some_of(bad)}; expected one like 1,234.50: repair these rows"
        )
    # Where commas do not divide the cells they may be decimal commas; a point or a second comma proves the contrary.
    texts = [cells[at] for _, cells in rows]
    single = [(line, cells[at]) for line, cells in rows if "," in cells[at]]
    if not bad and delimiter != "," and single and not any("." in text or text.count(",") > 1 for text in texts):
        line, text = single[0]
        problems.append(
            f"the prices in column {name!r} have either thousands separators or decimal commas (line {line} {text!r}): "
            "write them with a decimal point and without separators"
        )
    return prices


def _repeated(header: list[str], rows: _Rows, dates: list[date], taken: set[int | None]) -> list[str]:
    """What to say about the first date that occurs twice."""
    lines: dict[date, int] = {}
    for (line, _), day in zip(rows, dates, strict=True):
        if day in lines:
            break
        lines[day] = line
    else:
        return []
    said = f"two rows for {day} (lines {lines[day]} and {line}), expected one price a day: "
    # Of the columns that tell all rows apart, the one with the fewest values names the series.
    choices = []
    for at in set(range(len(header))) - taken:
        values = list(dict.fromkeys(cells[at] for _, cells in rows))
        if len({(day, cells[at]) for (_, cells), day in zip(rows, dates, strict=True)}) == len(rows) > len(values):
            choices.append((len(values), at, values))
    if not choices:
        return [said + "keep one row a day"]
    _, at, values = min(choices)
    return [said + f"choose a series, such as --where {header[at]}={values[0]} ({header[at]} is {some_of(values)})"]


def _show(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _raise(path: str | os.PathLike[str], problems: list[str]) -> None:
    InputError.raise_any([f"{path}: {problem}" for problem in problems])
