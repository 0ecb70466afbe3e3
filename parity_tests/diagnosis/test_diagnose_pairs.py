"""Pairs of mistakes are found together, and right ports are never accused."""

from collections import defaultdict

import jax
import numpy as np
import pytest
from planted_port import Plan, draw_plan, plant, run
from test_diagnose import IN_WEIGHTS, MODELS, OF_DIRECTIONS, OTHERS, PLACES, ask

import jax_lstm
from lstm_parity import diagnose
from lstm_shared import init_by_hand, init_lstm

# How many random pairs are drawn for each model. Larger models have more pairs to try and take longer.
PAIRS = {"one-layer": 48, "one-layer-bidirectional": 4, "two-layer": 4, "two-layer-bidirectional": 2}
RATE = 0.9


def draw_pair(model: str, rng: np.random.Generator) -> tuple[Plan, Plan, set[str]]:
    """Draw a right port, the same port with two mistakes, and the identifiers of these.

    Kinds are drawn first, so that the 23 gate orders do not crowd out the others. Half of the mistakes in weights are
    made in one place only.
    """
    while True:
        seed, ragged, input_size = int(rng.integers(1000)), bool(rng.random() < 0.4), int(rng.choice([4, 5]))
        right, wrong = (draw_plan(*MODELS[model], input_size, ragged=ragged, seed=seed) for _ in range(2))
        kinds: dict[str, list[str]] = defaultdict(list)
        for mistake in IN_WEIGHTS + OTHERS + (OF_DIRECTIONS if right.spec.bidirectional else []):
            fits = "padding" not in mistake if not ragged else not mistake.startswith("swapped-axes")
            if fits and not mistake.startswith("swapped-axes:batch"):
                kinds[mistake.partition(":")[0]].append(mistake)
        names = list(kinds)
        drawn = [rng.choice(kinds[name]) for name in rng.choice(names, 2)]
        pair = set()
        for mistake in drawn:
            placed = mistake in IN_WEIGHTS and model in PLACES and rng.random() < 0.5
            pair.add(f"{mistake}@{rng.choice(PLACES[model])}" if placed else str(mistake))
        if len(pair) < 2:
            continue
        for mistake in pair:
            plant(wrong, mistake)
        return right, wrong, pair


def same_with(right: Plan, mistakes: set[str], outputs: np.ndarray) -> bool:
    """Return whether the port with these mistakes gives the same outputs."""
    other = Plan(right.spec, dict(right.weights), right.inputs, right.state, right.lengths)
    for mistake in mistakes:
        plant(other, mistake)
    theirs = run(other)[0]
    return theirs.shape == outputs.shape and bool(np.abs(theirs - outputs).max() < 1e-9)


def found(model: str, seed: int) -> tuple[set[str], list[set[str]]]:
    """Draw a random pair that no single mistake equals, and return it with the explanations found."""
    rng = np.random.default_rng((list(MODELS).index(model), seed))
    while True:
        right, wrong, pair = draw_pair(model, rng)
        outputs = run(wrong)[0]
        if any(same_with(right, alone, outputs) for alone in (set(), *({mistake} for mistake in pair))):
            continue
        explanations = [set(one.identifiers) for one in ask(right, outputs).explanations]
        # for example, forget bias + 1 everywhere and - 1 in layer 1 equals forget bias + 1 in layer 0
        if explanations and len(explanations[0]) == 1 and same_with(right, explanations[0], outputs):
            continue
        return pair, explanations


@pytest.mark.parametrize("model", PAIRS)
def test_random_pairs_are_diagnosed(model):
    """A diagnosis is right if the pair is among the best explanations, which the outputs cannot tell apart."""
    results = [found(model, seed) for seed in range(PAIRS[model])]
    missed = [(pair, explanations[:3]) for pair, explanations in results if pair not in explanations]
    assert len(missed) <= (1 - RATE) * len(results), missed


def test_a_pair_is_told_in_words():
    right, wrong = draw_plan(1, False), draw_plan(1, False)
    plant(wrong, "gate-order:i,g,f,o")
    plant(wrong, "missing-bias:bias_hh")
    diagnosis = ask(right, run(wrong)[0])
    assert set(diagnosis.mistakes) == {"gate-order:i,g,f,o", "missing-bias:bias_hh"}
    assert len(diagnosis.explanations) == 1
    assert diagnosis.explained < 0.5
    text = str(diagnosis)
    assert text.count("repair: ") == 2
    assert "bias_hh is left out" in text


def right_port(seed: int, dtype: str):
    """Draw a model and its inputs, and compute its outputs with ``jax_lstm.lstm``."""
    rng = np.random.default_rng((seed, 5))
    input_size, hidden_size, num_layers = (int(rng.integers(1, top)) for top in (7, 17, 4))
    bidirectional, bias, projected, ragged, has_state = rng.random(5) < 0.4
    proj_size = int(rng.integers(1, hidden_size)) if projected and hidden_size > 1 else 0
    sizes = {"num_layers": num_layers, "bias": not bias, "bidirectional": bool(bidirectional), "proj_size": proj_size}
    weights = init_lstm(input_size, hidden_size, **sizes, seed=seed, dtype=dtype)
    time, batch = int(rng.integers(1, 12)), int(rng.integers(1, 5))
    inputs = rng.standard_normal((time, batch, input_size)).astype(dtype)
    rows = num_layers * (2 if bidirectional else 1)
    state = tuple(rng.standard_normal((rows, batch, n)).astype(dtype) for n in (proj_size or hidden_size, hidden_size))
    options = {"state": state if has_state else None, "lengths": rng.integers(0, time + 1, batch) if ragged else None}
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        outputs = np.asarray(jax_lstm.lstm(weights, inputs, **options)[0])
    return weights, inputs, outputs, options


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("seed", range(4))
def test_a_right_port_is_not_accused(seed, dtype):
    weights, inputs, outputs, options = right_port(seed, dtype)
    diagnosis = diagnose(weights, inputs, outputs, **options)
    assert diagnosis.right
    assert diagnosis.mistakes == ()
    assert str(diagnosis).startswith("nothing to explain: the outputs are right")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(12))
def test_a_right_port_by_hand_is_not_accused(seed, dtype):
    weights = init_by_hand(seed, dtype)
    prices = np.random.default_rng(seed).standard_normal((2, 5)).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        outputs = np.asarray(jax_lstm.by_hand.trace(weights, prices).short_memory)
    assert diagnose(weights, prices, outputs).right
    assert diagnose(weights, prices, outputs[:, -1]).right
