"""The tolerance depends on the model: right code agrees however ill conditioned; what cannot be judged is undecided."""

import json

import numpy as np
import pytest

import jax_lstm
import lstm_parity
from lstm_parity.compare.conditioning import judged_steps, response
from lstm_parity.compare.observations import judge
from lstm_parity.compare.perturbations import one_ulp_away, reordered
from lstm_parity.compare.rows import Row
from lstm_parity.compare.tolerance import RESPONSE_FACTOR, adam_judges, adam_tolerance, eps, limit
from lstm_parity.report.report import Report
from lstm_parity.sides.case import make_case
from lstm_parity.sides.port import Port
from lstm_parity.sides.torch_backend import observe
from lstm_shared import init_by_hand, init_forecaster, init_lstm, save

# At these sizes, a gain of 20 can be judged over about 45 steps, a gain of 12 over about 100, and a gain of 6 over all.
HIDDEN, INPUT, STEPS = 16, 8, 120


def with_gain(gain: float, *, seed: int = 0, **options) -> dict[str, np.ndarray]:
    """An LSTM whose recurrent weights are ``gain`` times as large as those that torch draws."""
    weights = init_lstm(INPUT, HIDDEN, dtype=np.float64, seed=seed, **options)
    return {name: array * (gain if "weight_hh" in name else 1) for name, array in weights.items()}


def inputs_of(seed: int, steps: int = STEPS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((steps, 2, INPUT))


# The same model, moved by a rounding error

CASES = {
    "two layers, both directions, projected": (init_lstm(5, 4, num_layers=2, bidirectional=True, proj_size=3), {}),
    "batch first, ragged": (init_lstm(5, 4, num_layers=2), {"batch_first": True, "lengths": [5, 3, 7]}),
    "unbatched": (init_lstm(5, 4, bidirectional=True), {"inputs": np.ones((6, 5))}),
    "a cell": ({n.removesuffix("_l0"): a for n, a in init_lstm(5, 4).items()}, {}),
    "an unbatched cell": ({n.removesuffix("_l0"): a for n, a in init_lstm(5, 4).items()}, {"inputs": np.ones(5)}),
    "a forecaster": (init_forecaster(5, 4, 2, num_layers=2), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_units_in_another_order_are_the_same_model(name):
    weights, options = CASES[name]
    case = make_case(weights, steps=2, draw_state=True, **options).astype("float64")
    expected = observe(case)
    found = reordered(case, 1)
    assert found is not None
    other, back = found
    assert not np.array_equal(other.inputs, case.inputs) or "inputs" in options
    for stage, arrays in back(observe(other)).items():
        for array_name, array in arrays.items():
            np.testing.assert_allclose(array, expected[stage][array_name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_one_ulp_away_is_the_neighbour(dtype):
    case = make_case(init_lstm(5, 4), draw_state=True).astype(dtype)
    moved = one_ulp_away(case, 0)
    for name, array in case.weights.items():
        assert moved.weights[name].dtype == array.dtype
        assert (moved.weights[name] != array).all()
        apart = np.abs(moved.weights[name].astype(float) - array.astype(float))
        assert (apart <= eps(dtype) * np.abs(array.astype(float))).all()


def test_by_hand_there_is_one_unit_and_so_no_other_order():
    assert reordered(make_case(init_by_hand(0)), 0) is None


def test_the_response_never_falls_along_the_steps_of_a_direction():
    case = make_case(with_gain(6, bidirectional=True), inputs_of(1), steps=0).astype("float64")
    moves = response(case, observe(case), observe)["forward"]["outputs"]
    assert (np.diff(moves[:, 0, 0]) >= 0).all()
    assert (np.diff(moves[:, 0, -1]) <= 0).all()
    assert moves[-1, 0, 0] > 10 * moves[0, 0, 0]


def test_the_first_steps_of_a_case_are_those_of_the_whole():
    case = make_case(with_gain(1), inputs_of(1), lengths=[120, 20], steps=0).astype("float64")
    part = observe(case.first_steps(30))["forward"]["outputs"]
    np.testing.assert_allclose(part, observe(case)["forward"]["outputs"][:30], rtol=0, atol=1e-15)


def test_the_longest_judged_prefix_is_the_longest():
    case = make_case(with_gain(20), inputs_of(2), steps=0).astype("float64")
    steps = judged_steps(case, observe, "float64")
    assert 0 < steps < STEPS
    longer = case.first_steps(steps + 1)
    result = observe(longer)
    moves = response(longer, result, observe)
    scale = {stage: max(1.0, *(np.abs(a).max() for a in arrays.values())) for stage, arrays in result.items()}
    assert any((moves[s][n] > limit("float64") * scale[s]).any() for s in ("forward", "gradient") for n in result[s])


# Right code


@pytest.mark.parametrize("gain", [1, 6, 12, 20])
def test_right_code_agrees_however_its_weights_are(gain):
    report = lstm_parity.check(with_gain(gain), inputs_of(gain), dtypes=["float64"])
    assert report.ok, str(report)


def test_the_report_says_how_far_an_ill_conditioned_model_was_judged():
    report = lstm_parity.check(with_gain(20), inputs_of(2), dtypes=["float64"])
    assert report.ok, str(report)
    (first,) = {row.setting for row in report.rows} - {"", "without a state"}
    steps = int(first.removeprefix("first ").removesuffix(" steps"))
    assert f"everything was judged over the first {steps} of {STEPS} steps" in str(report)
    stages = {row.stage for row in report.rows if row.setting == first}
    assert {"forward", "loss", "gradient", "adam"} == stages
    assert all(row.judged == 1 for row in report.rows if row.setting == first and row.stage != "adam")
    assert json.loads(report.to_json())["notes"]


def test_where_not_even_one_step_can_be_judged_the_verdict_is_undecided(tmp_path, cli):
    """Large numbers that cancel, so that only rounding errors are left."""
    rng = np.random.default_rng(0)
    weights = init_lstm(20, 2, dtype=np.float64)
    weights["weight_ih_l0"] = 1e12 * rng.standard_normal((8, 20))
    nothing_comes_of_it = np.linalg.svd(weights["weight_ih_l0"])[2][8:]  # the null space
    inputs = rng.standard_normal((4, 2, 12)) @ nothing_comes_of_it
    report = lstm_parity.check(weights, inputs, dtypes=["float64"], steps=0)
    assert report.verdict_word == "undecided", str(report)
    assert "no step can be judged" in report.verdict()
    save(tmp_path / "weights.npz", weights)
    np.savez(tmp_path / "inputs.npz", inputs=inputs)
    arguments = ["--inputs", tmp_path / "inputs.npz", "--dtypes", "float64", "--steps", "0"]
    ran = cli("check", tmp_path / "weights.npz", *arguments)
    assert ran.code == 3
    assert ran.out.split("\n\n")[1].startswith("verdict: undecided: ")


# Wrong code


@pytest.mark.parametrize("gain", [6, 12, 20])
@pytest.mark.parametrize("off", [1e-6, 1e-9])
def test_a_mistake_in_an_ill_conditioned_model_is_caught_in_the_steps_that_tell(gain, off):
    def port(params, inputs, state=None):
        weight = params["weight_hh_l0"]
        return jax_lstm.lstm({**params, "weight_hh_l0": weight.at[20, 3].multiply(1 + off)}, inputs, state)

    report = lstm_parity.check(with_gain(gain), inputs_of(gain), candidate=port, dtypes=["float64"])
    assert report.verdict_word == "differ", str(report)


def test_one_wrong_gradient_of_an_ill_conditioned_model_is_caught_in_the_first_steps():
    import jax

    @jax.custom_vjp
    def bent(x):
        return x

    bent.defvjp(lambda x: (x, None), lambda _, g: (g * (1 + 1e-3),))

    def port(params, inputs, state=None):
        return jax_lstm.lstm({**params, "bias_ih_l0": bent(params["bias_ih_l0"])}, inputs, state)

    report = lstm_parity.check(with_gain(20), inputs_of(2), candidate=Port(port, framework="jax"), dtypes=["float64"])
    assert {(row.stage, row.name) for row in report.rows if not row.ok} == {("gradient", "bias_ih_l0")}


def test_where_rounding_errors_decide_the_outputs_no_gradient_is_judged():
    case = make_case(with_gain(20), inputs_of(0), steps=2, draw_state=True).astype("float64")
    rows = judge(
        case,
        observe(one_ulp_away(case, 99)),
        observe(case),
        sides=("a", "b"),
        dtype="float64",
        truth=None,
        observe=observe,
    )
    by_stage = {stage: [row.judged for row in rows if row.stage == stage] for stage in ("forward", "gradient", "adam")}
    assert 0.2 < rows[0].judged < 0.8  # only the first steps of the outputs are judged
    assert by_stage["gradient"] == [0.0] * 7
    assert by_stage["adam"] == [0.0] * 4
    assert {row.adam_steps for row in rows if row.stage == "adam"} == {(0, 2)}


def test_nan_differs_wherever_it_stands():
    def port(params, inputs, state=None):
        outputs, states = jax_lstm.lstm(params, inputs, state)
        return outputs.at[-1, 0, 0].set(np.nan), states

    report = lstm_parity.check(with_gain(20), inputs_of(2), candidate=Port(port, framework="jax"), dtypes=["float64"])
    assert report.verdict_word == "differ"


# Adam's steps


def test_adams_tolerance_is_that_of_a_gradient_divided_by_its_own_size():
    gradients = np.array([[1.0, 1e-6], [1.0, 1e-6]])
    tolerance = adam_tolerance(gradients, np.array([1e-12, 1e-12]), 0.0)
    np.testing.assert_allclose(tolerance[:, 0], [1e-15, 2e-15])
    np.testing.assert_allclose(tolerance[:, 1], [1e-9, 2e-9], rtol=1e-6)
    assert adam_judges(tolerance).all()


def test_a_gradient_of_rounding_errors_is_not_judged_and_its_weight_still_may_not_run_away():
    tolerance = adam_tolerance(np.full((2, 1), 1e-16), np.array([1e-3, 1e-3]), 0.0)
    np.testing.assert_allclose(tolerance[:, 0], [4e-3, 8e-3])
    assert not adam_judges(tolerance).any()


def test_the_report_counts_adams_steps_that_were_judged():
    report = lstm_parity.check(with_gain(12), inputs_of(2, 30), dtypes=["float32"])
    taken = {row.adam_steps for row in report.rows if row.adam_steps is not None}
    assert all(total == 10 for _, total in taken)
    if any(judged < total for judged, total in taken):
        (note,) = (note for note in report.notes if "Adam step" in note)
        assert note.endswith(
            "rounding errors alone move more than a tenth of the weights more than half as far as Adam does"
        )
        assert note in str(report)


# The policy


@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-6), ("float32", 1.1920929e-3), ("bfloat16", 0.5)])
def test_the_limit_is_that_of_the_policy(dtype, allowed):
    assert limit(dtype) == pytest.approx(allowed)


def test_a_planted_difference_of_ten_tolerances_is_caught_in_an_ill_conditioned_array():
    case = make_case(with_gain(6), inputs_of(6), steps=0).astype("float64")
    moved = response(case, observe(case), observe)["forward"]["outputs"]
    k = 64 * eps("float64")
    tolerance = max(k, RESPONSE_FACTOR * moved[40, 1, 3])
    assert tolerance > k

    def port(params, inputs, state=None):
        outputs, states = jax_lstm.lstm(params, inputs, state)
        return outputs.at[40, 1, 3].add(10 * tolerance), states

    state = (np.zeros((1, 2, HIDDEN)),) * 2
    candidate = Port(port, framework="jax")
    report = lstm_parity.check(with_gain(6), inputs_of(6), state=state, candidate=candidate, dtypes=["float64"])
    assert [(row.stage, row.name) for row in report.rows if not row.ok] == [("forward", "outputs")]


def test_three_verdicts_and_their_exit_codes():
    good = Row("forward", "outputs", "float64", ("a", "b"), 0.0, 1.0, 0.1, 0.0)
    bad = Row("forward", "outputs", "float64", ("a", "b"), 2.0, 1.0, 2.0, 0.0)
    reports = [Report((good,), {}, 0), Report((bad,), {}, 0), Report((good,), {}, 0, undecided=("nobody knows",))]
    assert [(r.verdict_word, r.ok, r.exit_code) for r in reports] == [
        ("agree", True, 0),
        ("differ", False, 1),
        ("undecided", False, 3),
    ]
    assert Report((bad,), {}, 0, undecided=("nobody knows",)).verdict_word == "differ"
