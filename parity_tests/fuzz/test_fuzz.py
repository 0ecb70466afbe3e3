"""The search for failing cases: right code passes; a planted fault is found, shrunk, written and replayed."""

import itertools
import os
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch

import jax_lstm
from lstm_parity.fuzz import draw, search
from lstm_parity.fuzz.search import fuzz, replay
from lstm_parity.sides.case import Case, make_case
from lstm_parity.sides.case_files import case_in_words, read_case, write_case
from lstm_shared import (
    PUBLISHED_INIT,
    CellSpec,
    ForecasterSpec,
    InputError,
    LSTMSpec,
    WeightsError,
    describe,
    init_forecaster,
    init_lstm,
)
from lstm_shared.specs import ByHandSpec

KINDS = (ByHandSpec, LSTMSpec, CellSpec, ForecasterSpec)
RNG = np.random.default_rng(0)
WEIGHTS = init_lstm(5, 4, num_layers=2, bidirectional=True, proj_size=3, dtype=np.float64)
CELL = {name.removesuffix("_l0"): array for name, array in init_lstm(5, 4, dtype=np.float64).items()}
PADDED = np.where(np.arange(6)[:, None, None] > 3, np.nan, RNG.standard_normal((6, 2, 5)))
BY_HAND = {name: np.asarray(value) for name, value in PUBLISHED_INIT.items()}
CASES = {
    "by hand": make_case(BY_HAND),
    "cell": make_case(CELL, steps=3, seed=4),
    "forecaster": make_case(init_forecaster(5, 4, 2, dtype=np.float64)),
    "LSTM, ragged, NaN in the padding": make_case(WEIGHTS, PADDED, lengths=[4, 0], seed=7, steps=2),
    "LSTM, batch first, with a state": make_case(
        WEIGHTS,
        RNG.standard_normal((2, 6, 5)),
        batch_first=True,
        state=(RNG.standard_normal((4, 2, 3)), RNG.standard_normal((4, 2, 4))),
    ),
    "LSTM, unbatched, with resets": make_case(
        init_lstm(5, 4), RNG.standard_normal((6, 5)), reset=np.arange(6) % 3 == 0
    ),
    "LSTM, no steps": make_case(init_lstm(5, 4), np.zeros((0, 2, 5))),
    "LSTM, no steps and no rows": make_case(WEIGHTS, np.zeros((0, 0, 5)), lengths=np.zeros(0, int)),
    "LSTM, ragged without a row": make_case(
        WEIGHTS,
        np.zeros((0, 6, 5)),
        batch_first=True,
        lengths=np.zeros(0, int),
        state=(np.zeros((4, 0, 3)), np.zeros((4, 0, 4))),
    ),
    "LSTM, reset without a row": make_case(init_lstm(5, 4), np.zeros((6, 0, 5)), reset=np.zeros((6, 0), bool)),
    "LSTM called without a state": make_case(WEIGHTS, RNG.standard_normal((6, 2, 5))).without_state(),
    "cell called without a state": make_case(CELL).without_state(),
    "forecaster called without a state": make_case(init_forecaster(5, 4, 2, dtype=np.float64)).without_state(),
    "by hand called without a state": make_case(BY_HAND).without_state(),
    "cell without a row": make_case(CELL, np.zeros((0, 5))),
    "forecaster without a row": make_case(init_forecaster(5, 4, 2, dtype=np.float64), np.zeros((0, 6, 5))),
    "by hand without a series": make_case(BY_HAND, np.zeros((0, 4))),
    "by hand without a day": make_case(BY_HAND, np.zeros((2, 0))),
}


def same(one: Case, other: Case) -> bool:
    """Return whether two cases are equal bit by bit, including NaN and the sign of zero."""

    def bits(value):
        if isinstance(value, dict):
            return {name: bits(array) for name, array in value.items()}
        return (value.dtype.name, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    return {name: bits(value) for name, value in vars(one).items()} == {n: bits(v) for n, v in vars(other).items()}


# Files


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", CASES)
def test_a_case_comes_back_from_its_file_bit_by_bit(kind, dtype, tmp_path):
    case = CASES[kind].astype(dtype)
    write_case(tmp_path / "case.npz", case, compiled=False, implementation="chunked")
    read = read_case(tmp_path / "case.npz")
    assert same(read.case, case)
    assert read.compiled is False
    assert read.implementation == "chunked"


def test_a_file_without_an_implementation_has_the_one_that_is_chosen(tmp_path):
    path = tmp_path / "case.npz"
    write_case(path, CASES["cell"], implementation="scan")
    changed(path, implementation=None)
    assert read_case(path).implementation == "auto"


def changed(path, **changes):
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays |= {name.replace("__", "/"): value for name, value in changes.items()}
    np.savez(path, allow_pickle=False, **{name: value for name, value in arrays.items() if value is not None})


WRONG = {
    "no inputs": ({"inputs": None}, "not a case file, or an incomplete one: it has no inputs"),
    "no weights": ({f"weights__{name}": None for name in CELL}, r"it has no weights/…"),
    "a missing weight": ({"weights__weight_hh": None}, "weight_hh is missing"),
    "someone else's array": ({"labels": np.zeros(3)}, "not a case file: it holds labels"),
    "another dtype": ({"dtype": np.frombuffer(b"int8", np.uint8)}, "its dtype is 'int8', expected one of"),
    "another implementation": (
        {"implementation": np.frombuffer(b"fast", np.uint8)},
        "its implementation is 'fast', expected one of auto, scan, chunked",
    ),
    "inputs of another size": ({"inputs": np.zeros((3, 6))}, "inputs has shape"),
    "other cotangents": ({"cotangents__h": np.zeros((3, 9))}, "its cotangents have the shapes"),
    "half a state": ({"state__h": None}, "its states are c, expected h and c"),
    "steps below 0": ({"steps": -1}, "steps: expected a single whole number, 0 or larger"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_refused_in_one_line_with_exit_code_2(wrong, cli, tmp_path):
    changes, message = WRONG[wrong]
    path = tmp_path / "case.npz"
    write_case(path, CASES["cell"])
    changed(path, **changes)
    with pytest.raises((InputError, WeightsError), match=message) as raised:
        read_case(path)
    (line,) = cli("check", "--case", path).problems
    assert line == str(raised.value)
    assert line.startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no more", b"text"], ids=["empty", "cut", "text"])
def test_a_damaged_file_is_refused(content, cli, write):
    ran = cli("check", "--case", write(content, "case.npz"))
    assert (ran.code, len(ran.problems)) == (2, 1)


def test_a_case_of_two_dtypes_or_another_file_name_is_not_written(tmp_path):
    case = CASES["cell"]
    with pytest.raises(InputError, match="mixes float32, float64"):
        write_case(tmp_path / "case.npz", replace(case, inputs=case.inputs.astype(np.float32)))
    with pytest.raises(InputError, match=r"must end in \.npz"):
        write_case(tmp_path / "case.npy", case)
    assert not list(tmp_path.iterdir())


# The search


def test_drawn_cases_of_both_backends_agree(cli, tmp_path, monkeypatch, smaller):
    monkeypatch.chdir(tmp_path)
    ran = cli("fuzz", "--cases", 30, "--json", "fuzz.json")
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert ran.out.startswith("agree: 30 cases in ")
    assert os.listdir() == ["fuzz.json"]  # hypothesis leaves no files of its own


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "by operation"])
@pytest.mark.parametrize("kind", CASES)
def test_a_case_agrees_compiled_and_operation_by_operation(kind, compiled):
    report = replay(replace(CASES[kind].astype("float64"), steps=0), compiled=compiled)
    assert report.ok, str(report)


@pytest.fixture
def drawn(monkeypatch):
    """drawn(seed) returns the 200 cases of a search without comparing them, each with how JAX would run it."""

    def drawn(seed: int) -> list[tuple[Case, bool, str]]:
        found: list[tuple[Case, bool, str]] = []
        monkeypatch.setattr(search, "_compare", lambda *run: found.append(run) or rows)
        fuzz(cases=200, seed=seed)
        return found

    rows = list(replay(replace(CASES["cell"].astype("float64"), steps=0)).rows)
    return drawn


def test_the_same_seed_draws_the_same_cases_and_runs_them_the_same_way(drawn):
    one, again, other = drawn(5), drawn(5), drawn(6)
    assert len(one) == len(again) == 200
    assert all(same(first[0], second[0]) and first[1:] == second[1:] for first, second in zip(one, again, strict=True))
    assert sum(same(first[0], second[0]) for first, second in zip(one, other, strict=True)) < 20
    assert {type(case.spec).__name__ for case, *_ in one} == {"LSTMSpec", "CellSpec", "ForecasterSpec", "ByHandSpec"}


def test_another_seed_draws_other_numbers_in_every_case(drawn):
    one, other = drawn(5), drawn(6)
    weights = [{array.tobytes() for case, *_ in cases for array in case.weights.values()} for cases in (one, other)]
    assert len(weights[0] & weights[1]) < len(weights[0]) / 4


def test_no_steps_and_no_rows_are_drawn_for_every_kind(drawn):
    cases = [case for seed in range(3) for case, *_ in drawn(seed)]
    by_kind = {kind: [case for case in cases if isinstance(case.spec, kind)] for kind in KINDS}
    assert all(any(case.inputs.size == 0 and case.time for case in found) for found in by_kind.values())
    without_steps = {kind for kind, found in by_kind.items() if any(case.time == 0 for case in found)}
    assert without_steps == {ByHandSpec, LSTMSpec}  # a cell has one step, and a forecaster needs one
    ragged = [case for case in by_kind[LSTMSpec] if case.lengths is not None]
    assert any(case.lengths.size == 0 for case in ragged)
    assert sum(case.inputs.size == 0 for case in cases) < len(cases) / 3  # some, not most


def test_what_jax_has_compiled_is_released(monkeypatch, smaller):
    client = jax.devices()[0].client

    def kept_by(cases: int) -> int:
        jax.clear_caches()  # drop what other tests have compiled
        before = len(client.live_executables())
        fuzz(cases=cases, seed=1)
        return len(client.live_executables()) - before

    monkeypatch.setattr(search, "_CASES_KEPT", 3)
    assert kept_by(3) < 5 < kept_by(4)


def test_torch_has_its_threads_back_after_a_search(smaller):
    torch.set_num_threads(2)
    try:
        fuzz(cases=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_minutes_end_the_search(drawn, monkeypatch):
    """By a clock of its own, which goes on by a second whenever the search looks at it."""
    seconds = itertools.count()
    monkeypatch.setattr("lstm_parity.fuzz.search.time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))
    result = fuzz(cases=None, minutes=0.1)
    assert 0 < result.cases_run <= 6
    assert result.failure is None


# Planted faults


@pytest.fixture
def smaller(monkeypatch):
    """Restrict the search to random cases of small sizes, because a short search spends most of its time on large ones.

    As in a full search, no steps and no rows are among the sizes.
    """
    monkeypatch.setattr(search, "strata", lambda seed: [])
    monkeypatch.setattr(draw, "batch_classes", tuple)
    monkeypatch.setattr(draw, "hidden_classes", tuple)
    monkeypatch.setattr(draw, "_TIMES", (1, 2, 3, 0))
    monkeypatch.setattr(draw, "_BATCHES", (1, 2, 0))
    monkeypatch.setattr(draw, "_LARGEST_SIZE", 2)


@pytest.fixture
def float64_only(monkeypatch, smaller):
    monkeypatch.setattr(draw, "_DTYPES", ("float64",))


true_lstm = jax_lstm.lstm


def ignores_lengths_in_reverse(weights, inputs, state=None, **options):
    if options.get("lengths") is not None and describe(weights).bidirectional:
        options["lengths"] = None
    return true_lstm(weights, inputs, state, **options)


def wrong_bias_in_three_layers(weights, inputs, state=None, **options):
    if "bias_hh_l2" in weights:
        weights = {**weights, "bias_hh_l2": weights["bias_hh_l2"] * (1 + 1e-6)}
    return true_lstm(weights, inputs, state, **options)


def searched(monkeypatch, fault) -> tuple[Case, LSTMSpec]:
    monkeypatch.setattr(jax_lstm, "lstm", fault)
    result = fuzz(cases=100, seed=2)
    assert result.failure is not None
    assert result.report is not None
    assert not result.report.ok
    assert isinstance(result.failure.spec, LSTMSpec)
    return result.failure, result.failure.spec


def test_lengths_ignored_in_the_reverse_direction_are_found_and_made_small(monkeypatch, float64_only):
    case, spec = searched(monkeypatch, ignores_lengths_in_reverse)
    assert spec == LSTMSpec(1, 1, num_layers=1, bidirectional=True, bias=spec.bias)
    assert case.lengths is not None
    assert case.inputs.size == case.time == 1
    assert case.inputs.dtype == np.float64


def test_a_bias_wrong_in_three_layers_is_found_made_small_written_and_replayed(
    monkeypatch, cli, tmp_path, float64_only
):
    monkeypatch.setattr(jax_lstm, "lstm", wrong_bias_in_three_layers)
    ran = cli("fuzz", "--cases", 100, "--seed", 2, "--out", tmp_path)
    assert (ran.code, ran.err) == (1, "")
    path = tmp_path / "failing-case.npz"
    case, compiled, implementation = read_case(path)
    assert (compiled, implementation) == (False, "auto")
    assert case.spec == LSTMSpec(1, 1, num_layers=3)
    assert case.inputs.size == 1
    assert case_in_words(case) in ran.out
    verdict = next(line for line in ran.out.splitlines() if line.startswith("verdict: differ: "))
    assert "first in forward, outputs at [0, 0, 0], float64" in verdict
    assert f"lstm-parity check --case {path}" in ran.out

    again = cli("check", "--case", path)
    assert again.code == 1
    assert "first difference at step 0, batch row 0, unit 0: " in again.out
    assert verdict in again.out.splitlines()

    monkeypatch.setattr(jax_lstm, "lstm", true_lstm)  # the repair
    assert cli("check", "--case", path).code == 0


# Options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fuzz", "--cases", 0), "cases is 0, expected a positive whole number"),
        (("fuzz", "--minutes", -1), "minutes is -1.0, expected a positive number"),
        (("fuzz", "--minutes", "nan"), "minutes is nan, expected a positive number"),
        (("fuzz", "--seed", -1), "--seed is -1, expected a whole number, 0 or larger"),
        (("fuzz", "--minutes", 1, "--cases", 3), "--cases: give either --cases or --minutes"),
        (("fuzz", "--out", "case.txt"), "case.txt: the name of a case file must end in .npz"),
        (("fuzz", "--out", "/nowhere/case.npz"), "/nowhere/case.npz: there is no directory /nowhere"),
        (("check", "--case", "none.npz"), "none.npz: No such file or directory"),
        (("check", "--case", "case.txt"), "case.txt: the name of a case file must end in .npz"),
        (("check", "--case", "a.npz", "--steps", 3), "--steps: --case has its own settings: leave this out"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_refused_in_one_line(cli, arguments, message):
    ran = cli(*arguments)
    assert (ran.code, ran.out, ran.problems) == (2, "", [message])
