"""Price series from CSV files: what is read, in which dialects, date formats and spellings of a price."""

import gzip
import time
from datetime import date, timedelta

import numpy as np
import pytest

from lstm_shared.prices.files import PriceSeries, read_prices

THREE_DAYS = ["2000-01-31", "2000-02-01", "2000-02-02"]


def table(*rows: str, header: str = "Date,Close") -> str:
    return "\n".join([header, *rows]) + "\n"


def test_dates_and_prices_are_read(write):
    path = write(table("2000-01-31,1.5", "2000-02-01,2", "2000-02-02,.25"))
    series = read_prices(path)
    assert isinstance(series, PriceSeries)
    assert series.dates.dtype == "datetime64[D]"
    assert series.dates.astype(str).tolist() == THREE_DAYS
    assert series.prices.dtype == np.float64
    assert series.prices.tolist() == [1.5, 2.0, 0.25]
    assert series.source == path


@pytest.mark.parametrize("column", ["close", "CLOSE", " Close "])
def test_column_is_found_in_any_case_and_named_as_the_file_spells_it(write, column):
    series = read_prices(write(table("2000-01-31,7,1", header="Date, Close ,Open")), column)
    assert series.column == "Close"
    assert series.prices.tolist() == [7.0]


def test_exact_spelling_chooses_between_columns_that_differ_in_case(write):
    path = write(table("2000-01-31,1,2", header="Date,Close,close"))
    assert read_prices(path, "close").prices.tolist() == [2.0]
    assert read_prices(path, "Close").prices.tolist() == [1.0]


@pytest.mark.parametrize(
    "text",
    [
        "Date,Close\r\n2000-01-31,1.5\r\n2000-02-01,2.5\r\n",
        "Date,Close\r2000-01-31,1.5\r2000-02-01,2.5\r",
        "Date,Close\n2000-01-31,1.5\n2000-02-01,2.5",
        "\ufeffDate,Close\n2000-01-31,1.5\n2000-02-01,2.5\n",
        "Date;Close\n2000-01-31;1.5\n2000-02-01;2.5\n",
        "Date\tClose\n2000-01-31\t1.5\n2000-02-01\t2.5\n",
        '"Date","Close"\n"2000-01-31","1.5"\n"2000-02-01","2.5"\n',
        "Date , Close\n 2000-01-31 , 1.5\n 2000-02-01, 2.5 \n",
        "\nDate,Close\n\n2000-01-31,1.5\n,\n2000-02-01,2.5\n\n",
        "Date,Close\n2000-01-31,1.5,\n2000-02-01,2.5,\n",
        "Date;Close, adjusted or not;Close\n2000-01-31;9;1.5\n2000-02-01;9;2.5\n",
    ],
    ids=[
        "CRLF",
        "CR",
        "no-newline-at-end",
        "byte-order-mark",
        "semicolons",
        "tabs",
        "quoted",
        "blanks",
        "empty-rows",
        "delimiter-at-row-end",
        "comma-in-a-semicolon-file",
    ],
)
def test_every_dialect_gives_the_same_series(write, text):
    series = read_prices(write(text))
    assert series.dates.astype(str).tolist() == ["2000-01-31", "2000-02-01"]
    assert series.prices.tolist() == [1.5, 2.5]
    assert series.column == "Close"


@pytest.mark.parametrize("name", ["prices.csv.gz", "prices.csv"])
def test_gzipped_file_is_read_whatever_its_name(write, name):
    path = write(gzip.compress(table("2000-01-31,1.5").encode()), name)
    assert read_prices(path).prices.tolist() == [1.5]


@pytest.mark.parametrize(
    "dates",
    [
        ["2000-01-31", "2000-02-01", "2000-02-02"],
        ["2000-1-31", "2000-2-1", "2000-2-2"],
        ["2000-01-31T00:00:00", "2000-02-01T00:00:00Z", "2000-02-02T16:00:00.000"],
        ["2000-01-31 23:30:00-05:00", "2000-02-01 00:00", "2000-02-02 00:00:00+0100"],
        ["2000/01/31", "2000/02/01", "2000/02/02"],
        ["20000131", "20000201", "20000202"],
        ["Jan 31 2000", "Feb 1 2000", "Feb 2 2000"],
        ['"January 31, 2000"', '"February 1, 2000"', '"Feb. 02, 2000"'],
        ["31 Jan 2000", "1 Feb 2000", "02 FEBRUARY 2000"],
        ["31-Jan-2000", "01-Feb-2000", "02-Feb-2000"],
        ["01/31/2000", "02/01/2000", "02/02/2000"],
        ["1/31/2000 16:00:00", "2/1/2000 16:00:00", "2/2/2000 4:00:00 PM"],
        ["31/01/2000", "01/02/2000", "02/02/2000"],
        ["31-01-2000", "01-02-2000", "02-02-2000"],
        ["31.01.2000", "01.02.2000", "2.2.2000"],
    ],
    ids=lambda dates: dates[0].strip('"'),
)
def test_date_format(write, dates):
    series = read_prices(write(table(*(f"{day},{row}" for row, day in enumerate(dates)))))
    assert series.dates.astype(str).tolist() == THREE_DAYS
    assert series.prices.tolist() == [0, 1, 2]


@pytest.mark.parametrize("month", range(1, 13))
def test_every_month_is_known_by_its_name(write, month):
    day = date(2001, month, 9)
    for form in ("%b %d %Y", "%B %d %Y"):
        assert read_prices(write(table(f"{day:{form}},1"))).dates.tolist() == [day]


@pytest.mark.parametrize("name", ["date", "DAY", "Time", "Timestamp", "DateTime"])
def test_date_column_is_known_by_its_name_wherever_it_stands(write, name):
    path = write(table("2001-01-01,5,2000-01-31", header=f"Listed,Close,{name}"))
    assert read_prices(path).dates.astype(str).tolist() == ["2000-01-31"]


def test_without_a_name_the_first_column_of_nothing_but_dates_is_taken(write):
    rows = ["x,2000-01-31,20000101,5,2001-01-01", "2000-01-01,2000-02-01,20000102,6,2001-01-02"]
    series = read_prices(write(table(*rows, header="Note,,Volume,Close,Paid")))
    assert series.dates.astype(str).tolist() == ["2000-01-31", "2000-02-01"]


def test_price_column_is_never_taken_for_dates(write):
    series = read_prices(write(table("20000101,2000-01-31", header="Close,Trading")))
    assert series.dates.astype(str).tolist() == ["2000-01-31"]
    assert series.prices.tolist() == [20000101.0]


def test_rows_are_sorted_by_date(write):
    series = read_prices(write(table("2000-02-02,3", "2000-01-31,1", "2000-02-01,2")))
    assert series.dates.astype(str).tolist() == THREE_DAYS
    assert series.prices.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ('"1,234.50"', 1234.5),
        ('"$1,234,567"', 1234567.0),
        ('"1,234"', 1234.0),
        (' "1,234"', 1234.0),
        ("$12.50", 12.5),
        ("€ 3", 3.0),
        ("£0.5", 0.5),
        ("¥100", 100.0),
        ("₹7", 7.0),
        ("-37.63", -37.63),
        ("-$37.63", -37.63),
        ("+1", 1.0),
        ("1e-3", 0.001),
        ("5.", 5.0),
    ],
)
def test_price_is_read(write, text, price):
    assert read_prices(write(table(f"2000-01-31,{text}"))).prices.tolist() == [price]


def test_thousands_separators_are_read_in_a_semicolon_file_when_a_point_shows_what_they_are(write):
    path = write(table("2000-01-31;1,234", "2000-02-01;999.5", header="Date;Close"))
    assert read_prices(path).prices.tolist() == [1234.0, 999.5]


@pytest.mark.parametrize("where", ["symbol=A", " Symbol = A "])
def test_where_chooses_a_series(write, where):
    rows = ["A,2000-01-31,1", "B,2000-01-31,10", "A,2000-02-01,2", "B,2000-02-01,20"]
    assert read_prices(write(table(*rows, header="Symbol,Date,Close")), where=where).prices.tolist() == [1, 2]


def test_bad_rows_of_another_series_do_no_harm(write):
    rows = ["A,2000-01-31,1", "B,someday,n/a", "A,2000-02-01,2"]
    assert read_prices(write(table(*rows, header="Symbol,Date,Close")), where="symbol=A").prices.tolist() == [1, 2]


def test_hundred_thousand_rows_are_read_in_seconds(write):
    days = [date(1700, 1, 1) + timedelta(row) for row in range(100_000)]
    path = write(table(*(f"{day},{row}" for row, day in enumerate(days))))
    start = time.perf_counter()
    assert len(read_prices(path).prices) == 100_000
    assert time.perf_counter() - start < 20


# The real series


@pytest.mark.parametrize(
    ("symbol", "days", "first", "last"),
    [
        ("MSFT", 123, 39.81, 28.8),
        ("AMZN", 123, 64.56, 128.82),
        ("IBM", 123, 100.52, 125.55),
        ("GOOG", 68, 102.37, 560.19),
        ("AAPL", 123, 25.94, 223.02),
    ],
)
def test_real_series_is_read(stocks, symbol, days, first, last):
    series = read_prices(stocks, "price", where=f"symbol={symbol}")
    assert len(series.prices) == days
    assert (series.prices[0], series.prices[-1]) == (first, last)
    assert series.dates[0] == np.datetime64("2004-08-01" if symbol == "GOOG" else "2000-01-01")
    assert series.dates[-1] == np.datetime64("2010-03-01")
    assert (np.diff(series.dates).astype(int) > 0).all()
