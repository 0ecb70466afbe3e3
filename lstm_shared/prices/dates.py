"""The dates of a price series: find the column that holds them, and which of the usual formats they have."""

import re
from datetime import date

from lstm_shared.prices.table import Rows, show
from lstm_shared.words import some_of

_DATE_NAMES = ("date", "datetime", "timestamp", "day", "time")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_YEAR, _MONTH, _DAY, _NAME = r"(?P<year>\d{4})", r"(?P<month>\d\d?)", r"(?P<day>\d\d?)", r"(?P<month>[a-z]{3,9})\.?"
_TIME = r"(?:[T ] *\d\d?:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?(?: ?(?:Z|UTC|[-+]\d\d:?\d\d))?)?"
# 31 January 2000 in each supported format -> the pattern of the format.
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


def find_dates(header: list[str], rows: Rows, price_at: int, problems: list[str]) -> int | None:
    """Return the index of the date column. If there is none, add a line to ``problems`` and return None."""
    lower = [name.casefold() for name in header]
    if named := [lower.index(name) for name in _DATE_NAMES if name in lower]:
        return named[0]
    for at in range(len(header)):
        if at != price_at and any(None not in dates for dates in _all_dates(rows, at).values()):
            return at
    problems.append(
        f"no date column: expected one called {', '.join(_DATE_NAMES)}, or one that holds nothing but dates; "
        f"the columns are {some_of(map(show, header), 20)}"
    )
    return None


def _all_dates(rows: Rows, at: int) -> dict[str, list[date | None]]:
    """Read the cells of a column in each format. A cell that is not a date in that format gives None."""
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


def read_dates(rows: Rows, at: int, name: str, problems: list[str]) -> list[date]:
    """Return the dates in a column. Add to ``problems`` if rows have none, or if they can be read in two ways."""
    # Put the format of most rows first, so that the other rows are the ones to repair.
    (example, dates), *others = sorted(_all_dates(rows, at).items(), key=lambda item: item[1].count(None))
    if bad := [f"line {line} {show(cells[at])}" for (line, cells), day in zip(rows, dates, strict=True) if not day]:
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
