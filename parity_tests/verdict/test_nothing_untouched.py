"""By default a check touches everything: it draws states, runs all paths, and reports what the inputs cannot show."""

import numpy as np
import pytest

import jax_lstm
import lstm_parity
from lstm_parity.compare.sensitivity import audit
from lstm_parity.sides.case import DRAWN_BATCH, DRAWN_TIME, make_case
from lstm_parity.sides.torch_backend import observe
from lstm_parity.verdict.variants import variants
from lstm_shared import init_forecaster, init_lstm
from torch_lstm.explicit import run

RNG = np.random.default_rng(3)
WEIGHTS = init_lstm(5, 4, dtype=np.float64)
CELL = {name.removesuffix("_l0"): array for name, array in WEIGHTS.items()}


def test_states_are_drawn_and_a_run_without_one_is_compared_as_well():
    report = lstm_parity.check(WEIGHTS, RNG.standard_normal((3, 2, 5)), dtypes=["float64"], steps=0)
    assert report.ok
    assert {"", "without a state"} == {row.setting for row in report.rows}
    assert {row.name for row in report.rows if row.stage == "gradient"} == {*WEIGHTS, "inputs", "h_0", "c_0"}


@pytest.mark.parametrize("weights", [WEIGHTS, CELL, init_forecaster(5, 4)], ids=["LSTM", "cell", "forecaster"])
def test_a_drawn_state_is_nowhere_zero(weights):
    state = make_case(weights, draw_state=True).state
    assert set(state) == {"h", "c"}
    assert all((array != 0).all() for array in state.values())
    assert (np.abs(state["h"]) < 1).all()


def test_a_port_that_ignores_the_state_it_is_given_differs():
    report = lstm_parity.check(WEIGHTS, candidate=lambda params, inputs, state=None: jax_lstm.lstm(params, inputs))
    assert report.verdict_word == "differ"


def test_a_port_that_is_wrong_only_without_a_state_differs():
    def port(params, inputs, state=None):
        if state is None:
            inputs = inputs[::-1]
        return jax_lstm.lstm(params, inputs, state)

    report = lstm_parity.check(WEIGHTS, candidate=port)
    assert {row.setting for row in report.rows if not row.ok} == {"without a state"}


def test_a_port_that_takes_no_state_is_told_what_that_leaves_open():
    report = lstm_parity.check(WEIGHTS, candidate=lambda params, inputs: jax_lstm.lstm(params, inputs))
    assert report.ok, str(report)
    assert "the port takes no state" in str(report)


def test_a_state_that_is_zero_tells_nothing_about_a_port_and_the_report_says_so():
    state = (np.zeros((1, 2, 4)), np.zeros((1, 2, 4)))
    options = {"inputs": RNG.standard_normal((6, 2, 5)), "state": state}
    report = lstm_parity.check(WEIGHTS, candidate=jax_lstm.lstm, **options)
    assert report.ok
    assert "the given state is zero, so it does not show whether the port uses its state" in report.notes


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, {"1 row", "32 rows", "lengths and resets"}),
        ({"bidirectional": True}, {"1 row", "32 rows", "lengths"}),
    ],
    ids=["one direction", "both"],
)
def test_drawn_checks_of_our_backend_also_run_other_rows_lengths_and_resets(options, rows):
    case = make_case(init_lstm(5, 4, **options), draw_state=True)
    assert {words for words, _ in variants(case)} == rows


def test_a_wide_model_is_also_run_on_as_many_rows_as_its_fast_forward_pass_takes():
    case = make_case(init_lstm(5, 64), draw_state=True)
    assert "64 rows" in {words for words, _ in variants(case)}


@pytest.mark.parametrize("hidden", [4, 64])
def test_every_drawn_case_has_several_chunks_and_a_remainder(hidden):
    case = make_case(init_lstm(5, hidden), draw_state=True)
    cases = [case, *(other for _, other in variants(case))]
    for other in cases:
        chunk = jax_lstm.recurrences.choose.chunk_steps(other.inputs.shape[1])
        assert other.time > 2 * chunk
        assert other.time % chunk
    assert (case.time, case.inputs.shape[1]) == (DRAWN_TIME, DRAWN_BATCH)


# What the inputs cannot show


def torch_cell(params, inputs):
    """PyTorch's own computation, so it is right; but it takes no state."""
    outputs, (_, c), _ = run({f"{name}_l0": array for name, array in params.items()}, inputs[None])
    return outputs[0], c[0]


def test_a_cell_without_a_state_is_undecided_because_nothing_touches_its_recurrence():
    report = lstm_parity.check(CELL, candidate=torch_cell)
    assert (report.verdict_word, report.ok, report.exit_code) == ("undecided", False, 3)
    assert report.verdict().startswith("undecided: these inputs cannot tell whether weight_hh is used")
    assert "what the forget gate does with weight_ih, bias_ih, bias_hh" in str(report)


UNSEEN = {
    "one step from zeros": ({"inputs": np.ones((1, 2, 5)), "state": (np.zeros((1, 2, 4)),) * 2}, "weight_hh_l0"),
    "no steps": ({"inputs": np.zeros((0, 2, 5))}, "weight_ih_l0"),
    "no rows": ({"inputs": np.zeros((3, 0, 5))}, "do not reach any weight"),
    "lengths of zero": ({"inputs": np.ones((3, 2, 5)), "lengths": [0, 0]}, "weight_ih_l0"),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_inputs_that_reach_too_little_are_undecided(case):
    options, unseen = UNSEEN[case]
    report = lstm_parity.check(WEIGHTS, dtypes=["float64"], steps=0, **options)
    assert report.verdict_word == "undecided"
    assert any(unseen in sentence for sentence in report.undecided)


MODELS = {
    "one layer": WEIGHTS,
    "two layers, both directions, projected": init_lstm(5, 4, num_layers=2, bidirectional=True, proj_size=3),
    "no bias": init_lstm(5, 4, bias=False),
    "biases of zero": {n: array * (0 if "bias" in n else 1) for n, array in WEIGHTS.items()},
    "saturated gates": {n: array + (30 if n == "bias_ih_l0" else 0) for n, array in WEIGHTS.items()},
    "a cell": CELL,
    "a forecaster": init_forecaster(5, 4, 2),
}


@pytest.mark.parametrize("model", [name for name in MODELS if name != "saturated gates"])
def test_nothing_that_a_model_uses_is_listed_as_unseen(model):
    case = make_case(MODELS[model], draw_state=True, steps=0).astype("float64")
    assert all(one.seen for one in audit(case, observe(case), observe))


def test_a_saturated_gate_is_seen_by_moving_it_far():
    """Its gradient is 1e-13 of the others, but without the gate the outputs change."""
    case = make_case(MODELS["saturated gates"], draw_state=True, steps=0).astype("float64")
    found = {(one.name, one.gate): one for one in audit(case, observe(case), observe)}
    assert found["bias_ih_l0", "forget gate"].seen
