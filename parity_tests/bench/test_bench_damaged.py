"""Damaged records of the benchmark: each is shown, or refused in one line that says what is wrong."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from lstm_parity.bench.record import plots, table
from lstm_parity.bench.record.record import read_record
from lstm_shared import InputError

RECORD = Path(__file__).parents[2] / "benchmarks" / "cpu-two-cores.json"
TEXT = RECORD.read_text(encoding="utf-8")

# Values to put in place of one in a record.
OTHERS = (
    None, True, 0, -1, 1, 0.5, 1e308, 1e-300, -0.0, 10**40, float("nan"), float("inf"), "", "torch", "\ud800", [], {},
    [[]], [None], {"": 1}, ["a", 2], "timed", "left out", "\x1b[31m", 2**53,
)  # fmt: skip


def small() -> dict[str, Any]:
    """Return a record with two cases only, so that most drawn changes hit something."""
    content = json.loads(TEXT)
    content["measurements"] = content["measurements"][:6] + content["measurements"][-3:]
    named = {one["case"] for one in content["measurements"]}
    content["cases"] = {name: case for name, case in content["cases"].items() if name in named}
    return content


def places(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value in it."""
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, child in children for place in ((*above, key), *places(child, (*above, key)))]


PLACES = [place for place in places(small()) if "summary" not in place]


def changed(place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> str:
    content = small()
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    return json.dumps(content)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Draw the text of a record with a value dropped, replaced or added, or with text cut off or overwritten."""
    way = draw(st.sampled_from(["drop", "exchange", "exchange", "exchange", "add", "double", "truncate", "characters"]))
    if way == "truncate":
        return TEXT[: draw(st.integers(0, len(TEXT) - 1))]
    if way == "characters":
        at = draw(st.integers(0, len(TEXT) - 5))
        return TEXT[:at] + draw(st.text(max_size=4)) + TEXT[at + 4 :]
    place = draw(st.sampled_from(PLACES))
    if way == "drop":
        return changed(place, lambda holder, key: holder.pop(key))
    if way == "exchange":
        other = draw(st.sampled_from(OTHERS))
        return changed(place, lambda holder, key: holder.__setitem__(key, other))
    if way == "double":
        return changed(place, lambda holder, key: holder.append(holder[key]) if isinstance(holder, list) else None)
    return changed(
        place, lambda holder, key: holder.__setitem__(*(("more", 1) if isinstance(holder, dict) else (0, 1)))
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("records") / "record.json"


def show(path: Path) -> list[str]:
    """Do all that the command does with a record. Return the problems if it is refused."""
    try:
        record = read_record(path)
    except InputError as error:
        return list(error.problems)
    Console(file=StringIO(), width=80).print(table.show(record))
    table.markdown(record)
    json.dumps(record.to_dict())
    assert isinstance(record.ok, bool)
    return []


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=damaged())
def test_a_damaged_record_is_shown_or_refused_in_one_line(file, text):
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    problems = show(file)
    assert len(problems) <= 1
    assert all(len(line) < 400 and "record" in line for line in problems), problems


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_value_that_is_missing_is_named_or_not_needed(file, place):
    file.write_text(changed(place, lambda holder, key: holder.pop(key)))
    for problem in show(file):
        assert "damaged, or a record of another version" in problem or "not a record" in problem
        name = next(key for key in reversed(place) if isinstance(key, str))
        assert name in problem or "rounds" in problem or "none of its cases" in problem, problem


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "9" * 100_000, '{"format": ' + "9" * 5000 + "}"])
def test_text_that_breaks_parsers_is_no_record(file, text):
    file.write_text(text)
    (problem,) = show(file)
    assert "record" in problem


@pytest.mark.parametrize("place", [p for p in PLACES if p[-1] in ("median", "first_call", "steps")][:6], ids=str)
@pytest.mark.parametrize("value", [1e-12, 1e12, 2**53])
def test_the_largest_and_least_figures_are_drawn(file, place, value):
    file.write_text(changed(place, lambda holder, key: holder.__setitem__(key, value)))
    if show(file) == []:
        record = read_record(file)
        plots.ratio_bars(record)
        plots.scaling_curves(record)
