"""The check itself: every planted mistake fails and is named; right code passes, and the report says how close."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_lstm
import lstm_parity
from lstm_parity.compare.places import Location
from lstm_parity.compare.rows import Row, compare
from lstm_parity.compare.tolerance import eps, factor, group_scale
from lstm_parity.report.report import Report
from lstm_shared import BY_HAND, InputError, WeightsError
from lstm_shared.specs import ByHandSpec

GATES = ("lr", "pr", "p", "o")
WEIGHTS = dict(zip(BY_HAND, np.random.default_rng(11).standard_normal(12), strict=True))
PRICES = np.random.default_rng(12).standard_normal((2, 5))
true_trace = jax_lstm.by_hand.trace


def check() -> Report:
    return lstm_parity.check(WEIGHTS, PRICES, state=(0.3, -0.4), dtypes=["float64"], steps=2)


def plant(monkeypatch: pytest.MonkeyPatch, mistake) -> Report:
    """Run the check with a JAX backend that computes ``mistake`` instead of the trace."""
    monkeypatch.setattr("jax_lstm.by_hand.trace", mistake)
    return check()


def test_right_code_passes_and_says_how_close_it_was():
    report = check()
    assert report.ok
    assert report.first_divergence is None
    assert report.failures() == []
    assert {row.stage for row in report.rows} == {"forward", "loss", "gradient", "adam"}
    assert {row.sides for row in report.rows} == {("jax", "torch"), ("jax", "nn.LSTM")}
    gradients = {row.name for row in report.rows if row.stage == "gradient" and row.sides == ("jax", "torch")}
    assert gradients == {*BY_HAND, "inputs", "long_memory_0", "short_memory_0"}
    assert "agree" in report.verdict()
    assert all(f"{row.name}" in report.text(every_row=True) for row in report.rows)
    assert json.loads(report.to_json())["ok"] is True
    for name in ("jax", "torch", "python", "jax device", "torch float32 precision"):
        assert report.environment[name]


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("order", list(itertools.permutations(GATES))[1:], ids="-".join)
def test_every_wrong_gate_order_is_caught_in_the_forward_pass(monkeypatch, order):
    exchanged = {
        name: name.replace(gate, other) for gate, other in zip(GATES, order, strict=True) for name in _of_gate(gate)
    }
    report = plant(monkeypatch, lambda w, *a, **k: true_trace({n: w[exchanged[n]] for n in BY_HAND}, *a, **k))
    assert not report.ok
    assert report.first_divergence is not None
    assert report.first_divergence.stage == "forward"
    place = report.first_divergence.location
    assert isinstance(place, Location)  # both sides show their gates
    assert (place.step, place.row) == (0, 0)
    assert str(place) in report.failures()
    assert "differ" in report.verdict()


def _of_gate(gate: str) -> list[str]:
    return [name for name in BY_HAND if name[1:-1] == gate]


MISTAKES = {
    "the forget gate's bias in the input gate": lambda w, *a, **k: true_trace({**w, "bpr1": w["blr1"]}, *a, **k),
    "a bias dropped": lambda w, *a, **k: true_trace({**w, "bo1": w["bo1"] * 0}, *a, **k),
    "a bias doubled": lambda w, *a, **k: true_trace({**w, "bp1": w["bp1"] * 2}, *a, **k),
    "forget bias + 1": lambda w, *a, **k: true_trace({**w, "blr1": w["blr1"] + 1}, *a, **k),
    "time reversed": lambda w, prices, **k: true_trace(w, prices[..., ::-1], **k),
    "memories exchanged": lambda w, p, long_memory, short_memory: true_trace(w, p, short_memory, long_memory),
    "initial memories forgotten": lambda w, prices, **k: true_trace(w, prices),
    "the two weights of a gate exchanged": lambda w, *a, **k: true_trace(
        {**w, "wo1": w["wo2"], "wo2": w["wo1"]}, *a, **k
    ),
    "a stale state": lambda w, *a, **k: _stale(true_trace(w, *a, **k)),
    "one eps too many": lambda w, *a, **k: jax.tree.map(lambda x: x * (1 + 1e-13), true_trace(w, *a, **k)),
    "NaN": lambda w, *a, **k: jax.tree.map(lambda x: x.at[1, 3].set(jnp.nan), true_trace(w, *a, **k)),
}


def _stale(trace):
    return trace._replace(short_memory=jnp.roll(trace.short_memory, 1, axis=-1))


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught_in_the_forward_pass(monkeypatch, mistake):
    report = plant(monkeypatch, MISTAKES[mistake])
    assert not report.ok
    first = report.first_divergence
    assert first is not None
    assert first.stage == "forward"
    assert first.name in ("long_memory", "short_memory")
    assert f"forward, {first.name}" in report.verdict()


@pytest.mark.usefixtures("unoptimized")
def test_the_first_wrong_day_is_named(monkeypatch):
    def late(w, *a, **k):
        trace = true_trace(w, *a, **k)
        return trace._replace(short_memory=trace.short_memory.at[1, 3:].add(1e-9))

    first = plant(monkeypatch, late).first_divergence
    assert first is not None
    assert (first.name, first.where) == ("short_memory", (1, 3))


def test_a_nan_on_both_sides_fails():
    broken = {"a": np.array([1.0, np.nan])}
    (row,) = compare("forward", broken, broken, dtype="float64", sides=("jax", "torch"), allowed=32)
    assert not row.ok
    assert "1 of 2 values are NaN" in row.problem


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("name", [*BY_HAND, "inputs"])
def test_one_gradient_off_by_a_hundred_tolerances_is_named(monkeypatch, name):
    """The forward pass is right; only one derivative is wrong."""
    wrong = 1 + 100 * 32 * np.finfo(np.float64).eps

    @jax.custom_vjp
    def bent(x):
        return x

    bent.defvjp(lambda x: (x, None), lambda _, g: (g * wrong + 100 * 32 * np.finfo(np.float64).eps,))

    def mistake(w, prices, **k):
        if name == "inputs":
            return true_trace(w, bent(prices), **k)
        return true_trace({**w, name: bent(w[name])}, prices, **k)

    report = plant(monkeypatch, mistake)
    first = report.first_divergence
    assert first is not None
    assert first.stage == "gradient"
    against_torch = [
        row.name for row in report.rows if not row.ok and row.stage == "gradient" and row.sides[1] == "torch"
    ]
    assert against_torch == [name]
    gate = {"lr": ", forget gate", "pr": ", input gate", "p": ", candidate gate", "o": ", output gate"}.get(
        name[1:-1], ""
    )
    assert report.location.startswith(f"first difference in the gradient of {name}{gate}")


@pytest.mark.usefixtures("unoptimized")
def test_a_wrong_optimizer_is_named_with_its_first_step(monkeypatch):
    monkeypatch.setattr("lstm_parity.sides.jax_backend.LEARNING_RATE", 1.001e-3)
    report = check()
    first = report.first_divergence
    assert first is not None
    assert (first.stage, first.where[0]) == ("adam", 0)
    assert "adam step 1" in report.verdict()


def test_a_missing_array_and_a_wrong_shape_are_failed_rows():
    there, other = {"a": np.ones(2), "b": np.ones(3)}, {"a": np.ones((2, 1)), "c": np.ones(1)}
    rows = compare("forward", there, other, dtype="float64", sides=("jax", "torch"), allowed=1.0)
    assert [row.ok for row in rows] == [False, False, False]
    assert {row.problem for row in rows} == {"jax has shape (2,), torch (2, 1)", "jax has no c", "torch has no b"}


def test_nothing_compared_is_no_agreement():
    assert not Report((), {}, 0).ok


def test_below_float64_each_side_is_shown_with_its_distance_from_the_truth():
    report = lstm_parity.check(WEIGHTS, PRICES, dtypes=["float32"], steps=2)
    assert report.ok
    rows = [row for row in report.rows if row.sides == ("jax", "torch")]
    assert all(row.errors is not None and max(row.errors) < 32 for row in rows)
    assert any(max(row.errors or ()) > 0.1 for row in rows)  # float32 does round


def test_the_scale_is_that_of_the_group_and_at_least_one():
    assert group_scale({"a": np.array([0.1]), "b": np.array([-0.2])}) == 1.0
    assert group_scale({"a": np.array([0.1]), "b": np.array([-7.0, np.inf])}) == 7.0


@pytest.mark.parametrize(("days", "k"), [(1, 32), (4, 32), (5, 128), (64, 128), (128, 256)])
def test_the_factor_is_that_of_the_policy(days, k):
    assert factor(ByHandSpec(), days) == k


@pytest.mark.parametrize(("dtype", "value"), [("float64", 2**-52), ("float32", 2**-23), ("bfloat16", 2**-7)])
def test_eps_is_that_of_the_dtype(dtype, value):
    assert eps(dtype) == value


def test_worst_rows_come_first_and_numbers_stay_numbers_in_json():
    rows = [
        Row("forward", str(used), "float64", ("a", "b"), float("nan"), 1.0, used, 0.0) for used in (0.1, np.inf, 0.5)
    ]
    report = Report(tuple(rows), {}, 0)
    assert [row.name for row in report.worst_first] == ["inf", "0.5", "0.1"]
    assert json.loads(report.to_json())["rows"][1]["used"] is None


def test_wrong_arguments_raise_what_the_backends_raise():
    with pytest.raises(WeightsError, match="wlr1 is missing"):
        lstm_parity.check(dict.fromkeys(BY_HAND[1:], 1.0))
    with pytest.raises(InputError, match="single number"):
        lstm_parity.check(WEIGHTS, 3.0)
