"""The first cases of a search: every pair of options and sizes, by the current rules of the code."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from jax_lstm.recurrences import choose, chunked
from lstm_parity.fuzz import size_classes
from lstm_parity.fuzz.configurations import Configuration
from lstm_parity.fuzz.covering import CoveringArray, pairs_of
from lstm_parity.fuzz.reach import Reach
from lstm_parity.fuzz.strata import COMPILED_SHARE, array_of, strata

KINDS = ("LSTM", "forecaster", "cell", "by hand")


# Covering arrays


def can_stand_together(array: CoveringArray, pair: frozenset[tuple[str, str]]) -> bool:
    """Return whether any whole row has this pair, by trying all rows, factor by factor."""

    def rows(row: dict[str, str], factors: list[str]) -> Iterator[dict[str, str]]:
        if not factors:
            yield row
            return
        for level in array.factors[factors[0]]:
            if not any(frozenset((known, (factors[0], level))) in array.excluded for known in row.items()):
                yield from rows({**row, factors[0]: level}, factors[1:])

    if pair in array.excluded:
        return False
    start = dict(pair)
    return next(rows(start, [name for name in array.factors if name not in start]), None) is not None


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_every_two_levels_that_can_stand_together_do(kind, seed):
    array = array_of(kind)
    rows = array.rows(np.random.default_rng(seed))
    shown = {pair for row in rows for pair in pairs_of(row)}
    pairs = {
        frozenset(((one, a), (other, b)))
        for one, other in combinations(array.factors, 2)
        for a in array.factors[one]
        for b in array.factors[other]
    }
    assert not shown & array.excluded
    assert shown == {pair for pair in pairs if can_stand_together(array, pair)}
    assert all(sorted(row) == sorted(array.factors) for row in rows)


def test_a_row_is_completed_round_what_excludes_each_other():
    factors = {"a": ("1", "2"), "b": ("1", "2"), "c": ("1", "2")}
    excluded = {frozenset((("a", "1"), ("b", "1"))), frozenset((("b", "2"), ("c", "2")))}
    # a 1 needs b 2, which needs c 1. So a 1 and c 2 are never in one row, though no exclusion says so.
    rows = CoveringArray(factors, excluded, {}).rows(np.random.default_rng(0))
    assert {("a", "1"), ("c", "2")} not in [set(pair) for row in rows for pair in pairs_of(row)]
    assert {tuple(row[name] for name in "abc") for row in rows} == {
        ("1", "2", "1"),
        *(("2", b, c) for b, c in ("11", "12", "21")),
    }


def test_what_is_to_come_first_comes_first_and_must_be_possible():
    factors = {"a": ("1", "2"), "b": ("1", "2")}
    array = CoveringArray(factors, {frozenset((("a", "1"), ("b", "1")))}, {})
    assert array.rows(np.random.default_rng(0), [{"a": "2", "b": "2"}])[0] == {"a": "2", "b": "2"}
    with pytest.raises(ValueError, match="no row has"):
        array.rows(np.random.default_rng(0), [{"a": "1", "b": "1"}])


# Sizes


@pytest.mark.parametrize("inside", [1, 2, 32, 33, 64, 128, 256], ids=lambda size: f"hidden {size}")
def test_hidden_sizes_are_cut_where_a_rule_changes(inside):
    """These are the changes known today; each one begins or ends a class."""
    assert any(inside in (sizes[0], sizes[-1]) for sizes in size_classes.hidden_classes())


def test_a_threshold_that_moves_in_the_code_moves_the_sizes(monkeypatch):
    monkeypatch.setattr("jax_lstm.recurrences.choose.features_first", lambda batch, hidden, dtype: hidden >= 77)
    size_classes.hidden_classes.cache_clear()
    try:
        starts = [sizes[0] for sizes in size_classes.hidden_classes()]
    finally:
        size_classes.hidden_classes.cache_clear()
    assert 77 in starts
    assert 256 not in starts


@pytest.mark.parametrize("hidden", [1, 4, 40, 128, 300])
@pytest.mark.parametrize("batch", [0, 1, 3, 40, 64, 200])
def test_a_path_is_what_the_rules_of_the_code_say(batch, hidden):
    dtype = np.dtype("float32")
    path = size_classes.path_of("auto", 9, batch, 5, hidden, dtype)
    assert path.implementation == choose.choose(choose.Sizes(9, batch, 5, hidden, dtype))
    if path.implementation == "chunked":
        assert path.chunk == chunked.chunk_steps(batch)
        assert path.features_first == chunked.features_first(batch, hidden, dtype)


# Strata


@pytest.fixture(scope="module")
def found() -> list[Configuration]:
    return strata(0)


def reach_of(configurations: list[Configuration]) -> Reach:
    reach = Reach()
    for configuration in configurations:
        how = {"compiled": configuration.compiled, "implementation": configuration.implementation}
        reach.add(configuration.case(), **how)
    return reach


def test_the_same_seed_gives_the_same_configurations_and_another_seed_others(found):
    assert strata(0) == found
    assert not set(strata(1)) & set(found)


def test_everything_there_is_to_reach_is_reached(found):
    assert reach_of(found).unreached() == []


@pytest.mark.parametrize("seed", range(4))
def test_the_first_thirty_reach_every_fast_path(seed):
    first = [c for c in strata(seed)[:30] if c.kind == "LSTM" and c.dtype != "bfloat16"]

    def chunks(c: Configuration) -> int:
        return c.steps // chunked.chunk_steps(c.batch) if path(c) == "chunked" else 0

    def path(c: Configuration) -> str:
        return size_classes.path_of(c.implementation, c.steps, c.batch, c.inputs, c.hidden, np.dtype(c.dtype))[0]

    several = [c for c in first if chunks(c) > 1]
    assert {size_classes.shares_a_loop(c.hidden) for c in several if c.bidirectional} == {True, False}
    assert any(c.resets and c.batch >= 32 for c in several)
    assert any(c.resets and c.projection for c in several)
    assert any(c.lengths != "none" and c.bidirectional for c in several)
    assert {c.compiled for c in several} == {True, False}
    assert any(path(c) == "single-kernel" and c.resets for c in first)
    assert any(path(c) == "single-kernel" and c.bidirectional for c in first)


@pytest.mark.parametrize("implementation", ["auto", "scan", "chunked", "single-kernel"])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "by operation"])
def test_every_implementation_runs_compiled_and_by_operation(found, implementation, compiled):
    assert sum(c.implementation == implementation and c.compiled == compiled for c in found) >= 3


@pytest.mark.parametrize("seed", range(4))
def test_at_least_a_quarter_is_compiled(seed):
    compiled = [configuration.compiled for configuration in strata(seed)]
    assert COMPILED_SHARE == 0.25
    assert sum(compiled) >= len(compiled) / 4


@pytest.mark.parametrize("seed", range(4))
def test_every_configuration_makes_a_case_of_the_sizes_it_says(seed):
    for configuration in strata(seed):
        assert configuration.fitting() == configuration
        case = configuration.case()
        assert case.inputs.dtype.name == configuration.dtype
        assert case.time == (1 if configuration.kind == "cell" else configuration.steps)
        assert (case.reset is not None) == configuration.resets
        assert (case.lengths is not None) == (configuration.lengths != "none")
        assert bool(case.state) == (configuration.state != "left out")


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [({"hidden": 7, "steps": 9}, 2.0), ({"hidden": 7, "steps": 40}, 1.0), ({"hidden": 100, "steps": 4}, 0.1)],
    ids=["few steps", "many steps", "a wide layer"],
)
def test_weights_are_small_where_right_code_would_part_chaotically(sizes, largest):
    case = Configuration(weight_magnitude=2.0, inputs=5, **sizes).case()
    magnitudes = [np.abs(array).max() for array in case.weights.values()]
    assert 0.8 * largest < max(magnitudes) <= largest


def test_options_that_do_not_go_together_are_left_out():
    wild = Configuration(
        kind="forecaster", layout="unbatched", steps=0, lengths="ragged", resets=True, implementation="single-kernel",
        hidden=3, projection=9, batch=4,
    )  # fmt: skip
    fit = wild.fitting()
    assert fit == replace(
        wild, layout="batch first", steps=1, lengths="none", resets=False, implementation="auto", projection=2
    )


# What was reached


def test_what_was_reached_is_counted_and_said_below_80_columns(found):
    reach = reach_of(found)
    counts = reach.to_dict()
    assert sum(n for ways in counts["model"].values() for n in ways.values()) == len(found)
    assert sum(ways["compiled"] for ways in counts["dtype"].values()) == sum(c.compiled for c in found)
    text = str(reach)
    assert max(map(len, text.splitlines())) < 80
    single = counts["implementation"]["single-kernel"]
    assert f"single-kernel {single['by_operation']}+{single['compiled']}" in text


def test_what_was_not_reached_is_said():
    reach = reach_of([Configuration(bidirectional=True, hidden=4, steps=40, batch=3)])
    assert "both in one loop 1+0, both apart 0+0" in str(reach)
    assert "chunks: several chunks and a rest" not in reach.unreached()
    assert "chunks: several chunks" in reach.unreached()
