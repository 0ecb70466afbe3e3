"""Errors name everything that is wrong with weights and inputs, all at once, before anything is compiled."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jax_lstm
import torch_lstm
from lstm_shared import InputError, WeightsError, init_lstm

WEIGHTS = init_lstm(5, 4, num_layers=2, proj_size=3)
BOTH_WAYS = init_lstm(5, 4, bidirectional=True)
HEAD = {"fc.weight": np.ones((2, 3), np.float32), "fc.bias": np.ones(2, np.float32)}
FORECASTER = {f"lstm.{name}": array for name, array in WEIGHTS.items()} | HEAD
CELL = {name.removesuffix("_l0"): array for name, array in init_lstm(5, 4).items()}
INPUTS = np.zeros((6, 2, 5), np.float32)
H, C = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 4), np.float32)

# The functions that read a sequence. Each takes (weights of an LSTM, inputs, **options).
DOORS = {
    "lstm": jax_lstm.lstm,
    "lstm_trace": jax_lstm.lstm_trace,
    "forecast": lambda weights, inputs, **options: jax_lstm.forecast(
        {f"lstm.{name}": array for name, array in weights.items()}
        | {"fc.weight": np.ones((2, 8 if weights is BOTH_WAYS else 3), np.float32), "fc.bias": np.ones(2, np.float32)},
        inputs,
        **options,
    ),
    "torch": torch_lstm.trace,
}
through_every_door = pytest.mark.parametrize("door", DOORS)


def problems(error: type[Exception], call: Any, *arguments: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    return caught.value.problems  # pyright: ignore[reportAttributeAccessIssue]


WRONG = {
    "one axis": (WEIGHTS, INPUTS[0, 0], {}, ["inputs has shape (5,), expected (time, batch, features) or, unbatched"]),
    "four axes": (WEIGHTS, INPUTS[None], {}, ["inputs has shape (1, 6, 2, 5), expected (time, batch, features)"]),
    "four axes, batch first": (WEIGHTS, INPUTS[None], {"batch_first": True}, ["expected (batch, time, features)"]),
    "features": (WEIGHTS, INPUTS[..., :3], {}, ["inputs has 3 features, expected input_size 5: shape (6, 2, 3)"]),
    "integers": (WEIGHTS, INPUTS.astype(np.int32), {}, ["inputs holds int32, expected floating-point numbers"]),
    "booleans": (WEIGHTS, INPUTS.astype(bool), {}, ["inputs holds bool, expected floating-point numbers"]),
    "complex": (WEIGHTS, INPUTS.astype(np.complex64), {}, ["inputs holds complex64, expected floating-point numbers"]),
    "h_0": (WEIGHTS, INPUTS, {"state": (C, C)}, ["h_0 has shape (2, 2, 4), expected (2, 2, 3)"]),
    "state order": (
        WEIGHTS,
        INPUTS,
        {"state": (C, H)},
        ["h_0 has shape (2, 2, 4), expected (2, 2, 3)", "c_0 has shape (2, 2, 3), expected (2, 2, 4)"],
    ),
    "state batch": (
        WEIGHTS,
        INPUTS.swapaxes(0, 1),
        {"state": (H, C)},
        ["h_0 has shape (2, 2, 3), expected (2, 6, 3)", "c_0 has shape (2, 2, 4), expected (2, 6, 4)"],
    ),
    "state unbatched": (
        WEIGHTS,
        INPUTS[:, 0],
        {"state": (H, C)},
        ["h_0 has shape (2, 2, 3), expected (2, 3)", "c_0 has shape (2, 2, 4), expected (2, 4)"],
    ),
    "state alone": (WEIGHTS, INPUTS, {"state": H}, ["state is "]),
    "state of three": (WEIGHTS, INPUTS, {"state": (H, C, C)}, ["state is a tuple of 3, expected a pair (h, c)"]),
    "state of integers": (
        WEIGHTS,
        INPUTS,
        {"state": (H.astype(np.int32), C)},
        ["h_0 holds int32, expected floating-point numbers"],
    ),
    "negative length": (WEIGHTS, INPUTS, {"lengths": np.array([3, -1])}, ["lengths holds -1, expected 0 up to the 6"]),
    "too long": (WEIGHTS, INPUTS, {"lengths": np.array([7, 8])}, ["lengths holds 7, 8, expected 0 up to the 6 steps"]),
    "too long, batch first": (
        WEIGHTS,
        INPUTS.swapaxes(0, 1),
        {"lengths": np.array([7, 6]), "batch_first": True},
        ["lengths holds 7, expected 0 up to the 6 steps"],
    ),
    "count of lengths": (
        WEIGHTS,
        INPUTS,
        {"lengths": np.array([1, 2, 3])},
        ["lengths has shape (3,), expected (2,), one length per sequence"],
    ),
    "lengths unbatched": (
        WEIGHTS,
        INPUTS[:, 0],
        {"lengths": np.array([1])},
        ["lengths has shape (1,), expected (), one length per sequence"],
    ),
    "fractional lengths": (
        WEIGHTS,
        INPUTS,
        {"lengths": np.array([1.0, 2.0], np.float32)},
        ["lengths holds float32, expected whole numbers"],
    ),
    "shape of reset": (
        WEIGHTS,
        INPUTS,
        {"reset": np.zeros((2, 6), bool)},
        ["reset has shape (2, 6), expected the inputs' leading axes, (6, 2)"],
    ),
    "reset of numbers": (
        WEIGHTS,
        INPUTS,
        {"reset": np.zeros((6, 2), np.float32)},
        ["reset holds float32, expected booleans"],
    ),
    "reset both ways": (
        BOTH_WAYS,
        INPUTS,
        {"reset": np.zeros((6, 2), bool)},
        ["reset works forward in time only: this model is bidirectional"],
    ),
    "everything": (
        BOTH_WAYS,
        INPUTS.astype(np.int32)[..., :4],
        {"state": (H, C), "lengths": np.array([1, 9, 3]), "reset": np.zeros(6, np.float32)},
        [
            "inputs holds int32",
            "inputs has 4 features, expected input_size 5",
            "h_0 has shape (2, 2, 3), expected (2, 2, 4)",
            "lengths has shape (3,)",
            "lengths holds 9",
            "reset has shape (6,)",
            "reset holds float32",
            "reset works forward in time only",
        ],
    ),
}


@through_every_door
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_inputs_are_named_all_at_once(wrong: str, door: str):
    weights, inputs, options, expected = WRONG[wrong]
    found = problems(InputError, DOORS[door], weights, inputs, **options)
    assert len(found) == len(expected), found
    for line, words in zip(found, expected, strict=True):
        assert words in line.replace("holds torch.", "holds ")


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_inputs_are_named_while_tracing(wrong: str):
    """Shapes are enough, so this comes before any compilation. Traced lengths are clipped, so any value is fine."""
    weights, inputs, options, expected = WRONG[wrong]
    static = {name: value for name, value in options.items() if name in ("batch_first", "lengths")}
    traced = {name: value for name, value in options.items() if name not in static}
    call = partial(jax_lstm.lstm, **static)
    assert len(problems(InputError, partial(jax.eval_shape, call), weights, inputs, **traced)) == len(expected)


def test_traced_lengths_of_the_wrong_shape_are_named():
    call = partial(jax.eval_shape, jax_lstm.lstm, WEIGHTS, INPUTS)
    assert problems(InputError, call, lengths=np.array([1, 2, 30])) == (
        "lengths has shape (3,), expected (2,), one length per sequence",
    )


def test_nothing_is_compiled_before_an_error(caplog: pytest.LogCaptureFixture):
    with jax.log_compiles(), pytest.raises(InputError):
        jax_lstm.lstm(WEIGHTS, INPUTS[:, :, :3], (C, H), lengths=np.array([7, 7]))
    assert not [record.message for record in caplog.records if "ompil" in record.message]


# Dropout and implementation: options that only JAX has.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 0.5}, "dropout is 0.5 but there is no key to draw from: pass key, or dropout=0.0 for inference"),
        ({"dropout": -0.1, "key": jax.random.key(0)}, "dropout is -0.1, expected a probability, 0 to 1"),
        ({"dropout": 1.5}, "dropout is 1.5, expected a probability, 0 to 1"),
        ({"dropout": float("nan")}, "dropout is nan, expected a probability, 0 to 1"),
        ({"implementation": "fastest"}, "implementation is 'fastest', expected "),
    ],
)
@pytest.mark.parametrize("door", ["lstm", "forecast"])
def test_wrong_options_are_named(door: str, options: dict[str, Any], message: str):
    (found,) = problems(InputError, DOORS[door], WEIGHTS, INPUTS, **options)
    assert message in found


def test_dropout_without_a_key_is_an_error_also_with_one_layer():
    assert problems(InputError, jax_lstm.lstm, init_lstm(5, 4), INPUTS, dropout=0.5)


# The cell

ROW = np.zeros((2, 5), np.float32)
STATE = np.zeros((2, 4), np.float32)
WRONG_FOR_A_CELL = {
    "axes": ((INPUTS,), ["inputs has shape (6, 2, 5), expected (batch, 5) or (5,)"]),
    "a number": ((np.float32(1),), ["inputs has shape (), expected (batch, 5) or (5,)"]),
    "features": ((ROW[:, :3],), ["inputs has shape (2, 3), expected (batch, 5) or (5,)"]),
    "integers": ((ROW.astype(np.int32),), ["inputs holds int32"]),
    "state": (
        (ROW, (STATE[0], STATE[:, :3])),
        ["h has shape (4,), expected (2, 4)", "c has shape (2, 3), expected (2, 4)"],
    ),
    "state alone": ((ROW, STATE), ["state is "]),
    "state of integers": ((ROW, (STATE, STATE.astype(np.int32))), ["c holds int32"]),
}


@pytest.mark.parametrize("wrong", WRONG_FOR_A_CELL)
def test_wrong_cell_inputs_are_named(wrong: str):
    arguments, expected = WRONG_FOR_A_CELL[wrong]
    found = problems(InputError, jax_lstm.lstm_cell, CELL, *arguments)
    assert len(found) == len(expected), found
    assert all(words in line for line, words in zip(found, expected, strict=True))


# Weights


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in WEIGHTS.items() if not any(part in name for part in names)}


WRONG_WEIGHTS = {
    "a missing layer": (
        {name: array for name, array in init_lstm(5, 4, num_layers=3).items() if "_l1" not in name},
        [r"weight_ih_l1 is missing: ", "weight_hh_l1 is missing", "bias_ih_l1 is missing", "bias_hh_l1 is missing"],
    ),
    "a missing bias": (without("bias_hh_l1"), ["bias_hh_l1 is missing: a 2-layer unidirectional LSTM of input_size 5"]),
    "a missing projection": (without("weight_hr_l0"), ["weight_hr_l0 is missing"]),
    "mixed sizes": (
        WEIGHTS | {"weight_hh_l1": np.ones((12, 3), np.float32), "bias_ih_l0": np.ones(8, np.float32)},
        ["bias_ih_l0 has shape (8,), expected (16,)", "weight_hh_l1 has shape (12, 3), expected (16, 3)"],
    ),
    "missing and unexpected": (
        without("weight_ih_l0") | {"weight_xx_l0": np.ones(3, np.float32)},
        ["weight_ih_l0 is missing", "weight_xx_l0 is unexpected"],
    ),
    "integers": (WEIGHTS | {"bias_hh_l0": np.ones(16, int)}, ["bias_hh_l0 holds int64"]),
    "a GRU": (
        {name: tensor.detach().numpy() for name, tensor in torch.nn.GRU(5, 4).state_dict().items()},
        ["this is a GRU, not an LSTM: weight_hh has 12 rows for 4 columns, not four times as many"],
    ),
    "a plain RNN": (torch.nn.RNN(5, 4).state_dict(), ["this is a plain RNN, not an LSTM"]),
    "nothing": ({}, ["the dictionary is empty"]),
}


@pytest.mark.parametrize("door", ["lstm", "lstm_trace", "torch"])
@pytest.mark.parametrize("wrong", WRONG_WEIGHTS)
def test_wrong_weights_are_named_all_at_once(wrong: str, door: str):
    weights, expected = WRONG_WEIGHTS[wrong]
    found = problems(WeightsError, DOORS[door], weights, INPUTS)
    assert len(found) == len(expected), found
    assert all(words in line for line, words in zip(found, expected, strict=True)), found


@pytest.mark.parametrize("wrong", ["a missing layer", "mixed sizes", "a GRU"])
def test_wrong_weights_are_named_while_tracing(wrong: str):
    weights, expected = WRONG_WEIGHTS[wrong]
    arrays = jax.tree.map(jnp.asarray, weights)
    assert len(problems(WeightsError, partial(jax.eval_shape, jax_lstm.lstm), arrays, INPUTS)) == len(expected)


@pytest.mark.parametrize(
    ("door", "wrong", "kind", "expected"),
    [
        (jax_lstm.lstm, CELL, "LSTM cell", "expected those of an LSTM (weight_ih_l0, …)"),
        (jax_lstm.lstm, FORECASTER, "forecaster", "expected those of an LSTM (weight_ih_l0, …)"),
        (jax_lstm.lstm_trace, FORECASTER, "forecaster", "expected those of an LSTM (weight_ih_l0, …)"),
        (torch_lstm.trace, CELL, "LSTM cell", "expected those of an LSTM (weight_ih_l0, …)"),
        (jax_lstm.lstm_cell, WEIGHTS, "LSTM", "expected those of an LSTM cell (weight_ih, …)"),
        (jax_lstm.forecast, WEIGHTS, "LSTM", "expected those of a forecaster (lstm.…, fc.…)"),
    ],
)
def test_another_kind_of_model_is_named(door: Any, wrong: Any, kind: str, expected: str):
    (found,) = problems(WeightsError, door, wrong, INPUTS)
    assert f" {kind} of " in found
    assert found.endswith(f", {expected}")


def test_a_forecaster_with_a_wrong_head_is_named():
    wrong = FORECASTER | {"fc.weight": np.ones((2, 4), np.float32)}
    (found,) = problems(WeightsError, jax_lstm.forecast, wrong, INPUTS)
    assert "fc.weight has shape (2, 4), expected (2, 3)" in found
