"""Price series from files: what is read, what is refused and how that is said, and that nothing looks ahead."""

import gzip
import time
from datetime import date, timedelta
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from lstm_shared.errors import InputError
from lstm_shared.prices import PriceSeries, prepare_prices, read_prices, score_held_out, windows

THREE_DAYS = ["2000-01-31", "2000-02-01", "2000-02-02"]


@pytest.fixture
def write(tmp_path):
    """write(text or bytes, name) -> the path of that file."""

    def write(content: str | bytes, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="session")
def stocks() -> str:
    from vega_datasets import data

    return data.stocks.filepath


def refused(path, column="close", **options) -> tuple[str, ...]:
    """The lines of the refusal; each starts with the file and says in one line what is wrong."""
    with pytest.raises(InputError) as refusal:
        read_prices(path, column, **options)
    lines = refusal.value.problems
    for line in lines:
        assert line.startswith(f"{path}: ")
    return lines


def table(*rows: str, header: str = "Date,Close") -> str:
    return "\n".join([header, *rows]) + "\n"


# Reading


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


def test_real_file_of_several_series_asks_which_one(stocks):
    (line,) = refused(stocks, "price")
    assert "two rows for 2000-01-01 (lines 2 and 125)" in line
    assert "--where symbol=MSFT (symbol is MSFT, AMZN, IBM, GOOG, AAPL)" in line


def test_real_series_is_prepared_and_scored(stocks):
    data = prepare_prices(read_prices(stocks, "price", where="symbol=AAPL"), 4)
    assert data.train[0].shape == (94, 4)
    assert data.held_out[0].shape == (25, 4)
    score = score_held_out(data, np.zeros(25))
    assert score.days == 25
    # In four of these months Apple's price was above 198.08, the highest before them.
    assert data.high == 198.08
    assert score.unreachable == 4
    assert score.tomorrow_is_today.root_mean_square < score.training_mean.root_mean_square


# Files that are refused


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_prices(tmp_path / "none.csv")


def test_directory_is_an_os_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_prices(tmp_path)


@pytest.mark.parametrize("content", ["", " \n\n", "\ufeff"], ids=["nothing", "blank-lines", "byte-order-mark-only"])
def test_empty_file_is_refused(write, content):
    (line,) = refused(write(content))
    assert "the file is empty" in line


@pytest.mark.parametrize("content", ["Date,Close\n", "Date,Close", "Date,Close\n,\n\n", ",,\n"])
def test_header_without_rows_is_refused(write, content):
    (line,) = refused(write(content))
    assert "no rows below the header" in line


def test_binary_file_is_refused(write):
    (line,) = refused(write(b"Date,Close\n\0\1\2\3"))
    assert "binary, expected a CSV file" in line


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "byte 0x89 in line 1"),
        (table("2000-01-31,1").encode("utf-16"), "byte 0xff in line 1"),
        ("Date,Close\n2000-01-31,€1\n".encode("cp1252"), "byte 0x80 in line 2"),
    ],
    ids=["png", "utf-16", "windows-1252"],
)
def test_file_that_is_not_utf8_is_refused_with_the_place(write, content, where):
    (line,) = refused(write(content))
    assert f"not UTF-8 text ({where})" in line
    assert "CSV in UTF-8" in line


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"Date,Close\n2000-01-31,1\n" * 9)[:-12], b"\x1f\x8bnot gzip at all", b"\x1f\x8b"],
    ids=["cut-short", "damaged", "two-bytes"],
)
def test_damaged_gzip_is_refused(write, content):
    (line,) = refused(write(content, "prices.csv.gz"))
    assert "damaged gzip file" in line


@pytest.mark.parametrize(
    ("rows", "at"),
    [
        (['"2000-01-31,1', "2000-02-01,2"], 2),
        (["2000-01-31,1", '2000-02-01,"2', "2000-02-02,3"], 3),
        (["2000-01-31,1", '2000-02-01,"2', '2000-02-02,"3"'], 3),
        (["2000-01-31,1", '2000-02-01,"2"x'], 3),
    ],
    ids=["open-to-the-end", "open-in-the-middle", "open-to-the-next-quote", "text-after-a-quote"],
)
def test_broken_quotes_are_refused_where_they_begin(write, rows, at):
    (line,) = refused(write(table(*rows)))
    assert f"the row at line {at} is not CSV" in line
    assert "quote" in line


def test_cell_of_a_megabyte_is_refused_in_a_short_line(write):
    (line,) = refused(write("Date,Close\n2000-01-31," + "1" * 1_000_000))
    assert "is not CSV (field larger than field limit" in line
    assert len(line) < 400


def test_json_file_is_refused_in_a_short_line(write):
    (line,) = refused(write('{"prices": [' + "1.5, " * 10_000 + "2]}\n{}", "prices.json"))
    assert "no column 'close'" in line
    assert len(line) < 1000


# Columns that are refused


def test_missing_column_lists_those_there_are(write):
    (line,) = refused(write(table("2000-01-31,1,2", header="Date,Open,High")))
    assert "no column 'close': the columns are 'Date', 'Open', 'High'" in line


@pytest.mark.parametrize("first", ["Apple Inc.\nDate,Close", "Date|Close", "Date Close"])
def test_first_row_that_is_no_header_is_refused_with_what_is_expected(write, first):
    (line,) = refused(write(table("2000-01-31,1", header=first)))
    assert "expected the header in the first row, with commas, semicolons or tabs between the names" in line


def test_column_called_twice_is_refused(write):
    (line,) = refused(write(table("2000-01-31,1,2", header="Date,Close,CLOSE")), "close")
    assert "2 columns are called 'close', expected one" in line


def test_file_without_dates_is_refused(write):
    (line,) = refused(write(table("1,2", "2,3", header="Number,Close")))
    assert "no date column: expected one called date, datetime, timestamp, day, time" in line
    assert "the columns are 'Number', 'Close'" in line


@pytest.mark.parametrize("where", ["MSFT", "=MSFT", ""])
def test_where_that_is_not_column_and_value_is_refused(write, where):
    (line,) = refused(write(table("2000-01-31,1")), where=where)
    assert f"where is {where!r}, expected COLUMN=VALUE" in line


def test_where_with_an_unknown_column_is_refused_beside_the_missing_price_column(write):
    lines = refused(write(table("2000-01-31,1")), "price", where="symbol=A")
    assert len(lines) == 2
    assert "no column 'price'" in lines[0]
    assert "no column 'symbol': the columns are 'Date', 'Close'" in lines[1]


def test_where_that_no_row_fits_lists_the_values_there_are(write):
    rows = [f"{symbol},2000-01-31,1" for symbol in "ABCDEFG"]
    (line,) = refused(write(table(*rows, header="Symbol,Date,Close")), where="symbol=a")
    assert "no row has 'a' in column 'Symbol': it holds 'A', 'B', 'C', 'D', 'E' and 2 more" in line


# Rows that are refused


@pytest.mark.parametrize(
    "text",
    ["", "n/a", "NaN", "nan", "inf", "-Infinity", "1e999", "12 USD", "1_000", "0x10", "--5", "-", "$", "١٢"],
)
def test_value_that_is_no_price_is_refused_with_its_line(write, text):
    (line,) = refused(write(table("2000-01-31,1", f"2000-02-01,{text}")))
    assert f"not a price in column 'Close': line 3 {text!r}; expected one like 1,234.50" in line


@pytest.mark.parametrize("text", ["1,23", "12,34.5", "1,2345", "0,123", ",5", "1.234,50"])
def test_commas_that_do_not_part_thousands_are_refused(write, text):
    (line,) = refused(write(table(f'2000-01-31,"{text}"')))
    assert f"line 2 {text!r}" in line


def test_comma_that_may_be_a_decimal_comma_is_refused(write):
    (line,) = refused(write(table("2000-01-31;1,234", "2000-02-01;2,345", header="Date;Close")))
    assert "either thousands separators or decimal commas (line 2 '1,234')" in line


def test_unquoted_thousands_separator_is_not_read_as_a_small_price(write):
    (line,) = refused(write(table("2000-01-31,999.00", "2000-02-01,1,234.50")))
    assert "2 columns expected in every row, line 3 has 3: repair these rows" in line


def test_row_with_too_few_columns_is_refused(write):
    (line,) = refused(write(table("2000-01-31,1", "2000-02-01", "2000-02-02,3")))
    assert "2 columns expected in every row, line 3 has 1" in line


def test_five_bad_rows_are_listed_and_the_others_counted(write):
    (line,) = refused(write(table(*(f"2000-01-{day:02},bad{day}" for day in range(1, 9)))))
    assert "line 6 'bad5' and 3 more; expected" in line
    assert "bad6" not in line


def test_line_numbers_count_empty_lines_and_lines_inside_quotes(write):
    rows = ["2000-01-31,1,plain", "", '2000-02-01,2,"two\nlines"', "2000-02-02,bad,plain"]
    (line,) = refused(write(table(*rows, header="Date,Close,Note")))
    assert "line 6 'bad'" in line


def test_all_problems_of_the_rows_are_said_at_once(write):
    lines = refused(write(table("2000-01-31,1", "someday,2", "2000-02-02,none", "2000-02-03", "2000-02-30,5")))
    assert len(lines) == 3
    assert "line 5 has 1" in lines[0]
    assert "line 4 'none'" in lines[1]
    assert "not a date in column 'Date': line 3 'someday', line 6 '2000-02-30'; expected 2000-01-31" in lines[2]


def test_bad_rows_are_said_though_the_date_column_is_missing(write):
    lines = refused(write(table("1,none", header="Number,Close")))
    assert "line 2 'none'" in lines[0]
    assert "no date column" in lines[1]


# Dates that are refused


@pytest.mark.parametrize(
    "text",
    ["", "31", "2000-13-01", "2001-02-29", "Foo 1 2000", "Ja 1 2000", "1/1/00", "946684800", "20000132", "0000-01-01"],
)
def test_value_that_is_no_date_is_refused_with_what_is_understood(write, text):
    (line,) = refused(write(table(f"{text},1")))
    assert f"not a date in column 'Date': line 2 {text!r}; expected one like 2000-01-31, " in line


def test_rows_in_another_format_than_most_are_refused(write):
    (line,) = refused(write(table("31.01.2000,1", "01.02.2000,2", "2000-02-02,3")))
    assert "line 4 '2000-02-02'; expected 31.01.2000 as in other rows" in line


def test_day_and_month_that_cannot_be_told_apart_are_refused(write):
    (line,) = refused(write(table("01/01/2000,1", "01/02/2000,2", "01/03/2000,3")))
    assert "can be read as 01/31/2000 and as 31/01/2000" in line
    assert "(line 3, '01/02/2000', is 2000-01-02 or 2000-02-01): write them as 2000-01-31" in line


def test_day_and_month_that_are_equal_everywhere_need_not_be_told_apart(write):
    series = read_prices(write(table("01/01/2000,1", "02/02/2000,2")))
    assert series.dates.astype(str).tolist() == ["2000-01-01", "2000-02-02"]


def test_repeated_date_is_refused_with_its_lines(write):
    (line,) = refused(write(table("2000-01-31,1", "2000-02-01,2", "2000-02-01,3", "2000-01-31,4")))
    assert "two rows for 2000-02-01 (lines 3 and 4), expected one price a day: keep one row a day" in line


def test_two_times_of_one_day_are_a_repeated_date(write):
    (line,) = refused(write(table("2000-01-31 10:00,1", "2000-01-31 11:00,2")))
    assert "two rows for 2000-01-31" in line


def test_repeated_date_suggests_the_column_with_the_fewest_values(write):
    rows = ["2000-01-31,1,9,A,x", "2000-01-31,2,8,B,x", "2000-02-01,3,7,A,x", "2000-02-01,4,9,B,x"]
    (line,) = refused(write(table(*rows, header="Date,Close,Volume,Symbol,Exchange")))
    assert "--where Symbol=A (Symbol is A, B)" in line
    assert "Volume" not in line
    assert "Exchange" not in line


def test_column_of_all_different_values_is_not_suggested(write):
    (line,) = refused(write(table("2000-01-31,1,9", "2000-01-31,2,8", header="Date,Close,Volume")))
    assert "--where" not in line


# Windows


def test_windows_are_every_run_of_days_with_the_day_after():
    inputs, labels = windows([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    assert inputs.tolist() == [[1, 2], [2, 3], [3, 4]]
    assert labels.tolist() == [3, 4, 5]


def test_longest_window_leaves_one_example():
    inputs, labels = windows(np.arange(5.0), 4)
    assert inputs.shape == (1, 4)
    assert labels.tolist() == [4]


def test_windows_keep_a_floating_dtype_and_make_whole_numbers_float64():
    assert [array.dtype for array in windows(np.arange(5, dtype=np.float32), 2)] == [np.float32] * 2
    assert [array.dtype for array in windows(np.arange(5, dtype=ml_dtypes.bfloat16), 2)] == [ml_dtypes.bfloat16] * 2
    assert [array.dtype for array in windows([1, 2, 3], 1)] == [np.float64] * 2


def test_windows_share_no_memory_with_the_series():
    series = np.arange(5.0)
    inputs, labels = windows(series, 2)
    inputs[:], labels[:] = -1, -1
    assert series.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("days", [30, 40])
def test_window_that_is_not_smaller_than_the_series_is_refused_with_the_numbers(days):
    with pytest.raises(
        InputError, match=f"a window of {days} days and the day after need {days + 1} prices"
    ) as refusal:
        windows(np.arange(30.0), days)
    assert "this has 30" in str(refusal.value)


@pytest.mark.parametrize("days", [0, -1, 2.0, "2", None])
def test_window_that_is_not_a_positive_whole_number_is_refused(days):
    with pytest.raises(InputError, match=r"days is .*, expected a positive whole number"):
        windows(np.arange(30.0), days)


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\), expected one row"),
        (1.0, r"shape \(\), expected one row"),
        ([[1.0], [1.0, 2.0]], "rows of different lengths"),
        (["1", "2", "3"], "expected numbers"),
        ([True, False, True], "expected numbers"),
        ([1j, 2j, 3j], "expected numbers"),
        ([None, 1.0, 2.0], "expected numbers"),
    ],
    ids=["table", "number", "ragged", "text", "booleans", "complex", "objects"],
)
def test_series_that_is_not_one_row_of_numbers_is_refused(series, said):
    with pytest.raises(InputError, match=said):
        windows(series, 2)


# Preparing

TEN_DAYS = np.array([10.0, 12.0, 11.0, 14.0, 18.0, 20.0, 16.0, 15.0, 25.0, 5.0])  # the last two are held out


def test_training_windows_by_hand():
    data = prepare_prices(TEN_DAYS, 6)
    assert data.train[0].tolist() == pytest.approx(np.array([[0, 0.2, 0.1, 0.4, 0.8, 1], [0.2, 0.1, 0.4, 0.8, 1, 0.6]]))
    assert data.train[1].tolist() == pytest.approx([0.6, 0.5])
    assert (data.low, data.high) == (10.0, 20.0)


def test_held_out_windows_look_back_into_the_training_days():
    data = prepare_prices(TEN_DAYS, 6)
    np.testing.assert_allclose(
        data.held_out[0], [[0.1, 0.4, 0.8, 1, 0.6, 0.5], [0.4, 0.8, 1, 0.6, 0.5, 1.5]], rtol=1e-6
    )
    np.testing.assert_allclose(data.held_out[1], [1.5, -0.5], rtol=1e-6)
    assert data.training_prices.tolist() == TEN_DAYS[:8].tolist()
    assert data.held_out_prices.tolist() == TEN_DAYS[8:].tolist()


@pytest.mark.parametrize("held_out_prices", [(0.0, 1.0), (1e6, -1e6), (15.0, 15.0)])
def test_held_out_prices_never_reach_training(held_out_prices):
    other = TEN_DAYS.copy()
    other[8:] = held_out_prices
    before, after = prepare_prices(TEN_DAYS, 4), prepare_prices(other, 4)
    assert (after.low, after.high) == (before.low, before.high)
    for array, expected in zip(after.train, before.train, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert not np.array_equal(after.held_out[1], before.held_out[1])


def test_every_held_out_day_is_the_label_of_one_window_and_no_training_label():
    days = np.arange(50.0)
    data = prepare_prices(days, 4, dtype=np.float64)
    np.testing.assert_allclose(data.unscale(data.train[1]), days[4:40])
    np.testing.assert_allclose(data.unscale(data.train[0]).max(), 38)
    np.testing.assert_allclose(data.unscale(data.held_out[1]), days[40:])


@pytest.mark.parametrize(("held_out", "days", "expected"), [(0.2, 123, 25), (0.2, 68, 14), (0.5, 10, 5), (0.01, 10, 1)])
def test_part_that_is_held_out(held_out, days, expected):
    data = prepare_prices(np.arange(float(days)), 2, held_out=held_out)
    assert len(data.held_out[1]) == expected
    assert len(data.training_prices) == days - expected


def test_smallest_series_gives_one_window_each():
    data = prepare_prices(np.arange(6.0), 4)
    assert data.train[0].shape == data.held_out[0].shape == (1, 4)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_windows_have_the_dtype_asked_for(dtype):
    data = prepare_prices(TEN_DAYS, 4, dtype=dtype)
    assert {array.dtype for array in (*data.train, *data.held_out)} == {np.dtype(dtype)}
    assert data.scale(15.0).dtype == dtype
    assert data.unscale(data.train[1]).dtype == np.float64


def test_default_dtype_is_float32():
    assert prepare_prices(TEN_DAYS, 4).train[0].dtype == np.float32


def test_scale_and_unscale_undo_each_other_in_any_shape():
    data = prepare_prices(TEN_DAYS, 4, dtype=np.float64)
    prices = np.array([[10.0, 20.0], [0.0, 40.0]])
    assert data.scale(prices).tolist() == [[0.0, 1.0], [-1.0, 3.0]]
    np.testing.assert_allclose(data.unscale(data.scale(prices)), prices)
    assert data.unscale(0.5) == 15.0


def test_constant_training_prices_are_refused():
    with pytest.raises(InputError, match="all 8 training prices are 7, so there is no range to scale"):
        prepare_prices([7.0] * 8 + [8.0, 9.0], 4)


def test_constant_prices_of_a_file_are_refused_with_its_name(write):
    path = write(table(*(f"2000-01-{day:02},7" for day in range(1, 20))))
    with pytest.raises(InputError, match="all 15 training prices are 7") as refusal:
        prepare_prices(read_prices(path), 4)
    assert str(refusal.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("days", "window", "held", "left"), [(5, 4, 1, 4), (30, 40, 6, 24), (1, 1, 1, 0), (0, 1, 1, 0)]
)
def test_too_few_days_are_refused_with_the_numbers(days, window, held, left):
    said = (
        f"a window of {window} needs {window + 1} training days, "
        f"but of {days} days {held} are held out and {left} are left"
    )
    with pytest.raises(InputError, match=said):
        prepare_prices(np.arange(float(days)), window)


def test_everything_wrong_with_the_arguments_is_said_at_once():
    with pytest.raises(InputError) as refusal:
        prepare_prices([1.0, np.nan, np.inf, 2.0], 2, held_out=1.5, dtype=np.int32)
    assert [line.split(",")[0] for line in refusal.value.problems] == [
        "held_out is 1.5",
        "dtype is int32",
        "prices: 2 of 4 prices are NaN or infinite: remove or repair these days",
    ]


@pytest.mark.parametrize("held_out", [0, 1, -0.1, 20, float("nan")])
def test_part_outside_0_to_1_is_refused(held_out):
    with pytest.raises(InputError, match=r"held_out is .*, expected a part of the days between 0 and 1"):
        prepare_prices(TEN_DAYS, 4, held_out=held_out)


@pytest.mark.parametrize("window", [0, -3, 1.5])
def test_bad_window_is_refused_by_its_name(window):
    with pytest.raises(InputError, match="window is "):
        prepare_prices(TEN_DAYS, window)


# Scoring


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_by_hand(dtype):
    # Training 0 2 4 10 (mean 4, scaled by 10), held out 13 9; the model says 12 and 6.
    data = prepare_prices([0.0, 2.0, 4.0, 10.0, 13.0, 9.0], 2, held_out=1 / 3, dtype=dtype)
    score = score_held_out(data, np.array([1.2, 0.6]))
    assert score.days == 2
    assert score.model == pytest.approx((5**0.5, 2.0))  # off by 1 and 3
    assert score.tomorrow_is_today == pytest.approx((12.5**0.5, 3.5))  # says 10 and 13: off by 3 and 4
    assert score.training_mean == pytest.approx((53**0.5, 7.0))  # off by 9 and 5
    assert score.model.root_mean_square == pytest.approx(5**0.5)
    assert score.model.mean_absolute == pytest.approx(2.0)


def test_perfect_predictions_have_no_error():
    data = prepare_prices(TEN_DAYS, 4, dtype=np.float64)
    assert score_held_out(data, data.held_out[1]).model == pytest.approx((0.0, 0.0), abs=1e-12)


def test_predictions_of_a_head_with_one_output_are_scored_the_same():
    data = prepare_prices(TEN_DAYS, 4)
    assert score_held_out(data, [[0.5], [0.7]]) == score_held_out(data, [0.5, 0.7])


def test_predictions_in_bfloat16_are_scored():
    data = prepare_prices(TEN_DAYS, 4)
    assert score_held_out(data, np.array([1.5, -0.5], ml_dtypes.bfloat16)).model == (0.0, 0.0)


@pytest.mark.parametrize(
    ("reach", "unreachable"), [((-1.0, 1.0), 4), (None, 0), ((0.0, 1.0), 5), ((-9.0, 9.0), 0)], ids=str
)
def test_days_out_of_reach_are_counted_edges_included(reach, unreachable):
    held_out = [10.0, 9.99, 30.0, -10.0, -9.99, -50.0]  # scaled 1, 0.999, 3, -1, -0.999, -5
    data = prepare_prices([0.0, 10.0] * 6 + held_out, 2, held_out=1 / 3)
    assert score_held_out(data, np.zeros(6), reach=reach).unreachable == unreachable


def test_by_hand_reach_is_the_default():
    data = prepare_prices(TEN_DAYS, 4)
    assert score_held_out(data, [0, 0]).unreachable == 1  # 25, with training prices from 10 to 20; 5 is scaled to -0.5


@pytest.mark.parametrize("predictions", [[np.nan, 0.0], [0.0, np.inf]])
def test_predictions_that_are_not_finite_are_refused(predictions):
    with pytest.raises(InputError, match="1 of 2 predictions are NaN or infinite"):
        score_held_out(prepare_prices(TEN_DAYS, 4), predictions)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,), (1, 2), (2, 2)])
def test_wrong_number_of_predictions_is_refused(shape):
    with pytest.raises(InputError, match=r"expected one a held-out day: \(2,\) or \(2, 1\)"):
        score_held_out(prepare_prices(TEN_DAYS, 4), np.zeros(shape))


@pytest.mark.parametrize("reach", [(1.0, -1.0), (0.0, 0.0)])
def test_empty_reach_is_refused(reach):
    with pytest.raises(InputError, match=r"expected .* with low below high, or None"):
        score_held_out(prepare_prices(TEN_DAYS, 4), [0, 0], reach=reach)
