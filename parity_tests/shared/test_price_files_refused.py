"""CSV files that are refused: every reason is said in one line, with the file and the row to repair."""

import gzip

import pytest

from lstm_shared.errors import InputError
from lstm_shared.prices.files import read_prices


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


def test_real_file_of_several_series_asks_which_one(stocks):
    (line,) = refused(stocks, "price")
    assert "two rows for 2000-01-01 (lines 2 and 125)" in line
    assert "--where symbol=MSFT (symbol is MSFT, AMZN, IBM, GOOG, AAPL)" in line


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
    assert "two rows for 2000-02-01 (lines 3 and 4), expected one price per day: keep one row per day" in line


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
