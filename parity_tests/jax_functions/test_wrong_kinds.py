"""Arguments of the wrong kind: each call raises one of our errors, which names everything that is wrong.

In the tables, each row is a call and the argument names in its message, one per line.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jax_lstm
import torch_lstm
from jax_lstm import by_hand, forecaster
from lstm_shared import (
    InputError,
    WeightsError,
    by_hand_to_lstm,
    describe,
    find_models,
    flatten_tree,
    from_layout,
    init_by_hand,
    init_forecaster,
    init_lstm,
    to_layout,
    unflatten_tree,
)

WEIGHTS = init_lstm(5, 4)
CELL = {name.removesuffix("_l0"): array for name, array in WEIGHTS.items()}
FORECASTER = init_forecaster(5, 4)
TWELVE = init_by_hand()
INPUTS = np.zeros((6, 2, 5), np.float32)
ROW = np.zeros((2, 5), np.float32)
PRICES = np.zeros((3, 4), np.float32)
H = np.zeros((1, 2, 4), np.float32)
RAGGED = [[1.0, 2.0], [3.0]]
OBJECTS = np.array([None, 1.0], object)
HOLDS_ITSELF: dict[str, Any] = {}
HOLDS_ITSELF["a"] = HOLDS_ITSELF


class Unreadable:
    """An object that answers every question with an error of its own."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise OSError("not today")


Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Call:
    return function, arguments, options


def lstm(**options: Any) -> Call:
    return call(jax_lstm.lstm, WEIGHTS, INPUTS, **options)


def with_weight(value: Any, name: Any = "bias_hh_l0") -> dict[Any, Any]:
    return {other: array for other, array in WEIGHTS.items() if other != "bias_hh_l0"} | {name: value}


# Something that is not a dictionary of arrays, given to every function that takes one.

NO_DICTIONARIES = {"None": None, "list": [1.0], "tuple": (1.0,), "text": "lstm", "number": 3.0, "array": INPUTS}
TAKERS: dict[str, Callable[[Any], Any]] = {
    "lstm": lambda weights: jax_lstm.lstm(weights, INPUTS),
    "lstm_trace": lambda weights: jax_lstm.lstm_trace(weights, INPUTS),
    "lstm_cell": lambda weights: jax_lstm.lstm_cell(weights, ROW),
    "forecast": lambda weights: jax_lstm.forecast(weights, INPUTS),
    "lstm_unit": lambda weights: jax_lstm.lstm_unit(weights, 1.0, 2.0, 1.0),
    "predict": lambda weights: by_hand.predict(weights, PRICES),
    "by_hand.trace": lambda weights: by_hand.trace(weights, PRICES),
    "by_hand.loss": lambda weights: by_hand.loss(weights, (PRICES, np.zeros(3, np.float32))),
    "nnx": jax_lstm.nnx.LSTM.from_weights,
    "to_torch": torch_lstm.to_torch,
    "from_torch": torch_lstm.from_torch,
    "torch trace": lambda weights: torch_lstm.trace(weights, INPUTS),
    "describe": describe,
    "find_models": find_models,
    "by_hand_to_lstm": by_hand_to_lstm,
    "to_layout": lambda weights: to_layout(weights, "keras"),
    "from_layout": lambda weights: from_layout(weights, "keras"),
    "flatten_tree": flatten_tree,
    "unflatten_tree": unflatten_tree,
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("given", NO_DICTIONARIES)
def test_what_is_no_dictionary_is_refused(given: str, taker: str):
    with pytest.raises(WeightsError) as caught:
        TAKERS[taker](NO_DICTIONARIES[given])
    (line,) = caught.value.problems
    assert "expected a" in line


# Weights with a name or a value of the wrong kind.

WRONG_WEIGHTS = {
    "a whole-number name": (with_weight(np.ones(16, np.float32), 1), ["the name 1 is of type int", "bias_hh_l0 is mi"]),
    "a name of bytes": (
        with_weight(np.ones(16, np.float32), b"b"),
        ["the name b'b' is of type bytes", "bias_hh_l0 is"],
    ),
    "a name of several": (with_weight(1.0, ("a", 1)), ["the name a tuple is of type tuple", "bias_hh_l0 is missing"]),
    "only whole-number names": ({0: INPUTS, 1: INPUTS}, ["the name 0 is of type int", "the name 1 is of type int"]),
    "None": (with_weight(None), ["bias_hh_l0 is None, expected an array"]),
    "text": (with_weight("zeros"), ["bias_hh_l0 is 'zeros', expected an array"]),
    "a dictionary": (with_weight({"bias": 1}), ["bias_hh_l0 is a dict, expected an array"]),
    "objects": (with_weight(OBJECTS), ["bias_hh_l0 has shape (2,)", "bias_hh_l0 holds object"]),
    "a list of objects": (with_weight([None] * 16), ["bias_hh_l0 is a list, expected an array"]),
    "texts": (with_weight(["a"] * 16), ["bias_hh_l0 holds str32: weights are floating-point numbers"]),
    "ragged": (with_weight(RAGGED), ["bias_hh_l0 is not an array: it holds rows of different lengths"]),
    "unreadable": (with_weight(Unreadable()), ["bias_hh_l0 is an Unreadable, which cannot be read as an array (OSE"]),
    "complex": (with_weight(np.ones(16, np.complex64)), ["bias_hh_l0 holds complex64"]),
    "longdouble": (with_weight(np.ones(16, np.longdouble)), ["bias_hh_l0 holds float128: weights are one of float64"]),
    "a field called float": (with_weight(np.ones(16, [("float", "i4")])), ["bias_hh_l0 holds void32"]),
    "two at once": (with_weight(None) | {"weight_ih_l0": "x"}, ["weight_ih_l0 is 'x'", "bias_hh_l0 is None"]),
    "and a wrong shape": (
        with_weight(None) | {"bias_ih_l0": np.ones(3, np.float32)},
        ["bias_hh_l0 is None", "bias_ih_l0 has shape (3,), expected (16,)"],
    ),
}


@pytest.mark.parametrize("door", ["lstm", "lstm_trace", "nnx", "to_torch", "torch trace", "describe"])
@pytest.mark.parametrize("wrong", WRONG_WEIGHTS)
def test_weights_of_the_wrong_kind_are_named_all_at_once(wrong: str, door: str):
    weights, expected = WRONG_WEIGHTS[wrong]
    with pytest.raises(WeightsError) as caught:
        TAKERS[door](weights)
    lines = caught.value.problems
    assert len(lines) == len(expected), lines
    assert all(words in line for line, words in zip(lines, expected, strict=True)), lines


# Everything else: the words that each line of the message begins with.

WRONG_CALLS: dict[str, tuple[Call, list[str]]] = {
    "inputs None": (call(jax_lstm.lstm, WEIGHTS, None), ["inputs is None"]),
    "inputs text": (call(jax_lstm.lstm, WEIGHTS, "prices.csv"), ["inputs is 'prices.csv'"]),
    "inputs complex": (call(jax_lstm.lstm, WEIGHTS, INPUTS.astype(np.complex64)), ["inputs holds complex64"]),
    "inputs of objects": (call(jax_lstm.lstm, WEIGHTS, INPUTS.astype(object)), ["inputs holds object"]),
    "inputs ragged": (call(jax_lstm.lstm, WEIGHTS, [RAGGED]), ["inputs is not an array"]),
    "inputs longdouble": (call(jax_lstm.lstm, WEIGHTS, INPUTS.astype(np.longdouble)), ["inputs holds float128"]),
    "inputs a dictionary": (call(jax_lstm.lstm, WEIGHTS, {"inputs": INPUTS}), ["inputs is a dict"]),
    "inputs unreadable": (call(jax_lstm.lstm, WEIGHTS, Unreadable()), ["inputs is an Unreadable"]),
    "dropout text": (lstm(dropout="x"), ["dropout is 'x'"]),
    "dropout text that is a number": (lstm(dropout="0.5", key=jax.random.key(0)), ["dropout is '0.5'"]),
    "dropout None": (lstm(dropout=None), ["dropout is None"]),
    "dropout True": (lstm(dropout=True), ["dropout is True"]),
    "dropout NaN": (lstm(dropout=float("nan")), ["dropout is nan"]),
    "dropout 1.5": (lstm(dropout=1.5), ["dropout is 1.5"]),
    "dropout negative": (lstm(dropout=-0.5), ["dropout is -0.5"]),
    "dropout a list": (lstm(dropout=[0.5]), ["dropout is a list"]),
    "dropout traced": (
        call(jax.jit(lambda dropout: jax_lstm.lstm(WEIGHTS, INPUTS, dropout=dropout)), 0.5),
        ["dropout is a "],
    ),
    "key a number": (lstm(key=3), ["key is 3"]),
    "key text": (lstm(dropout=0.5, key="seed"), ["key is 'seed'"]),
    "key of floats": (lstm(dropout=0.5, key=np.zeros(2, np.float32)), ["key is a ndarray"]),
    "several keys": (lstm(dropout=0.5, key=jax.random.split(jax.random.key(0))), ["key is a PRNGKeyArray"]),
    "lengths floats": (lstm(lengths=[1.0, 2.0]), ["lengths holds float64"]),
    "lengths text": (lstm(lengths="3"), ["lengths is '3'"]),
    "lengths texts": (lstm(lengths=["3", "4"]), ["lengths holds str32"]),
    "lengths of the wrong shape": (lstm(lengths=[[1, 2]]), ["lengths has shape (1, 2)"]),
    "lengths ragged": (lstm(lengths=RAGGED), ["lengths is not an array"]),
    "lengths None inside": (lstm(lengths=[1, None]), ["lengths is a list"]),
    "lengths booleans": (lstm(lengths=[True, True]), ["lengths holds bool"]),
    "lengths of twenty digits": (lstm(lengths=[1, 10**30]), ["lengths is a list"]),
    "reset whole numbers": (lstm(reset=np.zeros((6, 2), int)), ["reset holds int64"]),
    "reset text": (lstm(reset="never"), ["reset is 'never'"]),
    "reset True": (lstm(reset=True), ["reset has shape ()"]),
    "state one array": (lstm(state=H), ["state is a ndarray"]),
    "state of three": (lstm(state=(H, H, H)), ["state is a tuple of 3"]),
    "state of nothing": (lstm(state=()), ["state is a tuple of 0"]),
    "state None inside": (lstm(state=(H, None)), ["c_0 is None"]),
    "state None twice": (lstm(state=[None, None]), ["h_0 is None", "c_0 is None"]),
    "state text": (lstm(state="zeros"), ["state is 'zeros'"]),
    "state texts": (lstm(state=("a", "b")), ["h_0 is 'a'", "c_0 is 'b'"]),
    "state a dictionary": (lstm(state={"h": H, "c": H}), ["state is a dict"]),
    "precision": (lstm(precision="x"), ["precision is 'x'"]),
    "precision a number": (lstm(precision=3), ["precision is 3"]),
    "implementation a number": (lstm(implementation=3), ["implementation is 3"]),
    "implementation None": (lstm(implementation=None), ["implementation is None"]),
    "implementation a list": (lstm(implementation=["scan"]), ["implementation is a list"]),
    "recompute 0": (lstm(recompute=0), ["recompute is 0"]),
    "recompute True": (lstm(recompute=True), ["recompute is True"]),
    "recompute 2.0": (lstm(recompute=2.0), ["recompute is 2.0"]),
    "recompute text": (lstm(recompute="2"), ["recompute is '2'"]),
    "batch_first no": (lstm(batch_first="no"), ["batch_first is 'no'"]),
    "batch_first None": (lstm(batch_first=None), ["batch_first is None"]),
    "everything": (
        call(
            jax_lstm.lstm,
            WEIGHTS,
            None,
            ("a", None),
            batch_first=1,
            lengths="3",
            reset={},
            dropout="x",
            key=3,
            precision="x",
            implementation=3,
            recompute=0,
        ),
        [
            "implementation is 3",
            "recompute is 0",
            "precision is 'x'",
            "key is 3",
            "inputs is None",
            "lengths is '3'",
            "reset is a dict",
            "h_0 is 'a'",
            "c_0 is None",
            "batch_first is 1",
            "dropout is 'x'",
        ],
    ),
    "trace, inputs None": (call(jax_lstm.lstm_trace, WEIGHTS, None), ["inputs is None"]),
    "trace, precision": (call(jax_lstm.lstm_trace, WEIGHTS, INPUTS, precision="x"), ["precision is 'x'"]),
    "cell, inputs None": (call(jax_lstm.lstm_cell, CELL, None), ["inputs is None"]),
    "cell, inputs text": (call(jax_lstm.lstm_cell, CELL, "x"), ["inputs is 'x'"]),
    "cell, state None inside": (call(jax_lstm.lstm_cell, CELL, ROW, (None, ROW[:, :4])), ["h is None"]),
    "cell, precision": (call(jax_lstm.lstm_cell, CELL, ROW, precision=[]), ["precision is a list"]),
    "cell, everything": (
        call(jax_lstm.lstm_cell, CELL, ROW.astype(object), ("h", None), precision="x"),
        ["precision is 'x'", "h is 'h'", "c is None", "inputs holds object"],
    ),
    "forecast, inputs text": (call(jax_lstm.forecast, FORECASTER, "x"), ["inputs is 'x'"]),
    "forecast, batch_first": (call(jax_lstm.forecast, FORECASTER, INPUTS, batch_first=2), ["batch_first is 2"]),
    "forecaster.loss, no pair": (call(forecaster.loss, FORECASTER, INPUTS), ["batch is a ndarray"]),
    "forecaster.loss, labels": (call(forecaster.loss, FORECASTER, (INPUTS, "x")), ["labels is 'x'"]),
    "forecaster.loss, labels of one axis": (
        call(forecaster.loss, FORECASTER, (INPUTS, np.zeros(6, np.float32))),
        ["labels has shape (6,), expected that of the predictions, (6, 1)"],
    ),
    "predict, prices None": (call(by_hand.predict, TWELVE, None), ["prices is None"]),
    "predict, prices text": (call(by_hand.predict, TWELVE, "AAPL"), ["prices is 'AAPL'"]),
    "predict, prices ragged": (call(by_hand.predict, TWELVE, RAGGED), ["prices is not an array"]),
    "predict, prices complex": (call(by_hand.predict, TWELVE, PRICES + 0j), ["prices holds complex64"]),
    "predict, memories": (
        call(by_hand.predict, TWELVE, PRICES, "x", None),
        ["long_memory is 'x'", "short_memory is N"],
    ),
    "predict, a complex memory": (call(by_hand.predict, TWELVE, PRICES, 1j), ["long_memory holds complex128"]),
    "by_hand.trace, prices None": (call(by_hand.trace, TWELVE, None), ["prices is None"]),
    "lstm_unit, values": (
        call(jax_lstm.lstm_unit, TWELVE, "x", None, RAGGED),
        ["input_value is 'x'", "long_memory is None", "short_memory is not an array"],
    ),
    "by_hand.loss, None": (call(by_hand.loss, TWELVE, None), ["batch is None"]),
    "by_hand.loss, three": (call(by_hand.loss, TWELVE, (PRICES, PRICES, PRICES)), ["batch is a tuple"]),
    "by_hand.loss, labels": (call(by_hand.loss, TWELVE, (PRICES, ["x"] * 3)), ["labels holds str32"]),
    "by_hand.loss, labels of two axes": (
        call(by_hand.loss, TWELVE, (PRICES, np.zeros((3, 1), np.float32))),
        ["labels has shape (3, 1), expected that of the predictions, (3,)"],
    ),
    "init_lstm, sizes": (call(init_lstm, -1, "x"), ["input_size is -1", "hidden_size is 'x'"]),
    "init_lstm, a size of half": (call(init_lstm, 2.5, True), ["input_size is 2.5", "hidden_size is True"]),
    "init_lstm, seed": (call(init_lstm, 2, 3, seed=-1), ["seed is -1"]),
    "init_lstm, seed text": (call(init_lstm, 2, 3, seed="x"), ["seed is 'x'"]),
    "init_lstm, dtype": (call(init_lstm, 2, 3, dtype="float31"), ["dtype is 'float31'"]),
    "init_lstm, dtype None": (call(init_lstm, 2, 3, dtype=None), ["dtype is None"]),
    "init_lstm, dtype complex": (call(init_lstm, 2, 3, dtype=np.complex64), ["dtype is complex64"]),
    "init_lstm, switches": (call(init_lstm, 2, 3, bias="no", bidirectional=1), ["bias is 'no'", "bidirectional is 1"]),
    "init_lstm, too large": (call(init_lstm, 10**9, 10**9), ["these weights would need at least 64 EB"]),
    "init_lstm, a size of 5000 digits": (call(init_lstm, 1, 10**5000), ["these weights would need at least 1e+03 EB"]),
    "init_lstm, layers": (
        call(init_lstm, 2, 3, num_layers=10**9),
        ["num_layers is 1000000000, expected at most 1000000"],
    ),
    "init_lstm, everything": (
        call(init_lstm, 0, None, num_layers="2", bias=None, proj_size=-1, seed=0.5, dtype="x"),
        ["input_size", "hidden_size", "num_layers", "bias", "proj_size", "seed", "dtype"],
    ),
    "init_by_hand": (call(init_by_hand, -1, int), ["seed is -1", "dtype is int64"]),
    "init_by_hand, seed a list": (call(init_by_hand, [1]), ["seed is a list"]),
    "init_forecaster": (call(init_forecaster, "x", 3, 0), ["input_size is 'x'", "output_size is 0"]),
    "init_forecaster, too large": (call(init_forecaster, 2, 3, 10**15), ["the head would need at least"]),
    "to_layout, layout": (call(to_layout, WEIGHTS, 3), ["layout is 3"]),
    "to_layout, layout a list": (call(to_layout, WEIGHTS, ["keras"]), ["layout is a list"]),
    "to_layout, layer and direction": (
        call(to_layout, WEIGHTS, "keras", layer="0", reverse="no"),
        ["layer is '0'", "reverse is 'no'"],
    ),
    "from_layout, layer": (call(from_layout, {}, None, layer=1.0), ["layout is None", "layer is 1.0"]),
    "linen, sizes": (call(jax_lstm.linen.LSTM, "x", 0), ["input_size is 'x'", "hidden_size is 0"]),
    "linen, options": (
        call(
            jax_lstm.linen.LSTM,
            5,
            4,
            batch_first="no",
            dropout="x",
            param_dtype="x",
            precision="x",
            implementation=3,
            recompute=0,
        ),
        ["batch_first", "dropout", "param_dtype", "precision", "implementation", "recompute"],
    ),
    "linen, inputs": (
        call(lambda: jax_lstm.linen.LSTM(5, 4).init(jax.random.key(0), "x")),
        ["inputs is 'x'"],
    ),
    "linen, deterministic": (
        call(jax_lstm.linen.LSTM(5, 4).apply, {"params": WEIGHTS}, INPUTS, deterministic="no"),
        ["deterministic is 'no'"],
    ),
    "nnx, sizes": (call(jax_lstm.nnx.LSTM, "x", -4, rngs=nnx.Rngs(0)), ["input_size is 'x'", "hidden_size is -4"]),
    "nnx, options": (
        call(jax_lstm.nnx.LSTM, 5, 4, dropout=2, proj_size=4, rngs=0, recompute=True, param_dtype=int),
        ["proj_size is 4", "dropout is 2", "param_dtype is int64", "recompute is True", "rngs is 0"],
    ),
    "nnx, inputs": (call(jax_lstm.nnx.LSTM.from_weights(WEIGHTS), None), ["inputs is None"]),
    "to_torch, batch_first": (call(torch_lstm.to_torch, WEIGHTS, batch_first="no"), ["batch_first is 'no'"]),
    "from_torch, prefix": (call(torch_lstm.from_torch, torch.nn.LSTM(5, 4), prefix=3), ["prefix is 3"]),
    "LinearGatesCell": (call(torch_lstm.LinearGatesCell, "x", 0), ["input_size is 'x'", "hidden_size is 0"]),
    "Forecaster": (call(torch_lstm.Forecaster, input_size=2, hidden_size="x"), ["hidden_size is 'x'"]),
    "Forecaster, output": (
        call(torch_lstm.Forecaster, input_size=2, hidden_size=3, output_size=0),
        ["output_size is 0"],
    ),
    "torch trace, inputs None": (call(torch_lstm.trace, WEIGHTS, None), ["inputs is None"]),
    "torch trace, inputs text": (call(torch_lstm.trace, WEIGHTS, "x"), ["inputs is 'x'"]),
    "torch trace, everything": (
        call(torch_lstm.trace, WEIGHTS, INPUTS, ("a", None), batch_first="no", lengths="3", reset="x"),
        ["lengths is '3'", "reset is 'x'", "h_0 is 'a'", "c_0 is None", "batch_first is 'no'"],
    ),
    "LSTMByHand, prices": (call(torch_lstm.LSTMByHand(), "x", None), ["prices is 'x'", "long_memory is None"]),
    "LSTMByHand, unit": (call(torch_lstm.LSTMByHand().lstm_unit, None, 1, 2), ["input_value is None"]),
}


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_an_argument_of_the_wrong_kind_is_named(wrong: str):
    (function, arguments, options), expected = WRONG_CALLS[wrong]
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    lines = caught.value.problems
    assert len(lines) == len(expected), lines
    assert all(line.startswith(words) for line, words in zip(lines, expected, strict=True)), lines


def test_a_dictionary_of_texts_as_state_dict_is_refused():
    with pytest.raises(WeightsError, match="bias_hh_l0 is None, expected a tensor"):
        torch_lstm.from_torch({"weight_ih_l0": torch.ones(3), "bias_hh_l0": None})  # pyright: ignore[reportArgumentType]


def test_a_tree_that_holds_itself_is_refused():
    with pytest.raises(WeightsError, match="the dictionary holds itself"):
        flatten_tree(HOLDS_ITSELF)


# And right arguments still work.

RIGHT = {
    "lists": lambda: jax_lstm.lstm({name: array.tolist() for name, array in WEIGHTS.items()}, INPUTS.tolist()),
    "a NumPy bool": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, batch_first=np.bool_(False)),
    "a NumPy number as dropout": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, dropout=np.float64(0.5), key=jax.random.key(0)),
    "a JAX number as dropout": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, dropout=jnp.float32(0.5), key=jax.random.key(0)),
    "a key of the old form": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, dropout=0.5, key=jax.random.PRNGKey(0)),
    "a key of another stream": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, dropout=0.5, key=jax.random.key(0, impl="rbg")),
    "lengths of a tuple": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, lengths=(6, 2)),
    "lengths of bytes": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, lengths=np.array([6, 2], np.uint8)),
    "a state in a list": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, [H, H]),
    "torch's tensors": lambda: jax_lstm.lstm(dict(torch.nn.LSTM(5, 4).named_parameters()), torch.zeros(6, 2, 5)),
    "torch's bfloat16": lambda: jax_lstm.lstm(
        torch.nn.LSTM(5, 4).bfloat16().state_dict(), torch.zeros(6, 2, 5).bfloat16()
    ),
    "whole numbers for the unit": lambda: jax_lstm.lstm_unit(TWELVE, 1, 2, 1),
    "whole numbers as memories": lambda: by_hand.predict(TWELVE, PRICES, 2, 1),
    "whole numbers as labels": lambda: by_hand.loss(TWELVE, (PRICES, np.zeros(3, int))),
    "a NumPy number as size": lambda: init_lstm(np.int64(2), np.int32(3)),
    "a large seed": partial(init_lstm, 2, 3, seed=2**70),
    "a precision pair": lambda: jax_lstm.lstm(WEIGHTS, INPUTS, precision=("high", "highest")),
}


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_stays_welcome(right: str):
    results = [x for x in jax.tree.leaves(RIGHT[right]()) if hasattr(x, "dtype")]
    assert results
    assert all(np.isfinite(np.asarray(result, np.float64)).all() for result in results)
