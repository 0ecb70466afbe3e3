"""Diagnosis of arithmetic, dropout, the by-hand model and cells; unknown mistakes; arguments that are rejected."""

import json
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from planted_port import draw_plan, plant, run
from test_diagnose import GATE_ORDERS, ask
from torch import nn

import jax_lstm
from lstm_parity import Diagnosis, diagnose
from lstm_parity.diagnosis.arguments import ask as prepare
from lstm_parity.diagnosis.simulation import simulate
from lstm_shared import BY_HAND, WORKED_EXAMPLE_WEIGHTS, InputError, WeightsError, init_by_hand, init_lstm

GATES = {"input": "pr", "forget": "lr", "candidate": "p", "output": "o"}


def float32_model(seed: int, num_layers: int = 1, bidirectional: bool = False):
    weights = init_lstm(5, 16, num_layers=num_layers, bidirectional=bidirectional, seed=seed)
    return weights, np.random.default_rng(seed).standard_normal((9, 3, 5)).astype(np.float32)


# arithmetic


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (1, True), (2, False), (2, True)])
def test_coarse_arithmetic_is_recognised_by_its_error(dtype, num_layers, bidirectional):
    weights, inputs = float32_model(num_layers, num_layers, bidirectional)
    outputs, _ = jax_lstm.lstm({n: x.astype(dtype) for n, x in weights.items()}, inputs.astype(dtype))
    assert diagnose(weights, inputs, np.asarray(outputs)).mistakes == (f"precision:{dtype}",)
    assert diagnose(weights, inputs, np.asarray(outputs.astype(jnp.float32))).mistakes == (f"precision:{dtype}",)


def test_torch_in_bfloat16_is_recognised():
    weights, inputs = float32_model(3)
    module = nn.LSTM(5, 16, dtype=torch.bfloat16)
    module.load_state_dict({name: torch.tensor(x) for name, x in weights.items()})
    with torch.no_grad():
        outputs, _ = module(torch.tensor(inputs).to(torch.bfloat16))
    assert diagnose(weights, inputs, outputs).mistakes == ("precision:bfloat16",)


@pytest.mark.parametrize("seed", range(4))
def test_tf32_is_recognised(seed):
    """The operands of the products have ten bits of mantissa, and the sums are in float32."""

    def tf32(x):
        mantissa, exponent = np.frexp(x.astype(np.float64))
        return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent).astype(np.float32)

    weights, inputs = float32_model(seed)
    w_ih, w_hh = (tf32(weights[f"weight_{part}_l0"]) for part in ("ih", "hh"))
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    h, c, outputs = np.zeros((3, 16), np.float32), np.zeros((3, 16), np.float32), []
    for x in inputs:
        i, f, g, o = np.split(tf32(x) @ w_ih.T + tf32(h) @ w_hh.T + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h)
    found = diagnose(weights, inputs, np.stack(outputs))
    assert found.mistakes[0] == "precision:tf32"
    assert "TF32 arithmetic" in str(found)


def test_float32_arithmetic_is_recognised_among_float64():
    plan = draw_plan(1, False)
    port = prepare(plan.weights, plan.inputs, run(plan)[0], state=plan.state, lengths=None, batch_first=False).right
    outputs = simulate([port], precision="float32")[0] * (1 + 1e-12)  # so that float32 cannot hold them exactly
    assert ask(plan, outputs).mistakes == ("precision:float32",)


@pytest.mark.parametrize("mistake", ["gate-order:i,g,f,o", "missing-bias:bias_ih", "reversed-time"])
def test_a_mistake_in_bfloat16_is_found_with_its_arithmetic(mistake):
    right, wrong = draw_plan(1, False), draw_plan(1, False)
    plant(wrong, mistake)
    outputs = run(wrong)[0]
    rounded = outputs.astype(jnp.bfloat16).astype(np.float32)
    found = ask(right, rounded)
    assert set(found.explanations[0].identifiers) == {mistake, "precision:bfloat16"}


# dropout


def test_outputs_that_change_from_call_to_call_mean_dropout():
    weights, inputs = float32_model(0, 2)
    key = jax.random.key(0)
    calls = tuple(np.asarray(jax_lstm.lstm(weights, inputs, dropout=0.3, key=k)[0]) for k in jax.random.split(key))
    found = diagnose(weights, inputs, calls)
    assert found.mistakes == ("dropout-left-on",)
    assert "module.eval()" in str(found)


def test_two_right_calls_are_right():
    weights, inputs = float32_model(0, 2)
    outputs = np.asarray(jax_lstm.lstm(weights, inputs)[0])
    assert diagnose(weights, inputs, (outputs, outputs)).right


def test_dropout_on_the_outputs_is_seen_in_one_call():
    weights, inputs = float32_model(0)
    outputs = np.asarray(jax_lstm.lstm(weights, inputs)[0])
    kept = np.random.default_rng(0).random(outputs.shape) < 0.75
    found = diagnose(weights, inputs, np.where(kept, outputs / np.float32(0.75), np.float32(0)))
    assert found.mistakes == ("dropout-left-on",)


# by hand


def by_hand_ports():
    """Return, for each identifier, the weights that the port reads instead."""
    ports = {}
    names = dict(zip("ifgo", GATES.values(), strict=True))
    for identifier in GATE_ORDERS:
        # the port reads its gate ``target`` where the right order has ``source``
        pairs = zip(identifier.removeprefix("gate-order:").split(","), "ifgo", strict=True)
        read = {names[target]: names[source] for target, source in pairs}
        ports[identifier] = {n: n.replace(n[1:-1], read[n[1:-1]]) for n in BY_HAND}
    for (gate, short), (other, source) in permutations(GATES.items(), 2):
        ports[f"bias-of:{other}-in:{gate}"] = {f"b{short}1": f"b{source}1"}
    for short in GATES.values():
        ports[f"missing-bias:b{short}1"] = {f"b{short}1": 0.0}
        ports[f"doubled-bias:b{short}1"] = {f"b{short}1": 2.0}
        ports[f"swapped-weights:w{short}1,w{short}2"] = {f"w{short}1": f"w{short}2", f"w{short}2": f"w{short}1"}
    return ports


BY_HAND_PORTS = by_hand_ports()


def trace(weights, prices, long_memory=0.3, short_memory=-0.4):
    with jax.enable_x64(True):
        return np.asarray(jax_lstm.by_hand.trace(weights, prices, long_memory, short_memory).short_memory)


def by_hand_model():
    weights = dict(zip(BY_HAND, np.random.default_rng(11).standard_normal(12), strict=True))
    return weights, np.random.default_rng(12).standard_normal((2, 5))


@pytest.mark.parametrize("identifier", BY_HAND_PORTS)
def test_a_mistake_by_hand_is_diagnosed_from_every_day_and_from_the_last(identifier):
    weights, prices = by_hand_model()
    read = {n: weights[s] if isinstance(s, str) else s * weights[n] for n, s in BY_HAND_PORTS[identifier].items()}
    outputs = trace(weights | read, prices)
    for seen in (outputs, outputs[:, -1]):
        found = diagnose(weights, prices, seen, state=(0.3, -0.4))
        assert found.mistakes[0] == identifier
        assert found.explained < 0.5


@pytest.mark.parametrize(
    ("identifier", "outputs"),
    [
        ("forget-bias+1", lambda w, p: trace(w | {"blr1": w["blr1"] + 1}, p)),
        ("swapped-state", lambda w, p: trace(w, p, -0.4, 0.3)),
        ("missing-state", lambda w, p: trace(w, p, 0.0, 0.0)),
        ("reversed-time", lambda w, p: trace(w, p[:, ::-1])),
        ("missing-bias:all", lambda w, p: trace({n: x * (n[0] == "w") for n, x in w.items()}, p)),
    ],
)
def test_other_mistakes_by_hand_are_diagnosed(identifier, outputs):
    weights, prices = by_hand_model()
    assert diagnose(weights, prices, outputs(weights, prices), state=(0.3, -0.4)).mistakes[0] == identifier


def test_the_misprinted_listing_is_diagnosed():
    """The article's listing adds the forget gate's bias in the input gate; it would give 0.98981472."""
    weights = {name: np.float64(value) for name, value in WORKED_EXAMPLE_WEIGHTS.items()}
    port = trace(weights | {"bpr1": weights["blr1"]}, np.array([1.0]), 2.0, 1.0)
    assert port[0] == pytest.approx(0.98981472, abs=5e-9)
    found = diagnose(weights, np.array([1.0]), port, state=(2.0, 1.0))
    assert found.mistakes[0] == "bias-of:forget-in:input"
    assert "the input gate adds the forget gate's bias" in str(found)


# cells


def test_a_cell_is_diagnosed():
    plan = draw_plan(1, False)
    weights = {name.removesuffix("_l0"): x for name, x in plan.weights.items()}
    inputs, state = plan.inputs[0], (plan.state[0][0], plan.state[1][0])
    plan.inputs = plan.inputs[:1]
    right = run(plan)[0][0]
    assert diagnose(weights, inputs, right, state=state).right
    plant(plan, "gate-order:i,o,f,g")
    assert diagnose(weights, inputs, run(plan)[0][0], state=state).mistakes == ("gate-order:i,o,f,g",)


# unknown mistakes


def unknown(kind: str) -> Diagnosis:
    plan = draw_plan(1, False)
    outputs = run(plan)[0]
    wrong = {
        "scaled": outputs * 1.01,
        "noise": np.random.default_rng(0).standard_normal(outputs.shape),
        "one value": np.where(np.arange(outputs.size).reshape(outputs.shape) == 40, 0.5, outputs),
        "NaN": np.where(np.arange(outputs.size).reshape(outputs.shape) == 40, np.nan, outputs),
    }
    return ask(plan, wrong[kind])


@pytest.mark.parametrize("kind", ["scaled", "noise", "one value", "NaN"])
def test_what_no_known_mistake_explains_is_said_to_be_that(kind):
    found = unknown(kind)
    assert found.mistakes == ()
    assert not found.right
    assert found.explained > 1
    assert "none of the known mistakes" in str(found)
    assert found.first is not None
    content = json.loads(found.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert content["mistakes"] == []
    assert content["tried"]["pairs"] > 1000


def test_one_wrong_value_is_located():
    first = unknown("one value").first
    assert first is not None
    assert (first.step, first.row, first.unit) == (3, 1, 0)


# rejected arguments


def refused(**changed) -> list[str]:
    plan = draw_plan(1, False)
    arguments = {"weights": plan.weights, "inputs": plan.inputs, "outputs": run(plan)[0], **changed}
    with pytest.raises((InputError, WeightsError)) as raised:
        diagnose(**arguments)
    return list(raised.value.problems)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"outputs": np.zeros((6, 3, 5))}, "outputs has shape (6, 3, 5), expected (6, 3, 4)"),
        ({"outputs": np.zeros((6, 3, 4), int)}, "outputs holds int64"),
        ({"outputs": (np.zeros((6, 3, 4)), (1, 2))}, "outputs is a tuple of 2"),
        ({"outputs": (np.zeros((6, 3, 4)), np.zeros((6, 3, 5)))}, "two calls have shapes"),
        ({"inputs": np.zeros((6, 3, 7))}, "inputs has 7 features, expected input_size 5"),
        ({"inputs": np.full((6, 3, 5), np.nan)}, "inputs holds 90 of 90 values that are NaN or infinite"),
        ({"lengths": np.array([1, 2])}, "lengths has shape (2,)"),
        ({"state": np.zeros(3)}, "expected a pair (h, c)"),
        ({"weights": {"weight_ih_l0": np.zeros((16, 5))}}, "weight_hh_l0 is missing"),
        ({"weights": init_by_hand(0), "inputs": np.zeros((2, 5)), "outputs": np.zeros(3)}, "outputs has shape (3,)"),
        ({"weights": init_by_hand(0), "inputs": np.zeros((2, 5)), "state": 1.0}, "state is not a pair"),
        ({"weights": init_by_hand(0), "inputs": np.zeros((2, 5)), "lengths": np.array([5])}, "lengths are for an LSTM"),
    ],
)
def test_wrong_arguments_are_refused_in_words(changed, problem):
    assert any(problem in line for line in refused(**changed))


def test_a_forecaster_is_sent_to_its_lstm():
    weights = {f"lstm.{n}": x for n, x in draw_plan(1, False).weights.items()}
    weights |= {"fc.weight": np.zeros((1, 4)), "fc.bias": np.zeros(1)}
    assert "give only those under 'lstm.'" in refused(weights=weights)[0]


def test_what_stands_in_the_padding_makes_no_wrong_outputs_right():
    weights = init_lstm(3, 4, dtype="float64")
    inputs = np.random.default_rng(0).standard_normal((6, 3, 3))
    inputs[4:, 1] = 1e30
    lengths = [6, 4, 6]
    with jax.enable_x64(True):
        right = np.asarray(jax_lstm.lstm(weights, inputs, lengths=lengths)[0])
    wrong = right.copy()
    wrong[2] += 0.3
    assert diagnose(weights, inputs, right, lengths=lengths).right
    assert not diagnose(weights, inputs, wrong, lengths=lengths).right


def test_nan_in_the_padding_is_no_matter():
    plan = draw_plan(1, True, ragged=True)
    outputs = run(plan)[0]
    plan.inputs = np.where(np.arange(6)[:, None, None] < plan.lengths[:, None], plan.inputs, np.nan)
    assert ask(plan, outputs).right
