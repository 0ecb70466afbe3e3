"""Read price series from CSV files: one price per day. Reading is strict, and errors name every bad row."""

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.prices.dates import find_dates, read_dates
from lstm_shared.prices.table import Rows, find_choice, find_column, read_table, show
from lstm_shared.words import some_of

_PRICE = re.compile(
    r"([-+]?)(?:[$£¥\u20a0-\u20cf] ?)?((?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class PriceSeries:
    """One price per day, in the order of the days.

    Attributes:
        dates: (days,) datetime64[D], increasing.
        prices: (days,) float64, in the file's unit.
        column: the name of the price column, as the file spells it.
        source: the file.
    """

    dates: np.ndarray
    prices: np.ndarray
    column: str
    source: Path


def read_prices(path: str | os.PathLike[str], column: str = "close", *, where: str | None = None) -> PriceSeries:
    """Read one price per day from a CSV file with a header, plain or gzipped, with commas, semicolons or tabs.

    The date column is the one called date, datetime, timestamp, day or time, or else the first one that holds nothing
    but dates. Its dates must all be in the same format: 2000-01-31, 2000/01/31, 20000131, Jan 31 2000, 31 Jan 2000,
    01/31/2000, 31/01/2000 or 31.01.2000. A time of day is ignored. Prices may have thousands separators and a currency
    sign: ``$1,234.50``.

    Args:
        path: the file.
        column: name of the price column, in upper or lower case.
        where: ``COLUMN=VALUE``, to read only these rows of a file that holds several series.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: rows have no date, no price or a wrong number of columns (the message gives each with its line), a
            column is missing, a date occurs twice or can be read in two ways, or the file is not a table.
    """
    try:
        return _read_series(path, column, where)
    except MemoryError as error:
        raise InputError(f"{path}: there is not enough memory to read it") from error


def _read_series(path: str | os.PathLike[str], column: str, where: str | None) -> PriceSeries:
    delimiter, header, rows = read_table(path)
    problems: list[str] = []
    price_at = find_column(header, column, problems)
    where_at, wanted = (None, "") if where is None else find_choice(header, where, problems)
    _raise(path, problems)

    # A row with an unquoted thousands separator has one cell too many: do not read a wrong price from it.
    if ragged := [f"line {line} has {len(cells)}" for line, cells in rows if len(cells) != len(header)]:
        problems.append(f"{len(header)} columns expected in every row, {some_of(ragged)}: repair these rows")
    rows = whole = [(line, cells) for line, cells in rows if len(cells) == len(header)]
    if where_at is not None:
        rows = [(line, cells) for line, cells in whole if cells[where_at] == wanted]
        if whole and not rows:
            there = some_of(map(show, dict.fromkeys(cells[where_at] for _, cells in whole)))
            problems.append(f"no row has {wanted!r} in column {header[where_at]!r}: it holds {there}")
    if not rows:
        _raise(path, problems)
    prices = _read_numbers(rows, price_at, header[price_at], delimiter, problems)
    date_at = find_dates(header, rows, price_at, problems)
    dates = [] if date_at is None else read_dates(rows, date_at, header[date_at], problems)
    _raise(path, problems)
    _raise(path, _repeated(header, rows, dates, {date_at, price_at}))
    days = np.array(dates, "datetime64[D]")
    order = np.argsort(days)
    return PriceSeries(days[order], np.array(prices)[order], header[price_at], Path(path))


def _read_numbers(rows: Rows, at: int, name: str, delimiter: str, problems: list[str]) -> list[float]:
    prices: list[float] = []
    bad: list[str] = []
    for line, cells in rows:
        match = _PRICE.fullmatch(cells[at])
        prices.append(float(match[1] + match[2].replace(",", "")) if match else np.nan)
        if not np.isfinite(prices[-1]):
            bad.append(f"line {line} {show(cells[at])}")
    if bad:
        problems.append(
            f"not a price in column {name!r}: {some_of(bad)}; expected one like 1,234.50: repair these rows"
        )
    # If the delimiter is not a comma, commas may be decimal commas, unless a price has a point or a second comma.
    texts = [cells[at] for _, cells in rows]
    single = [(line, cells[at]) for line, cells in rows if "," in cells[at]]
    if not bad and delimiter != "," and single and not any("." in text or text.count(",") > 1 for text in texts):
        line, text = single[0]
        problems.append(
            f"the prices in column {name!r} have either thousands separators or decimal commas (line {line} {text!r}): "
            "write them with a decimal point and without separators"
        )
    return prices


def _repeated(header: list[str], rows: Rows, dates: list[date], taken: set[int | None]) -> list[str]:
    """Return a problem for the first date that occurs twice, if one does."""
    lines: dict[date, int] = {}
    for (line, _), day in zip(rows, dates, strict=True):
        if day in lines:
            break
        lines[day] = line
    else:
        return []
    said = f"two rows for {day} (lines {lines[day]} and {line}), expected one price per day: "
    # Suggest the column with the fewest values, among those that tell all rows apart: it names the series.
    choices: list[tuple[int, int, list[str]]] = []  # number of values, the column, the values
    for at in set(range(len(header))) - taken:
        values = list(dict.fromkeys(cells[at] for _, cells in rows))
        if len({(day, cells[at]) for (_, cells), day in zip(rows, dates, strict=True)}) == len(rows) > len(values):
            choices.append((len(values), at, values))
    if not choices:
        return [said + "keep one row per day"]
    _, at, values = min(choices)
    return [said + f"choose a series, such as --where {header[at]}={values[0]} ({header[at]} is {some_of(values)})"]


def _raise(path: str | os.PathLike[str], problems: list[str]) -> None:
    InputError.raise_any([f"{path}: {problem}" for problem in problems])
