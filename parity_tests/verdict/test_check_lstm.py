"""``check`` on LSTMs, cells and forecasters: right code passes; every planted mistake fails and is named."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_lstm
import lstm_parity
from lstm_parity.report.report import Report
from lstm_shared import InputError, init_forecaster, init_lstm

TIME, BATCH, INPUT, HIDDEN, PROJECTION = 7, 2, 5, 4, 3
GATES = "ifgo"
true_lstm = jax_lstm.lstm


def perturbed(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return distinct weights and biases of order 1."""
    rng = np.random.default_rng(1)
    return {name: array + 0.4 * rng.standard_normal(array.shape) for name, array in weights.items()}


def model(**options) -> dict[str, np.ndarray]:
    return perturbed(init_lstm(INPUT, HIDDEN, dtype=np.float64, **options))


TWO_LAYERS = {"num_layers": 2, "bidirectional": True}
RNG = np.random.default_rng(2)
INPUTS = RNG.standard_normal((TIME, BATCH, INPUT))
STATE = (RNG.standard_normal((4, BATCH, HIDDEN)), RNG.standard_normal((4, BATCH, HIDDEN)))


def check(**options) -> Report:
    return lstm_parity.check(
        model(**TWO_LAYERS), INPUTS, state=STATE, lengths=[7, 4], dtypes=["float64"], **{"steps": 1, **options}
    )


RIGHT = {
    "one layer": (model(), {}),
    "three layers": (model(num_layers=3), {}),
    "bidirectional, projected, ragged": (model(proj_size=PROJECTION, **TWO_LAYERS), {"lengths": [3, 7, 1]}),
    "no bias, batch first": (model(bias=False), {"batch_first": True, "inputs": INPUTS}),
    "unbatched": (model(**TWO_LAYERS), {"inputs": INPUTS[:, 0]}),
    "unbatched, ragged": (model(**TWO_LAYERS), {"inputs": INPUTS[:, 0], "lengths": 5}),
    "initial state": (model(**TWO_LAYERS), {"inputs": INPUTS, "state": STATE}),
    "a sequence of length 0": (model(**TWO_LAYERS), {"lengths": [0, 6]}),
    "an empty ragged batch": (model(), {"inputs": INPUTS[:, :0], "lengths": np.zeros(0, np.int64)}),
    "no steps": (model(), {"inputs": INPUTS[:0]}),
    "resets": (model(num_layers=2), {"reset": np.arange(14).reshape(7, 2) % 3 == 0}),
    "resets and lengths": (model(), {"reset": np.arange(14).reshape(7, 2) % 3 == 0, "lengths": [4, 7]}),
    "NaN in the padding": (
        model(),
        {"inputs": np.where(np.arange(7)[:, None, None] > 3, np.nan, INPUTS), "lengths": [4, 2]},
    ),
    "a cell": ({name.removesuffix("_l0"): array for name, array in model().items()}, {}),
    "a cell without bias": ({n.removesuffix("_l0"): a for n, a in model(bias=False).items()}, {"inputs": INPUTS[0, 0]}),
    "a forecaster": (perturbed(init_forecaster(INPUT, HIDDEN, 2, dtype=np.float64, **TWO_LAYERS)), {}),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_code_passes(case):
    weights, options = RIGHT[case]
    report = lstm_parity.check(weights, steps=2, **options)
    # If nothing is computed, nothing differs, but that says nothing about the weights.
    expected = "undecided" if case in ("an empty ragged batch", "no steps") else "agree"
    assert report.verdict_word == expected, str(report)
    assert all(row.ok for row in report.rows)
    assert set(weights) <= {row.name for row in report.rows if row.stage == "gradient"}
    assert {row.dtype for row in report.rows} == {"float64", "float32"}
    assert report.worst_first[0].used < 0.5  # the tolerance leaves headroom


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_compared_and_shown_beside_the_truth(dtype):
    report = lstm_parity.check(model(num_layers=2), dtypes=[dtype], steps=1)
    assert report.ok, str(report)
    assert all(row.errors is not None for row in report.rows)


def exchange_gates(weights, order: str):
    """Return the weights as a port reads them that expects the gates in this order."""
    return {
        name: array
        if "weight_hr" in name
        else jnp.concatenate([jnp.split(array, 4)[GATES.index(gate)] for gate in order])
        for name, array in weights.items()
    }


def planted(monkeypatch, wrong_weights=lambda weights: weights, wrong_call=lambda **options: options) -> Report:
    """Run the check while JAX's ``lstm`` computes with other weights or options."""

    def lstm(weights, inputs, state, **options):
        call = wrong_call(inputs=inputs, state=state, **options)
        return true_lstm(wrong_weights(weights), call.pop("inputs"), call.pop("state"), **call)

    monkeypatch.setattr("jax_lstm.lstm", lstm)
    return check()


def named(report: Report) -> tuple[str, str]:
    assert not report.ok
    first = report.first_divergence
    assert first is not None
    assert f"{first.stage}, {first.name}" in report.verdict()
    return first.stage, first.name


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("order", ["".join(order) for order in itertools.permutations(GATES)][1:])
def test_every_wrong_gate_order_is_caught(monkeypatch, order):
    assert named(planted(monkeypatch, lambda weights: exchange_gates(weights, order))) == ("forward", "outputs")


def changed(name, change):
    return lambda weights: {**weights, name: change(weights)}


WRONG_WEIGHTS = {
    "W_hh transposed": changed(
        "weight_hh_l1",
        lambda w: jnp.concatenate([part.T for part in jnp.split(w["weight_hh_l1"], 4)]),
    ),
    "a bias dropped": changed("bias_hh_l1_reverse", lambda w: 0 * w["bias_hh_l1_reverse"]),
    "a bias doubled": changed("bias_ih_l0", lambda w: 2 * w["bias_ih_l0"]),
    "forget bias + 1": changed("bias_ih_l0", lambda w: w["bias_ih_l0"].at[HIDDEN : 2 * HIDDEN].add(1)),
    "directions exchanged": lambda w: {
        name: w[name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"] for name in w
    },
    "one weight off by 1e-12": changed("weight_hh_l1_reverse", lambda w: w["weight_hh_l1_reverse"].at[3, 2].add(1e-12)),
}
WRONG_CALLS = {
    "time reversed": lambda inputs, **o: {"inputs": inputs[::-1], **o},
    "h and c exchanged": lambda state, **o: {"state": state[::-1], **o},
    "a stale state": lambda state, **o: {"state": None, **o},
    "padding not masked": lambda lengths, **o: {"lengths": None, **o},
    "one step too many": lambda lengths, **o: {"lengths": np.minimum(np.asarray(lengths) + 1, TIME), **o},
}


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("mistake", WRONG_WEIGHTS)
def test_wrong_weights_are_caught(monkeypatch, mistake):
    assert named(planted(monkeypatch, WRONG_WEIGHTS[mistake]))[0] == "forward"


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("mistake", WRONG_CALLS)
def test_wrong_calls_are_caught(monkeypatch, mistake):
    assert named(planted(monkeypatch, wrong_call=WRONG_CALLS[mistake]))[0] == "forward"


@pytest.mark.usefixtures("unoptimized")
def test_where_the_gates_agree_the_outputs_say_where(monkeypatch):
    """Here ``lstm_trace`` is right and ``lstm`` is not: the fault is in code that only ``lstm`` runs."""

    def late(inputs, **options):
        return {"inputs": jnp.where(jnp.arange(TIME)[:, None, None] == 3, inputs + 1e-6, inputs), **options}

    report = planted(monkeypatch, wrong_call=late)
    assert named(report) == ("forward", "outputs")
    # The reverse direction of the layer below carries the fault from step 3 to the first step.
    assert report.location.startswith("first difference at step 0, batch row 0, unit 0: ")


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("name", ["weight_hh_l1", "bias_hh_l0_reverse", "weight_ih_l1_reverse"])
def test_one_gradient_off_by_a_billionth_is_named(monkeypatch, name):
    @jax.custom_vjp
    def bent(x):
        return x

    bent.defvjp(lambda x: (x, None), lambda _, g: (g * (1 + 1e-9),))
    report = planted(monkeypatch, lambda weights: {**weights, name: bent(weights[name])})
    assert named(report) == ("gradient", name)
    assert report.location.startswith(f"first difference in the gradient of {name}, ")
    assert [row.name for row in report.rows if not row.ok and row.stage == "gradient"] == [name]


def test_inputs_are_drawn_from_the_stated_seed():
    one, same, other = (lstm_parity.check(model(), dtypes=["float64"], steps=0, seed=seed) for seed in (3, 3, 4))

    def losses(report):
        return [row.values for row in report.rows if row.stage == "loss"]

    assert losses(one) == losses(same) != losses(other)
    assert one.seed == 3


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (model(), {"inputs": INPUTS[..., 1:]}, "inputs has 4 features, expected input_size 5"),
        (model(), {"lengths": [8, 1], "inputs": INPUTS}, "lengths holds 8, expected 0 up to the 7 steps"),
        (model(**TWO_LAYERS), {"reset": np.zeros((7, 2), bool), "inputs": INPUTS}, "this model is bidirectional"),
        (
            RIGHT["a cell"][0],
            {"lengths": [1]},
            "lengths and reset are for an LSTM; these are the weights of an LSTM cell",
        ),
        (RIGHT["a forecaster"][0], {"state": STATE}, r"h_0 has shape \(4, 2, 4\), expected \(4, 3, 4\)"),
        (RIGHT["a forecaster"][0], {"inputs": INPUTS[0]}, r"expected \(batch, time, features\)"),
    ],
)
def test_wrong_arguments_are_named(weights, options, message):
    with pytest.raises(InputError, match=message):
        lstm_parity.check(weights, **options)
