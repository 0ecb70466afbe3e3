"""Ports of chaotic models: diagnosed from the steps that their inputs determine; right ports are never accused."""

import json
from itertools import permutations

import jax
import numpy as np
import pytest
import torch
from real_models import named, real_weights, speech
from torch import nn

import jax_lstm
from lstm_parity import diagnose
from lstm_shared import init_lstm

ORDERS = [",".join(order) for order in list(permutations("ifgo"))[1:]]
Weights = dict[str, np.ndarray]


def chaotic(gain: float, dtype: str = "float32", **sizes) -> Weights:
    """Draw weights ``gain`` times as large as torch does, so that rounding errors grow from step to step."""
    weights = init_lstm(8, 24, seed=1, dtype=dtype, **sizes)
    return {name: array * np.dtype(dtype).type(gain if "weight" in name else 1) for name, array in weights.items()}


def draw(steps: int, dtype: str = "float32", rows: int = 1) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((steps, rows, 8)).astype(dtype)


def run(weights: Weights, inputs: np.ndarray) -> np.ndarray:
    """Return the outputs of torch.nn.LSTM."""
    layers = {name.partition("_l")[2][:1] for name in weights}
    sizes = inputs.shape[-1], weights["weight_hh_l0"].shape[1], len(layers)
    bidirectional = "weight_hh_l0_reverse" in weights
    module = nn.LSTM(*sizes, bidirectional=bidirectional, dtype=torch.from_numpy(inputs).dtype)
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    with torch.no_grad():
        return module(torch.from_numpy(inputs))[0].numpy()


def reordered(weights: Weights, order: str, place: str = "") -> Weights:
    """Return the weights as a port reads them that expects this gate order, everywhere or in one place."""
    ported = dict(weights)
    for name in [name for name in weights if name.endswith(place)]:
        read = dict(zip(order.split(","), np.split(weights[name], 4), strict=True))
        ported[name] = np.concatenate([read[gate] for gate in "ifgo"])
    return ported


@pytest.mark.parametrize("order", ORDERS)
def test_every_gate_order_is_found_though_the_port_with_it_is_chaotic(order):
    weights, inputs = chaotic(12, num_layers=2), draw(80)
    found = diagnose(weights, inputs, run(reordered(weights, order), inputs))
    assert found.mistakes == (f"gate-order:{order}",)
    judged = found.explanations[0].judged
    assert judged is not None
    assert judged.margin > 1000
    assert not judged.steps.all
    assert f"explains {judged.steps}: " in str(found)
    assert json.loads(found.to_json())["explanations"][0]["judged"] == [{"steps": judged.steps.judged, "of": 80}]


@pytest.mark.parametrize("steps", [1, 2, 10, 20, 40, 80, 160])
def test_a_gate_order_is_found_at_every_length(steps):
    weights, inputs = chaotic(12, num_layers=2), draw(steps)
    assert diagnose(weights, inputs, run(reordered(weights, "i,g,f,o"), inputs)).mistakes == ("gate-order:i,g,f,o",)


@pytest.mark.parametrize("direction", ["l0", "l0_reverse"])
def test_a_mistake_in_one_direction_is_found_on_the_steps_that_this_direction_computes_first(direction):
    weights, inputs = chaotic(20, bidirectional=True), draw(80)
    found = diagnose(weights, inputs, run(reordered(weights, "o,g,f,i", direction), inputs))
    assert found.mistakes == (f"gate-order:o,g,f,i@{direction}",)
    judged = found.explanations[0].judged
    assert judged is not None
    assert all(1 < steps < 80 for steps, _ in judged.steps.counts)
    assert "in the reverse direction" in str(found)


def test_a_mistake_in_float64_is_found():
    weights, inputs = chaotic(20, "float64"), draw(120, "float64")
    found = diagnose(weights, inputs, run(reordered(weights, "i,g,f,o"), inputs))
    assert found.mistakes == ("gate-order:i,g,f,o",)
    judged = found.explanations[0].judged
    assert judged is not None
    assert 40 < judged.steps.judged < 120  # more than in float32


def test_a_mistake_is_found_in_sequences_of_several_lengths():
    weights, inputs = chaotic(12, num_layers=2), draw(80, rows=3)
    lengths = np.array([80, 7, 40])
    outputs = run(reordered(weights, "i,g,f,o"), inputs)
    outputs[np.arange(80)[:, None] >= lengths] = 0
    assert diagnose(weights, inputs, outputs, lengths=lengths).mistakes == ("gate-order:i,g,f,o",)


def test_two_mistakes_in_two_layers_are_found_together():
    weights, inputs = chaotic(12, num_layers=2), draw(80)
    outputs = run(reordered(reordered(weights, "i,g,f,o", "l0"), "o,f,g,i", "l1"), inputs)
    found = diagnose(weights, inputs, outputs)
    assert set(found.explanations[0].identifiers) == {"gate-order:i,g,f,o@l0", "gate-order:o,f,g,i@l1"}
    assert found.explanations[0].judged is not None


# right ports


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gain", [6, 12, 20])
@pytest.mark.parametrize("side", ["torch", "jax"])
@pytest.mark.parametrize("sizes", [{"num_layers": 2}, {"bidirectional": True}], ids=["two-layer", "bidirectional"])
def test_a_right_port_of_a_chaotic_model_is_right(sizes, side, gain, dtype):
    weights, inputs = chaotic(gain, dtype, **sizes), draw(160, dtype)
    if side == "torch":
        outputs = run(weights, inputs)
    else:
        with jax.enable_x64(dtype == "float64"):
            outputs = np.asarray(jax_lstm.lstm(weights, inputs)[0])
    found = diagnose(weights, inputs, outputs)
    assert found.right, str(found)
    assert found.judged.judged > 5


def test_a_right_port_says_on_how_many_steps_it_was_judged():
    weights, inputs = chaotic(12, num_layers=2), draw(80)
    found = diagnose(weights, inputs, run(weights, inputs))
    assert 10 < found.judged.judged < 40
    lines = str(found).splitlines()
    assert lines[0].startswith(f"nothing to explain: the outputs are right on the first {found.judged.judged} of 80")
    assert lines[1].startswith("the other steps cannot be judged: ")
    assert json.loads(found.to_json())["judged"] == [{"steps": found.judged.judged, "of": 80}]


def test_outputs_that_are_wrong_only_where_nothing_is_determined_cannot_be_told():
    weights, inputs = chaotic(20, num_layers=1), draw(80)
    outputs = run(weights, inputs)
    judged = diagnose(weights, inputs, outputs).judged.judged
    noise = np.random.default_rng(1).uniform(-1, 1, outputs.shape).astype(np.float32)
    later, sooner = outputs.copy(), outputs.copy()
    later[judged:], sooner[judged - 1 :] = noise[judged:], noise[judged - 1 :]
    assert diagnose(weights, inputs, later).right
    assert not diagnose(weights, inputs, sooner).right


@pytest.mark.parametrize("wrong_from", [0, 1, 2, 5])
def test_noise_is_explained_by_no_mistake_however_chaotic(wrong_from):
    """Ports whose mistakes change nothing before the noise starts agree up to there, but so does the right port."""
    weights, inputs = chaotic(30, num_layers=1), draw(80)
    outputs = run(weights, inputs)
    outputs[wrong_from:] = np.random.default_rng(1).uniform(-1, 1, outputs[wrong_from:].shape)
    found = diagnose(weights, inputs, outputs)
    assert not found.right
    assert found.mistakes == ()


def test_where_no_step_is_determined_nothing_is_called_right():
    """The first steps of each direction read the last steps of the other direction in the layer below."""
    weights, inputs = chaotic(20, num_layers=2, bidirectional=True), draw(80)
    found = diagnose(weights, inputs, run(weights, inputs))
    assert not found.right
    assert found.judged.judged == 0
    assert "the inputs do not determine them" in str(found)


# a trained model, three layers of 256 units: chaotic only if its gates are read in another order


@pytest.mark.parametrize("steps", [10, 20, 40, 80, 160])
@pytest.mark.parametrize("model", ["voice-encoder"], ids=named)
def test_a_gate_order_is_found_in_a_trained_model_at_every_length(model, steps):
    weights, inputs = real_weights(model), speech(steps)
    outputs = run(reordered(weights, "i,g,f,o"), inputs)
    assert diagnose(weights, inputs, outputs).mistakes == ("gate-order:i,g,f,o",)


@pytest.mark.parametrize("model", ["voice-encoder"], ids=named)
def test_two_mistakes_in_a_trained_model_are_found_together(model):
    weights, inputs = real_weights(model), speech(160)
    outputs = run(reordered(reordered(weights, "i,g,f,o", "l0"), "i,f,o,g", "l2"), inputs)
    found = diagnose(weights, inputs, outputs)
    assert set(found.explanations[0].identifiers) == {"gate-order:i,g,f,o@l0", "gate-order:i,f,o,g@l2"}


@pytest.mark.parametrize("model", ["voice-encoder"], ids=named)
def test_the_trained_model_itself_is_right(model):
    weights, inputs = real_weights(model), speech(160)
    assert diagnose(weights, inputs, run(weights, inputs)).right


@pytest.mark.parametrize(("seed", "gain"), [(0, 20), (6, 20), (1, 12)])
def test_a_right_port_that_one_simulation_in_float32_would_accuse_is_right(seed, gain):
    """One run in float32 keeps half of the digits here, so it says too little about how far other runs may go."""
    drawn = init_lstm(8, 16, num_layers=1 + seed % 2, seed=seed)
    weights = {name: array * np.float32(gain) for name, array in drawn.items()}
    inputs = np.random.default_rng(seed).standard_normal((100, 1, 8)).astype(np.float32)
    for outputs in (run(weights, inputs), np.asarray(jax_lstm.lstm(weights, inputs)[0])):
        found = diagnose(weights, inputs, outputs)
        assert found.right, str(found)
        assert found.judged.judged > 50
