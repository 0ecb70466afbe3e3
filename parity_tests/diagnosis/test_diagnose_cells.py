"""Mistakes with states, and gates shuffled in one matrix: planted in cells and LSTMs, and named by ``diagnose``."""

from itertools import permutations

import jax
import numpy as np
import pytest
from planted_port import draw_plan, run
from real_models import named, real_weights

import jax_lstm
from lstm_parity import diagnose
from lstm_shared import BY_HAND, init_lstm

ORDERS = [",".join(order) for order in list(permutations("ifgo"))[1:]]
PARTS = {"weight_ih": ["weight_ih"], "weight_hh": ["weight_hh"], "biases": ["bias_ih", "bias_hh"]}
Weights = dict[str, np.ndarray]
EQUATIONS = ["missing-recurrence", "missing-gate:input", "missing-gate:forget", "missing-gate:output", "coupled-gates"]
EQUATIONS += ["missing-tanh:candidate", "missing-tanh:cell"]
ALIKE_IN_ONE_STEP = {"missing-recurrence": {"missing-state:h"}}
CARRIED = ["state-not-carried", "state-not-carried:h", "state-not-carried:c"]
SHUFFLED = [f"gate-order:{order}:{part}" for order in ORDERS for part in PARTS]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(weights: Weights, x: np.ndarray, h: np.ndarray, c: np.ndarray, mistake: str = ""):
    """Return (h, c) after one step of a cell with this mistake; the weights' names have no layer."""
    if mistake.startswith("gate-order"):
        _, order, part = mistake.split(":")
        weights = dict(weights)
        for name in PARTS[part]:
            read = dict(zip(order.split(","), np.split(weights[name], 4), strict=True))
            weights[name] = np.concatenate([read[gate] for gate in "ifgo"])
    of_h = 0 * h if mistake == "missing-recurrence" else h
    gates = x @ weights["weight_ih"].T + of_h @ weights["weight_hh"].T + weights["bias_ih"] + weights["bias_hh"]
    i, f, g, o = np.split(gates, 4, axis=-1)
    i, f, o = sigmoid(i), sigmoid(f), sigmoid(o)
    g = g if mistake == "missing-tanh:candidate" else np.tanh(g)
    if mistake.startswith("missing-gate"):
        i, f, o = (1 if mistake.endswith(name) else gate for name, gate in (("input", i), ("forget", f), ("output", o)))
    i = 1 - f if mistake == "coupled-gates" else i
    c = f * c + i * g
    h = o * (c if mistake == "missing-tanh:cell" else np.tanh(c))
    return h, c


def double(weights: Weights) -> Weights:
    return {name: array.astype(np.float64) for name, array in weights.items()}


def cell(seed: int = 0) -> tuple[Weights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the weights of a cell, inputs and a state, all in float64."""
    weights = {name.removesuffix("_l0"): x for name, x in init_lstm(5, 6, seed=seed, dtype="float64").items()}
    normal = np.random.default_rng(seed).standard_normal
    return weights, normal((3, 5)), (normal((3, 6)), normal((3, 6)))


# a cell: only h after one step is known


@pytest.mark.parametrize("mistake", EQUATIONS + SHUFFLED)
def test_a_mistake_in_a_cell_is_named(mistake):
    weights, inputs, state = cell()
    right, wrong = (step(weights, inputs, *state, name)[0] for name in ("", mistake))
    assert diagnose(weights, inputs, right, state=state).right
    found = diagnose(weights, inputs, wrong, state=state)
    assert set(found.mistakes) == {mistake} | ALIKE_IN_ONE_STEP.get(mistake, set())
    assert f"{mistake}: " in str(found)
    assert "repair: " in str(found)


@pytest.mark.parametrize("mistake", [*EQUATIONS, *(f"gate-order:o,f,i,g:{part}" for part in PARTS)])
@pytest.mark.parametrize("model", ["vad-cell"], ids=named)
def test_a_mistake_in_a_trained_cell_is_named_from_float32(model, mistake):
    weights = real_weights(model)
    normal = np.random.default_rng(0).standard_normal
    inputs, h, c = (normal((2, 128)).astype(np.float32) for _ in range(3))
    outputs = step(double(weights), inputs, h, c, mistake)[0].astype(np.float32)
    found = diagnose(weights, inputs, outputs, state=(h, c))
    assert set(found.mistakes) == {mistake} | ALIKE_IN_ONE_STEP.get(mistake, set())


@pytest.mark.parametrize(
    ("mistake", "started"),
    [
        ("missing-state", lambda h, c: (0 * h, 0 * c)),
        ("missing-state:h", lambda h, c: (0 * h, c)),
        ("missing-state:c", lambda h, c: (h, 0 * c)),
        ("swapped-state", lambda h, c: (c, h)),
    ],
    ids=["both", "h", "c", "exchanged"],
)
def test_a_state_that_a_cell_ignores_or_exchanges_is_named(mistake, started):
    weights, inputs, state = cell()
    outputs = step(weights, inputs, *started(*state))[0]
    assert diagnose(weights, inputs, outputs, state=state).mistakes[0] == mistake


def test_the_cell_state_returned_as_h_is_named():
    weights, inputs, state = cell()
    found = diagnose(weights, inputs, step(weights, inputs, *state)[1], state=state)
    assert found.mistakes == ("returns-c",)
    assert "the outputs are the cell state c, not the hidden state h" in str(found)


def test_what_gives_the_same_outputs_is_listed_together():
    """In one step, ignoring h and starting without h are the same."""
    weights, inputs, (h, c) = cell()
    found = diagnose(weights, inputs, step(weights, inputs, 0 * h, c)[0], state=(h, c))
    assert set(found.mistakes) == {"missing-state:h", "missing-recurrence"}
    assert "these outputs cannot tell it apart from:" in str(found)


def test_without_a_state_a_cell_does_not_show_whether_it_has_a_recurrence():
    weights, inputs, (h, c) = cell()
    assert diagnose(weights, inputs, step(weights, inputs, 0 * h, 0 * c, "missing-recurrence")[0]).right


# an LSTM


def sequence(weights: Weights, inputs: np.ndarray, state, mistake: str = "", place: str = "") -> np.ndarray:
    """Compute the outputs of all layers and directions, with a mistake in one place or in all of them."""
    reverse = [False, True] if "weight_ih_l0_reverse" in weights else [False]
    layers = {name.partition("_l")[2][:1] for name in weights}
    features = inputs
    for layer in range(len(layers)):
        halves = []
        for backwards in reverse:
            here = f"l{layer}_reverse" if backwards else f"l{layer}"
            parts = {name.removesuffix(f"_{here}"): x for name, x in weights.items() if name.endswith(f"_{here}")}
            made = mistake if place in ("", here) else ""
            row = layer * len(reverse) + backwards
            h_0, c_0 = h, c = state[0][row], state[1][row]
            kept = []
            for x in features[::-1] if backwards else features:
                h = h_0 if made in ("state-not-carried", "state-not-carried:h") else h
                c = c_0 if made in ("state-not-carried", "state-not-carried:c") else c
                h, c = step(parts, x, h, c, made)
                last = layer == len(layers) - 1
                kept.append(c if made == "returns-c" and last else h)
            halves.append(np.stack(kept[::-1] if backwards else kept))
        features = np.concatenate(halves, axis=-1)
    return features


def test_the_port_without_a_mistake_is_the_planted_one():
    plan = draw_plan(2, True)
    np.testing.assert_allclose(sequence(plan.weights, plan.inputs, plan.state), run(plan)[0], rtol=0, atol=1e-14)


IN_LSTMS = [
    (layers, bidirectional, mistake, "")
    for layers, bidirectional in ((1, False), (2, False), (1, True))
    for mistake in [*EQUATIONS, *CARRIED, "returns-c", *(f"gate-order:o,f,i,g:{part}" for part in PARTS)]
] + [
    (2, True, mistake, place)
    for place in ("l0", "l1_reverse")
    for mistake in [*EQUATIONS, *CARRIED, *(f"gate-order:o,f,i,g:{part}" for part in PARTS)]
]


def in_words(case) -> str:
    layers, bidirectional, mistake, place = case
    return f"{layers}-{'bidirectional' if bidirectional else 'forward'}-{mistake}" + (f"@{place}" if place else "")


@pytest.mark.parametrize("case", IN_LSTMS, ids=in_words)
def test_a_mistake_in_an_lstm_is_named_with_its_place(case):
    layers, bidirectional, mistake, place = case
    plan = draw_plan(layers, bidirectional)
    outputs = sequence(plan.weights, plan.inputs, plan.state, mistake, place)
    found = diagnose(plan.weights, plan.inputs, outputs, state=plan.state)
    assert found.mistakes[0] == (f"{mistake}@{place}" if place else mistake)
    assert found.explained < 0.5


ROWS = {"layers-reversed": [2, 3, 0, 1], "first-layer": [0, 1, 0, 1], "directions-exchanged": [1, 0, 3, 2]}
ROWS["directions-first"] = [0, 2, 1, 3]


@pytest.mark.parametrize("order", [*ROWS, "batch-first"])
def test_initial_states_in_another_order_are_named(order):
    plan = draw_plan(2, True)
    if order == "batch-first":  # three rows in the batch, four layers and directions
        started = tuple(part.reshape(3, 4, 4).swapaxes(0, 1) for part in plan.state)
    else:
        started = tuple(part[ROWS[order]] for part in plan.state)
    found = diagnose(plan.weights, plan.inputs, sequence(plan.weights, plan.inputs, started), state=plan.state)
    assert found.mistakes == (f"state-order:{order}",)


def test_without_initial_states_a_state_that_is_not_carried_is_one_that_is_not_used():
    plan = draw_plan(1, False)
    zeros = tuple(np.zeros_like(part) for part in plan.state)
    outputs = sequence(plan.weights, plan.inputs, zeros, "missing-recurrence")
    found = diagnose(plan.weights, plan.inputs, outputs)
    assert set(found.mistakes) == {"missing-recurrence", "state-not-carried:h"}


# by hand


@pytest.mark.parametrize(
    ("detail", "ending"), [("weight_ih", "2"), ("weight_hh", "1")], ids=["of the input", "of the memory"]
)
def test_weights_by_hand_of_one_kind_in_another_order_are_named(detail, ending):
    weights = dict(zip(BY_HAND, np.random.default_rng(11).standard_normal(12), strict=True))
    prices, state = np.random.default_rng(12).standard_normal((2, 5)), (0.3, -0.4)
    # the gates in the order f, i, g, o: the first two are swapped
    names = {f"wlr{ending}": f"wpr{ending}", f"wpr{ending}": f"wlr{ending}"}
    wrong = weights | {name: weights[other] for name, other in names.items()}
    with jax.enable_x64(True):
        outputs = np.asarray(jax_lstm.by_hand.trace(wrong, prices, *state).short_memory)
    found = diagnose(weights, prices, outputs, state=state)
    assert found.mistakes[0] == f"gate-order:f,i,g,o:{detail}"
    assert f"only (w…{ending})" in str(found)


def test_a_long_term_memory_that_is_ignored_by_hand_is_named_in_its_words():
    weights = dict(zip(BY_HAND, np.random.default_rng(11).standard_normal(12), strict=True))
    prices = np.random.default_rng(12).standard_normal((2, 5))
    with jax.enable_x64(True):
        outputs = np.asarray(jax_lstm.by_hand.trace(weights, prices, 0.0, -0.4).short_memory)
    found = diagnose(weights, prices, outputs, state=(0.3, -0.4))
    assert found.mistakes[0] == "missing-state:c"
    said = "the port ignores the initial long-term memory and uses only the initial short-term memory"
    assert said in str(found)
