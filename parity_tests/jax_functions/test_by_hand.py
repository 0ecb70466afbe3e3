"""The LSTM by hand: both backends give the articles' figures and agree with each other, and JAX's transforms work."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jax_lstm
import lstm_parity
import lstm_shared
import torch_lstm
from jax_lstm import by_hand
from lstm_parity.compare.observations import judge
from lstm_parity.sides.case import make_case
from lstm_parity.sides.jax_backend import observe as observe_jax
from lstm_parity.sides.torch_backend import observe as observe_torch
from lstm_parity.training import backends
from lstm_shared import (
    BY_HAND,
    COMPANY_PRICES,
    PUBLISHED_INIT,
    PUBLISHED_PREDICTIONS,
    PUBLISHED_TRAINED,
    WORKED_EXAMPLE_INPUT,
    WORKED_EXAMPLE_MEMORIES,
    WORKED_EXAMPLE_RESULT,
    WORKED_EXAMPLE_WEIGHTS,
    InputError,
    WeightsError,
    init_by_hand,
)

F64_TRAINED = {name: np.float64(value) for name, value in PUBLISHED_TRAINED.items()}


def random_weights(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Draw distinct, non-zero weights and biases, so that a swap of two gates cannot go unnoticed."""
    draw = np.random.default_rng(seed).standard_normal(12) * scale
    return {name: np.asarray(value) for name, value in zip(BY_HAND, draw, strict=True)}


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_worked_example_has_every_figure_of_the_article(backend: backends.Backend):
    weights = {name: np.float64(value) for name, value in WORKED_EXAMPLE_WEIGHTS.items()}
    trace = backends.trace(backend, weights, np.array([WORKED_EXAMPLE_INPUT]), *WORKED_EXAMPLE_MEMORIES)
    for name, figure in WORKED_EXAMPLE_RESULT.items():
        assert abs(getattr(trace, name)[0] - figure) <= 0.51e-8, name


def test_worked_example_through_the_unit_alone():
    with jax.enable_x64(True):
        memories = jax_lstm.lstm_unit(WORKED_EXAMPLE_WEIGHTS, WORKED_EXAMPLE_INPUT, *WORKED_EXAMPLE_MEMORIES)
    module = torch_lstm.LSTMByHand({name: np.float64(value) for name, value in WORKED_EXAMPLE_WEIGHTS.items()})
    with torch.no_grad():
        theirs = module.lstm_unit(WORKED_EXAMPLE_INPUT, *WORKED_EXAMPLE_MEMORIES)
    for ours, reference, name in zip(memories, theirs, ("long_memory", "short_memory"), strict=True):
        assert abs(float(ours) - WORKED_EXAMPLE_RESULT[name]) <= 0.51e-8
        assert abs(float(reference) - WORKED_EXAMPLE_RESULT[name]) <= 0.51e-8


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_published_trained_weights_predict_what_facts_say(backend: backends.Backend):
    predictions = backends.predict(backend, F64_TRAINED, COMPANY_PRICES)
    np.testing.assert_allclose(predictions, [0.00639315824, 0.96939346164], rtol=0, atol=0.51e-11)


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_published_initial_weights_predict_what_facts_say(backend: backends.Backend):
    weights = {name: np.float64(value) for name, value in PUBLISHED_INIT.items()}
    predictions = backends.predict(backend, weights, COMPANY_PRICES)
    np.testing.assert_allclose(predictions, PUBLISHED_PREDICTIONS[0], rtol=0, atol=0.51e-7)


@pytest.mark.parametrize("days", [4, 64])
def test_a_thousand_random_dictionaries_agree_in_float64(days: int):
    drawn = [random_weights(seed) for seed in range(1000)]
    stacked = {name: np.stack([weights[name] for weights in drawn]) for name in BY_HAND}
    prices = np.random.default_rng(days).standard_normal((1000, days))
    with jax.enable_x64(True):
        value_and_grad = jax.jit(jax.vmap(jax.value_and_grad(by_hand.predict, argnums=(0, 1))))
        ours, (by_weight, by_price) = value_and_grad(stacked, prices)
    module = torch_lstm.LSTMByHand(drawn[0])

    def predict(weights: dict[str, torch.Tensor], prices: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, weights, (prices,))

    tensors = ({name: torch.tensor(array) for name, array in stacked.items()}, torch.tensor(prices))
    reference = torch.func.vmap(predict)(*tensors).detach().numpy()
    their_weight, their_price = torch.func.vmap(torch.func.grad(predict, argnums=(0, 1)))(*tensors)

    allowed = {4: 32, 64: 128}[days] * np.finfo(np.float64).eps
    assert np.max(np.abs(np.asarray(ours) - reference)) <= allowed
    theirs = np.concatenate([np.stack([their_weight[name].numpy() for name in BY_HAND]), their_price.numpy().T])
    gradients = np.concatenate([np.stack([by_weight[name] for name in BY_HAND]), np.asarray(by_price).T])
    scale = np.maximum(1, np.abs(theirs).max(axis=0))
    assert np.max(np.abs(gradients - theirs) / scale) <= allowed


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("days", "series", "memories"),
    [
        (1, (), (0.0, 0.0)),
        (4, (2,), (0.0, 0.0)),
        (7, (), (0.3, -0.8)),
        (64, (3,), (-1.5, 0.25)),
        (5, (2, 3), (0.5, 0.1)),
    ],
)
def test_check_agrees_for_any_number_of_days_series_and_memories(dtype, days, series, memories):
    prices = np.random.default_rng(days).standard_normal((*series, days))
    report = lstm_parity.check(random_weights(days), prices, state=memories, dtypes=[dtype], steps=3)
    assert all(row.ok for row in report.rows), str(report)
    # One day with zero memories says nothing about the forget gate.
    assert report.verdict_word == ("undecided" if days == 1 else "agree")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    days=st.integers(1, 64),
    magnitude=st.sampled_from([1.0, 1.0, 10.0, 1e3, 1e6]),
    memories=st.tuples(st.floats(-2, 2), st.floats(-1, 1)),
)
@example(seed=6825, days=23, magnitude=1e3, memories=(0.0, 0.0))  # saturated: 1 - tanh² is off by eps, times 2,500
def test_drawn_weights_and_prices_agree_within_the_policy(seed, days, magnitude, memories):
    prices = np.random.default_rng(seed).standard_normal(days) * magnitude
    case = make_case(random_weights(seed), prices, state=memories, steps=0, seed=seed).astype("float64")
    rows = judge(
        case,
        observe_jax(case),
        observe_torch(case),
        sides=("jax", "torch"),
        dtype="float64",
        truth=None,
        observe=observe_torch,
    )
    assert all(row.ok for row in rows), [row for row in rows if not row.ok]


def test_chaotic_weights_stay_finite_and_near_the_exact_result():
    """Weights ten times larger are chaotic: two correct backends differ, so each is judged against mpmath alone."""
    weights, prices = random_weights(3, scale=10.0), np.random.default_rng(3).standard_normal(6)
    with mpmath.workdps(50):
        exact_long, exact_short = mpmath.mpf(0), mpmath.mpf(0)
        number = {name: mpmath.mpf(float(value)) for name, value in weights.items()}
        for price in map(mpmath.mpf, prices.tolist()):
            pre = {
                gate: exact_short * number[f"w{gate}1"] + price * number[f"w{gate}2"] + number[f"b{gate}1"]
                for gate in ("lr", "pr", "p", "o")
            }
            sigmoid = {gate: 1 / (1 + mpmath.exp(-pre[gate])) for gate in ("lr", "pr", "o")}
            exact_long = exact_long * sigmoid["lr"] + sigmoid["pr"] * mpmath.tanh(pre["p"])
            exact_short = mpmath.tanh(exact_long) * sigmoid["o"]
    for backend in backends.BACKENDS:
        result = backends.predict(backend, weights, prices)
        assert np.isfinite(result)
        assert abs(result - float(exact_short)) < 1e-12


@pytest.mark.usefixtures("x64")
def test_gradient_is_the_finite_difference():
    weights, prices = random_weights(1), np.random.default_rng(1).standard_normal(5)
    gradient = jax.grad(by_hand.predict)(weights, prices)
    for name in BY_HAND:
        above, below = ({**weights, name: weights[name] + step} for step in (1e-6, -1e-6))
        difference = (by_hand.predict(above, prices) - by_hand.predict(below, prices)) / 2e-6
        np.testing.assert_allclose(gradient[name], difference, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.usefixtures("x64")
def test_scan_is_the_python_loop():
    weights, prices = random_weights(2), np.random.default_rng(2).standard_normal(9)
    long_memory, short_memory = jnp.asarray(0.4), jnp.asarray(-0.2)
    for price in prices:
        long_memory, short_memory = by_hand.lstm_unit(weights, price, long_memory, short_memory)
    np.testing.assert_allclose(by_hand.predict(weights, prices, 0.4, -0.2), short_memory, rtol=0, atol=4e-16)
    assert by_hand.trace(weights, prices, 0.4, -0.2).long_memory[-1] == pytest.approx(float(long_memory), abs=4e-16)


@pytest.mark.usefixtures("x64")
def test_jit_is_eager():
    weights, prices = random_weights(4), np.random.default_rng(4).standard_normal((2, 6))
    batch = (prices, np.array([0.0, 1.0]))
    value = jax.value_and_grad(by_hand.loss, has_aux=True)
    compiled = jax.jit(value)(weights, batch)
    with jax.disable_jit():
        eager = value(weights, batch)
    for one, other in zip(jax.tree.leaves(compiled), jax.tree.leaves(eager), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)


@pytest.mark.usefixtures("x64")
def test_every_transform_works():
    weights, prices = random_weights(5), np.random.default_rng(5).standard_normal(4)
    gradient = jax.grad(by_hand.predict)(weights, prices)
    one = {name: jnp.ones(()) for name in BY_HAND}
    _, tangent = jax.jvp(lambda w: by_hand.predict(w, prices), (weights,), (one,))
    np.testing.assert_allclose(tangent, sum(gradient.values()), rtol=1e-13)
    hessian = jax.hessian(by_hand.predict)(weights, prices)
    np.testing.assert_allclose(hessian["wlr1"]["wo2"], hessian["wo2"]["wlr1"], rtol=1e-12)
    np.testing.assert_allclose(jax.grad(jax.checkpoint(by_hand.predict))(weights, prices)["wp1"], gradient["wp1"])
    exported = jax.export.export(jax.jit(by_hand.predict))({n: jnp.asarray(w) for n, w in weights.items()}, prices)
    again = jax.export.deserialize(exported.serialize())
    np.testing.assert_allclose(again.call(weights, prices), by_hand.predict(weights, prices), rtol=1e-15)


def test_no_days_keep_the_initial_memories():
    none = np.zeros((3, 0), np.float32)
    assert by_hand.predict(PUBLISHED_INIT, none, 0.5, 0.25).tolist() == [0.25] * 3
    assert torch_lstm.LSTMByHand(PUBLISHED_INIT)(none, 0.5, 0.25).tolist() == [0.25] * 3
    assert by_hand.trace(PUBLISHED_INIT, none).short_memory.shape == (3, 0)
    assert torch_lstm.LSTMByHand(PUBLISHED_INIT).trace(none).short_memory.shape == (3, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_computation_runs_in_the_dtype_of_the_weights(dtype):
    weights = init_by_hand(dtype=dtype)
    with jax.enable_x64(True):
        assert by_hand.predict(weights, [0.5, 1.0]).dtype == dtype
    assert torch_lstm.LSTMByHand(weights)(np.array([0.5, 1.0])).detach().numpy().dtype == dtype


def test_the_state_dict_is_the_shared_dictionary():
    weights = init_by_hand(7)
    state = torch_lstm.LSTMByHand(weights).state_dict()
    assert tuple(state) == BY_HAND
    assert all(state[name].shape == () and float(state[name]) == weights[name] for name in BY_HAND)


def test_initial_weights_are_normal_with_zero_biases():
    drawn = [init_by_hand(seed) for seed in range(500)]
    values = np.array([[weights[name] for name in BY_HAND if name.startswith("w")] for weights in drawn])
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05
    assert all(weights[name] == 0 for weights in drawn for name in BY_HAND if name.startswith("b"))


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.float32(0.5),), "prices is a single number"),
        ((np.array([0, 1]),), "prices holds .*int64, expected floating-point"),
        (
            (np.zeros((2, 4)), np.zeros(3)),
            r"long_memory has shape \(3,\), expected \(\) or one value per series, \(2,\)",
        ),
        ((np.zeros(4), 0.0, np.zeros((1,))), r"short_memory has shape \(1,\)"),
    ],
)
def test_wrong_inputs_are_named(backend, arguments, message):
    predict = torch_lstm.LSTMByHand(PUBLISHED_INIT) if backend == "torch" else partial(by_hand.predict, PUBLISHED_INIT)
    with jax.enable_x64(True), pytest.raises(InputError, match=message):
        predict(*arguments)


@pytest.mark.parametrize("make", [torch_lstm.LSTMByHand, lambda weights: by_hand.predict(weights, [0.5])])
def test_wrong_weights_are_named_all_at_once(make):
    weights = {name: np.float32(1) for name in BY_HAND if name != "wlr1"} | {"wx": np.float32(1), "bo1": np.ones(2)}
    with pytest.raises(WeightsError) as caught:
        make(weights)
    assert len(caught.value.problems) == 3
    for line, words in zip(
        caught.value.problems, ("wlr1 is missing", "bo1 has shape (2,)", "wx is unexpected"), strict=True
    ):
        assert words in line


def test_by_hand_to_lstm_is_nn_lstm():
    weights = random_weights(8)
    module = torch.nn.LSTM(1, 1).double()
    module.load_state_dict({n: torch.tensor(a) for n, a in lstm_shared.by_hand_to_lstm(weights).items()})
    prices = np.random.default_rng(8).standard_normal(10)
    outputs, _ = module(torch.tensor(prices).reshape(-1, 1))
    trace = backends.trace("jax", weights, prices)
    np.testing.assert_allclose(trace.short_memory, outputs.detach().numpy()[:, 0], rtol=0, atol=1e-15)
