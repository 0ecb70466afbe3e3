"""Real price series: read from CSV, cut into windows, scaled without a look ahead, scored in the price's unit."""

import csv
import gzip
import io
import itertools
import operator
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_shared.errors import InputError

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


@dataclass(frozen=True)
class PriceData:
    """Scaled windows to train on, and held-out ones; ``train`` is what ``fit`` takes as data.

    Attributes:
        train: inputs (examples, window) and labels (examples,), scaled; no held-out price in either.
        held_out: inputs (held-out days, window) and labels (held-out days,), scaled by the same two prices; the first
            windows look back into the training days.
        low: the price that is scaled to 0, the lowest of the training days.
        high: the price that is scaled to 1, the highest of the training days.
        training_prices: (training days,) float64, in the price's unit.
        held_out_prices: (held-out days,) likewise.
    """

    train: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]
    low: float
    high: float
    training_prices: np.ndarray
    held_out_prices: np.ndarray

    def scale(self, prices: Any) -> np.ndarray:
        """Prices in their unit -> scaled values of the same shape, in the dtype of the windows."""
        return ((np.asarray(prices, np.float64) - self.low) / (self.high - self.low)).astype(self.train[0].dtype)

    def unscale(self, values: Any) -> np.ndarray:
        """Scaled values -> float64 prices of the same shape, in their unit."""
        return np.asarray(values).astype(np.float64) * (self.high - self.low) + self.low


class PriceError(NamedTuple):
    """How far predictions are from the prices, in the price's unit."""

    root_mean_square: float
    mean_absolute: float


@dataclass(frozen=True)
class HeldOutScore:
    """The errors over the held-out days, of the model and of what it has to beat.

    Attributes:
        model: the model's own.
        tomorrow_is_today: those of repeating the price of the day before.
        training_mean: those of the mean of the training prices, every day.
        days: held-out days scored.
        unreachable: days among them whose price lies outside what the model's output can be.
    """

    model: PriceError
    tomorrow_is_today: PriceError
    training_mean: PriceError
    days: int
    unreachable: int


def windows(series: Any, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Every run of ``days`` values, with the value of the day after as its label.

    Args:
        series: (length,) numbers; integers become float64.
        days: length of a window, smaller than that of the series.

    Returns:
        inputs (length - days, days) and labels (length - days,), copies.

    Raises:
        InputError: the series is not one row of numbers, or not longer than the window.
    """
    array = _numbers(series, "series")
    _require_days(days)
    if len(array) <= days:
        raise InputError(
            f"a window of {days} days and the day after need {days + 1} prices, this has {len(array)}: "
            "give a longer series or a smaller window"
        )
    return np.lib.stride_tricks.sliding_window_view(array[:-1], days).copy(), array[days:].copy()


def prepare_prices(
    series: PriceSeries | Any, window: int, *, held_out: float = 0.2, dtype: Any = np.float32
) -> PriceData:
    """Hold out the last days, scale everything by the lowest and highest price of the others, and cut windows.

    Args:
        series: what ``read_prices`` gives, or (days,) prices.
        window: days in an input.
        held_out: the part of the days that is held out, between 0 and 1; rounded to whole days, at least one.
        dtype: floating-point dtype of the windows.

    Raises:
        InputError: everything that is wrong with the arguments; prices that are not finite; training prices that are
            all the same; fewer days than one training window and one held-out window need.
    """
    source = str(series.source) if isinstance(series, PriceSeries) else "prices"
    prices = _numbers(series.prices if isinstance(series, PriceSeries) else series, source).astype(np.float64)
    _require_days(window, "window")
    problems = []
    if not 0 < held_out < 1:
        problems.append(f"held_out is {held_out}, expected a part of the days between 0 and 1, such as 0.2")
    if "float" not in np.dtype(dtype).name:
        problems.append(f"dtype is {np.dtype(dtype).name}, expected a floating-point one, such as float32")
    if bad := int(np.sum(~np.isfinite(prices))):
        problems.append(f"{source}: {bad} of {len(prices)} prices are NaN or infinite: remove or repair these days")
    InputError.raise_any(problems)
    held_out_days = max(1, round(len(prices) * held_out))
    training_days = len(prices) - held_out_days
    if training_days <= window:
        raise InputError(
            f"{source}: too few days: a window of {window} needs {window + 1} training days, but of {len(prices)} days "
            f"{held_out_days} are held out and {max(training_days, 0)} are left: give more days or a smaller window"
        )
    training, rest = prices[:training_days], prices[training_days:]
    low, high = float(training.min()), float(training.max())
    if low == high:
        raise InputError(
            f"{source}: all {training_days} training prices are {low:g}, so there is no range to scale to 0..1: "
            "expected prices that change; check the column, or hold out fewer days"
        )
    scaled = ((prices - low) / (high - low)).astype(dtype)
    return PriceData(
        train=windows(scaled[:training_days], window),
        held_out=windows(scaled[training_days - window :], window),
        low=low,
        high=high,
        training_prices=training,
        held_out_prices=rest,
    )


def score_held_out(
    data: PriceData, predictions: Any, *, reach: tuple[float, float] | None = (-1.0, 1.0)
) -> HeldOutScore:
    """Score a model's outputs for the held-out inputs beside two predictions that need no model.

    Args:
        data: what ``prepare_prices`` gives.
        predictions: (held-out days,) or (held-out days, 1) scaled outputs of the model for ``data.held_out[0]``.
        reach: the open interval that the model's output lies in; a label on its edge counts as unreachable. The
            default is that of the by-hand model; None for a linear head, which reaches everything.

    Raises:
        InputError: predictions of another shape, or NaN or infinite ones; an empty reach.
    """
    actual, outputs = data.held_out_prices, np.asarray(predictions)
    days, problems = len(actual), []
    if outputs.shape not in ((days,), (days, 1)):
        problems.append(
            f"predictions have shape {outputs.shape}, expected one a held-out day: ({days},) or ({days}, 1)"
        )
    outputs = outputs.astype(np.float64).reshape(-1)
    if bad := int(np.sum(~np.isfinite(outputs))):
        problems.append(
            f"{bad} of {outputs.size} predictions are NaN or infinite, expected numbers: did the training diverge?"
        )
    if reach is not None and not reach[0] < reach[1]:
        problems.append(f"reach is {reach}, expected (low, high) with low below high, or None")
    InputError.raise_any(problems)
    labels = (actual - data.low) / (data.high - data.low)
    return HeldOutScore(
        model=_error(data.unscale(outputs), actual),
        tomorrow_is_today=_error(np.concatenate([data.training_prices[-1:], actual[:-1]]), actual),
        training_mean=_error(data.training_prices.mean(), actual),
        days=days,
        unreachable=0 if reach is None else int(np.sum((labels <= reach[0]) | (labels >= reach[1]))),
    )


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
    delimiter, header, rows = _read_table(path)
    problems: list[str] = []
    price_at = _find_column(header, column, problems)
    where_name, equals, where_value = (where or "").partition("=")
    where_at = None
    if where is not None and not (equals and where_name.strip()):
        problems.append(f"where is {where!r}, expected COLUMN=VALUE, such as symbol=MSFT")
    elif where is not None:
        where_at = _find_column(header, where_name, problems)
    _raise(path, problems)
    assert price_at is not None

    # A row with an unquoted thousands separator is one cell too long: its price must not be read as what is left of it.
    whole = [(line, cells) for line, cells in rows if len(cells) == len(header)]
    if ragged := [f"line {line} has {len(cells)}" for line, cells in rows if len(cells) != len(header)]:
        problems.append(f"{len(header)} columns expected in every row, {_some(ragged)}: repair these rows")
    if where_at is not None:
        kept = [(line, cells) for line, cells in whole if cells[where_at] == where_value.strip()]
        if whole and not kept:
            there = _some(map(_show, dict.fromkeys(cells[where_at] for _, cells in whole)))
            problems.append(f"no row has {where_value.strip()!r} in column {header[where_at]!r}: it holds {there}")
        whole = kept
    if not whole:
        _raise(path, problems)
    prices = _read_numbers(whole, price_at, header[price_at], delimiter, problems)
    date_at = _find_dates(header, whole, price_at)
    if date_at is None:
        problems.append(
            f"no date column: expected one called {', '.join(_DATE_NAMES)}, or one that holds nothing but dates; "
            f"the columns are {_some(map(_show, header), 20)}"
        )
        _raise(path, problems)
    assert date_at is not None
    dates = _read_dates(whole, date_at, header[date_at], problems)
    _raise(path, problems)
    if repeated := _repeated(header, whole, dates, {date_at, price_at}):
        _raise(path, [repeated])
    days = np.array(dates, "datetime64[D]")
    order = np.argsort(days)
    return PriceSeries(days[order], np.array(prices)[order], header[price_at], Path(path))


def _read_table(path: str | os.PathLike[str]) -> tuple[str, list[str], _Rows]:
    """The delimiter, the names in the header, and the rows below it; all cells without surrounding blanks."""
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip file ({error}): fetch or make it again") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: not UTF-8 text (byte 0x{data[error.start]:02x} in line {line}), expected a CSV file: "
            "export the table as CSV in UTF-8"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: binary, expected a CSV file: export the table as CSV in UTF-8")
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected a header and rows of dates and prices")

    def consistent_rows(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        widths = [len(row) for row in itertools.islice(filter(None, reader), 20)]
        return (widths.count(widths[0]), widths[0]) if widths[0] > 1 else (0, 0)

    rows: _Rows = []
    line = 1
    try:
        # csv.Sniffer guesses from letter frequencies, and takes the blanks of "Jan 1 2000" for delimiters.
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
            f"{path}: the row at line {line} is not CSV ({error}): look for a quote that is not closed, or is not at the end of its cell"
        ) from error
    header, below = rows[0][1] if rows else [], rows[1:]
    if not below:
        raise InputError(f"{path}: no rows below the header, expected dates and prices")
    for _, cells in below:
        while len(cells) > len(header) and not cells[-1]:  # some programs end each row with a delimiter
            cells.pop()
    return delimiter, header, below


def _find_column(header: list[str], name: str, problems: list[str]) -> int | None:
    name = name.strip()
    found = [at for at, there in enumerate(header) if there == name]
    found = found or [at for at, there in enumerate(header) if there.casefold() == name.casefold()]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} columns are called {name!r}, expected one" if found else f"no column {name!r}"
    there = f"the columns are {_some(map(_show, header), 20)}"
    if len(header) == 1:  # a title above the header, or another delimiter
        there += ": expected the header in the first row, with commas, semicolons or tabs between the names"
    problems.append(f"{what}: {there}")
    return None


def _find_dates(header: list[str], rows: _Rows, price_at: int) -> int | None:
    lower = [name.casefold() for name in header]
    if named := [lower.index(name) for name in _DATE_NAMES if name in lower]:
        return named[0]
    others = (at for at in range(len(header)) if at != price_at)
    return next((at for at in others if any(None not in dates for dates in _all_dates(rows, at).values())), None)


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
        problems.append(f"not a date in column {name!r}: {_some(bad)}; expected {known}: repair these rows")
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
        problems.append(f"not a price in column {name!r}: {_some(bad)}; expected one like 1,234.50: repair these rows")
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


def _repeated(header: list[str], rows: _Rows, dates: list[date], taken: set[int]) -> str | None:
    """What to say about the first date that occurs twice."""
    lines: dict[date, int] = {}
    for (line, _), day in zip(rows, dates, strict=True):
        if day in lines:
            break
        lines[day] = line
    else:
        return None
    said = f"two rows for {day} (lines {lines[day]} and {line}), expected one price a day: "
    # Of the columns that tell all rows apart, the one with the fewest values names the series.
    choices = []
    for at in set(range(len(header))) - taken:
        values = list(dict.fromkeys(cells[at] for _, cells in rows))
        if len({(day, cells[at]) for (_, cells), day in zip(rows, dates, strict=True)}) == len(rows) > len(values):
            choices.append((len(values), at, values))
    if not choices:
        return said + "keep one row a day"
    _, at, values = min(choices)
    return said + f"choose a series, such as --where {header[at]}={values[0]} ({header[at]} is {_some(values)})"


def _numbers(series: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(series)
    except ValueError as error:
        raise InputError(f"{name}: rows of different lengths, expected one row of prices, shape (days,)") from error
    problems = []
    if array.ndim != 1:
        problems.append(f"{name}: has shape {array.shape}, expected one row of prices, shape (days,)")
    if array.dtype.kind not in "iu" and "float" not in array.dtype.name:
        problems.append(f"{name}: holds {array.dtype}, expected numbers")
    InputError.raise_any(problems)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def _require_days(days: Any, name: str = "days") -> None:
    try:
        valid = operator.index(days) >= 1
    except TypeError:
        valid = False
    if not valid:
        raise InputError(f"{name} is {days!r}, expected a positive whole number of days in a window")


def _error(predicted: np.ndarray, actual: np.ndarray) -> PriceError:
    difference = predicted - actual
    return PriceError(float(np.sqrt(np.mean(difference**2))), float(np.mean(np.abs(difference))))


def _show(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _some(items: Iterable[str], limit: int = 5) -> str:
    items = list(items)
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")


def _raise(path: str | os.PathLike[str], problems: list[str]) -> None:
    InputError.raise_any([f"{path}: {problem}" for problem in problems])
