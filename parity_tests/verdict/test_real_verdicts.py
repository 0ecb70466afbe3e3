"""Verdicts on LSTMs that were really trained: right code agrees; broken ports differ and their mistakes are named."""

import jax.numpy as jnp
import numpy as np
import pytest
from real_models import named, real_weights, speech

import lstm_parity

CELL = "vad-cell"
ENCODER = "voice-encoder"


def cell_with(mistake: str, numpy):
    """Return a cell in NumPy or JAX with a mistake that a zero state hides."""

    def sigmoid(x):
        return 1 / (1 + numpy.exp(-x))

    def port(params, inputs, state=None):
        size = params["weight_hh"].shape[1]
        h, c = (numpy.zeros((len(inputs), size), inputs.dtype),) * 2 if state is None else state
        recurrent = params["weight_hh"]
        if mistake == "gates of weight_hh shuffled":
            i, f, g, o = numpy.split(recurrent, 4)
            recurrent = numpy.concatenate([f, i, g, o])
        gates = inputs @ params["weight_ih"].T + (params["bias_ih"] + params["bias_hh"])[None]
        if mistake != "recurrence dropped":
            gates = gates + h @ recurrent.T
        i, f, g, o = numpy.split(gates, 4, axis=-1)
        c = (1 if mistake == "no forget gate" else sigmoid(f)) * c + sigmoid(i) * numpy.tanh(g)
        return sigmoid(o) * numpy.tanh(c), c

    return port


NAMED = {
    "recurrence dropped": "missing-recurrence",
    "gates of weight_hh shuffled": "gate-order:f,i,g,o:weight_hh",
    "no forget gate": "missing-gate:forget",
}


@pytest.mark.parametrize("numpy", [np, jnp], ids=["NumPy", "JAX"])
@pytest.mark.parametrize("mistake", NAMED)
@pytest.mark.parametrize("name", [CELL], ids=named)
def test_a_cell_port_whose_mistake_a_zero_state_hides_differs_and_is_named(name, mistake, numpy):
    report = lstm_parity.check(real_weights(name), candidate=cell_with(mistake, numpy), dtypes=["float64"])
    assert report.verdict_word == "differ"
    assert report.diagnosis is not None
    assert NAMED[mistake] in report.diagnosis.mistakes, str(report)


@pytest.mark.parametrize("numpy", [np, jnp], ids=["NumPy", "JAX"])
@pytest.mark.parametrize("name", [CELL], ids=named)
def test_the_right_cell_agrees(name, numpy):
    report = lstm_parity.check(real_weights(name), candidate=cell_with("", numpy))
    assert report.ok, str(report)


@pytest.mark.parametrize("name", [ENCODER], ids=named)
def test_a_deep_encoder_agrees_on_drawn_inputs(name):
    """Both in torch and in JAX, the gradient of the inputs is 100 to 200 eps · scale from the truth."""
    inputs = np.random.default_rng(0).standard_normal((12, 3, 40))
    report = lstm_parity.check(real_weights(name), inputs, dtypes=["float64"], steps=2)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", [ENCODER], ids=named)
def test_a_deep_encoder_agrees_on_speech(name):
    report = lstm_parity.check(real_weights(name), speech(40), dtypes=["float64"], steps=2)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ["mandarin-tagger", "protein-tagger"], ids=named)
def test_bidirectional_taggers_agree_in_both_precisions(name):
    weights = real_weights(name)
    inputs = np.random.default_rng(0).standard_normal((24, 3, weights["weight_ih_l0"].shape[1]))
    report = lstm_parity.check(weights, inputs)
    assert report.ok, str(report)
    assert {row.dtype for row in report.rows} == {"float64", "float32"}
    assert "gradients" in report.verdict()
