"""Printed text cannot lie: whatever names, paths and messages contain, it controls no terminal and forges no line."""

import html
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from lstm_parity.compare.places import rounded
from lstm_parity.compare.rows import compare
from lstm_parity.report.report import Report
from lstm_shared import init_by_hand, init_lstm, save
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.printable import printable

FORGED = [
    "x\nverdict: agree", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\r\x1b[Kverdict: agree", "\x9b31m", "a\u202egpj.exe",
    "\u2028verdict: agree", "\x85next", "\x00", "zero\u200bwidth", "[bold red]x[/]", "[/]", ":smile:", "\ufeff", "\x7f",
    "a\tb", "\x08\x08", "\udcff", "\u2066\u2069", "{0}%s\\x1b", "<script>alert(1)</script>",
]  # fmt: skip
NAMES = st.one_of(st.sampled_from(FORGED), st.text(st.characters(), min_size=1, max_size=20))
PORT = """
import jax_lstm
def doubled(params, inputs):
    return jax_lstm.lstm({**params, "bias_hh_l0": params["bias_hh_l0"] * 2}, inputs)
"""
HYPOTHESIS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def examples(test):
    for text in FORGED:
        test = example(text)(test)
    return test


@settings(max_examples=300)
@given(st.text(st.characters()))
def test_printable_text_is_one_line_and_says_the_rest_in_escapes(text):
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown == text or not text.isprintable()
    if not any(0xDC80 <= ord(c) <= 0xDCFF for c in text) and "\\" not in text:  # a byte that is not UTF-8
        assert shown.encode("ascii", "backslashreplace").decode("unicode_escape") == text


@examples
@HYPOTHESIS
@given(NAMES)
def test_an_error_has_a_line_for_each_problem_and_no_more(text):
    for error in (InputError(text), WeightsError([text, "and this"])):
        assert len(str(error).splitlines()) == len(error.problems)
        assert all(line.isprintable() for line in error.problems)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.problems) == (type(error), error.problems)


@examples
@HYPOTHESIS
@given(NAMES)
def test_every_form_of_a_report_shows_names_and_sentences_on_their_line(text):
    rows = compare("forward", {"h": np.ones(2)}, {"h": np.zeros(2)}, dtype="float64", sides=("jax", "torch"), allowed=1)
    rows = [replace(row, name=text, setting=text, problem=text) for row in rows]
    report = Report(tuple(rows), {"torch device": text}, 0, notes=(text,), command=text)
    for shown in (str(report), report.text(every_row=True)):
        lines = shown.split("\n")
        assert all(line.isprintable() for line in lines)
        assert [line.startswith("verdict: ") for line in lines] == [True] + [False] * (len(lines) - 1)
        assert printable(text).strip() in map(str.strip, lines)  # the note takes one line, and brackets are not markup
    assert json.loads(report.to_json())["rows"][0]["name"] == text
    from lstm_parity.report.html import html_page

    page = html_page(report, text, {})
    assert page.encode()
    assert html.escape(printable(text)) in page
    assert "<script>alert" not in page


@examples
@HYPOTHESIS
@given(text=NAMES)
def test_a_name_in_a_file_forges_nothing_on_the_screen(cli, tmp_path, text):
    arrays = {f"{text}.{name}": array for name, array in init_by_hand().items()}
    path = tmp_path / "m.npz"
    try:
        save(path, arrays)
    except (InputError, WeightsError, UnicodeEncodeError):
        return  # refused on writing: no file can hold it
    for arguments in (("inspect", path), ("check", path, "--prefix", "nope"), ("check", path, "--lengths", "1")):
        ran = cli(*arguments)
        assert all(line.isprintable() for line in (ran.out + ran.err).split("\n"))
        assert not any(line.startswith("verdict") for line in ran.out.splitlines())
        assert ran.code in (0, 2), ran.err


def figures(text: str) -> list[str]:
    """Return the numbers in a text, sorted."""
    numbers = re.findall(r"[-+]?[0-9][0-9.]*(?:e[-+]?[0-9]+)?", text)
    return sorted(numbers)


@pytest.mark.parametrize("columns", ["0", "1", "10", "40", "79", "x", "-5", "100000"])
@pytest.mark.parametrize("command", ["trace --example", "inspect large.npz"])
def test_a_terminal_of_any_width_gets_every_figure_whole(cli, monkeypatch, tmp_path, columns, command):
    monkeypatch.chdir(tmp_path)
    prefixes = [f"a.long.prefix.of.a.model.that.stands.deep.in.a.checkpoint.{k}." for k in (0, 1)]
    save("large.npz", {prefix + name: array for prefix in prefixes for name, array in init_lstm(3, 4).items()})
    wide = cli(*command.split())
    monkeypatch.setenv("COLUMNS", columns)
    narrow = cli(*command.split())
    assert (narrow.code, narrow.err) == (0, "")
    assert len(figures(wide.out)) > 5
    assert figures(narrow.out) == figures(wide.out)
    if command.startswith("inspect"):
        for prefix in prefixes:
            assert prefix in narrow.out


@pytest.mark.parametrize("columns", ["0", "40"])
def test_a_report_on_a_narrow_terminal_has_every_figure_whole(cli, monkeypatch, tmp_path, columns):
    monkeypatch.chdir(tmp_path)
    save("m.npz", init_lstm(3, 4))
    command = ("check", "m.npz", "--steps", 1, "--dtypes", "float32")
    wide = cli(*command)
    monkeypatch.setenv("COLUMNS", columns)
    assert figures(cli(*command).out) == figures(wide.out)


@pytest.mark.parametrize("arguments", ["check m.npz", "check m.npz --against port.py:doubled", "check --quick"])
def test_a_report_fits_a_terminal_of_80_columns_without_blanks_at_the_ends_of_lines(
    cli, monkeypatch, tmp_path, arguments
):
    monkeypatch.chdir(tmp_path)
    save("m.npz", init_lstm(5, 4, num_layers=2, bidirectional=True))
    (tmp_path / "port.py").write_text(PORT)
    monkeypatch.setenv("COLUMNS", "80")
    ran = cli(*arguments.split())
    assert ran.code in (0, 1), ran.err
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    assert len(lines) < 40
    (head,) = (k for k, line in enumerate(lines) if line.split()[:4] == ["array", "difference", "allowed", "used"])
    assert lines[head - 1].endswith("--all):")
    rows = lines[head + 1 : head + 11]  # each takes one line
    assert all(re.search("[%×]", row) for row in rows)
    assert lines[head + 11].startswith("difference: the largest; ")


def test_how_far_each_side_is_from_the_truth_is_shown_where_it_matters(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save("m.npz", init_lstm(3, 4))
    (tmp_path / "port.py").write_text(PORT)
    check = ("check", "m.npz", "--steps", 1, "--dtypes", "float32")
    for more in (("--all",), ("--against", "port.py:doubled"), ("--truth", "extended", "--dtypes", "float64")):
        assert "off: how far each side is from the more precise result" in cli(*check, *more).out
    assert "off" not in cli(*check).out


def test_a_benchmark_fits_a_terminal_of_80_columns_with_every_figure_whole(cli, monkeypatch):
    record = Path(__file__).parents[2] / "benchmarks" / "cpu.json"
    wide = cli("bench", "--show", record)
    for columns in ("0", "40", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        narrow = cli("bench", "--show", record)
        assert figures(narrow.out) == figures(wide.out)
        assert max(map(len, narrow.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("values", "tolerance", "text"),
    [
        ((0.15923056397833987, 0.12230338504865963), 1.4e-14, ["0.159230564", "0.122303385"]),
        ((0.15923056397833987, 0.15923056397838), 1.4e-14, ["0.15923056397834", "0.15923056397838"]),
        ((np.float32(0.1592314), 0.1223033), 2e-5, ["0.159231", "0.122303"]),
        ((12345.678, 12345.679), 2e-4, ["12345.678", "12345.679"]),
        ((1e20, 3e20), 1e6, ["1e+20", "3e+20"]),
        ((1e-20, 0.5), 1e-14, ["0.0", "0.5"]),
        ((0.0, 0.0), 1e-14, ["0.0", "0.0"]),
        ((np.nan, 0.123456789), 1e-5, ["nan", "0.123457"]),
        ((np.inf, 0.25), 0.0, ["inf", "0.25"]),
    ],
)
def test_values_are_printed_without_the_digits_that_differ_from_machine_to_machine(values, tolerance, text):
    assert rounded(map(float, values), tolerance) == text


@given(st.floats(-1e3, 1e3), st.floats(1e-16, 10), st.floats(1.01, 1e6))
def test_values_that_differ_by_more_than_the_tolerance_look_different(value, tolerance, times):
    other = value + times * tolerance
    assume(abs(other - value) > tolerance)
    text = rounded((value, other), tolerance)
    assert text[0] != text[1]


def test_a_failed_check_prints_as_many_digits_as_mean_something_and_json_has_all(cli, tmp_path):
    save(tmp_path / "m.npz", init_lstm(3, 4))
    (tmp_path / "port.py").write_text(PORT)
    port = f"{tmp_path / 'port.py'}:doubled"
    ran = cli("check", tmp_path / "m.npz", "--against", port, "--json", tmp_path / "r.json")
    assert ran.code == 1
    numbers = re.findall(r"-?[0-9]+\.[0-9]+(?= \((?:candidate|torch|reference)\))", ran.out)
    assert len(numbers) == 4
    assert all(len(number.lstrip("-0.").replace(".", "")) <= 10 for number in numbers)
    first = json.loads((tmp_path / "r.json").read_text())["first_divergence"]
    assert [float(number) for number in numbers[:2]] == pytest.approx(first["values"], rel=1e-9)
    assert any(len(repr(value)) > 14 for value in first["values"])


@pytest.mark.parametrize(("dtype", "decimals"), [("float32", 5), ("float64", 7)])
def test_predictions_have_the_decimals_that_every_machine_agrees_on(cli, dtype, decimals):
    ran = cli("train", "--epochs", 1, "--dtype", dtype)
    assert [len(digits) for digits in re.findall(r"predicted -0\.([0-9]+), label", ran.out)] == [decimals] * 2


@pytest.mark.parametrize(
    ("dtype", "row"),
    [
        ("float32", "1 1 99.925 93.703 0.98661 99.503 2.92299 0.98930"),
        ("float64", "1 1 99.9254 93.7027 0.98661430 99.5033 2.92299183 0.98929553"),
    ],
)
def test_a_trace_has_the_decimals_that_every_machine_agrees_on(cli, dtype, row):
    ran = cli("trace", "--example", "--dtype", dtype)
    assert " ".join(ran.out.splitlines()[-1].split()) == row
