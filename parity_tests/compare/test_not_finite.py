"""NaN and infinity are named before anything is judged; a precision in which something overflows is undecided."""

import tracemalloc

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

import jax_lstm
import lstm_parity
from lstm_shared import PUBLISHED_INIT, InputError, WeightsError, init_forecaster, init_lstm
from lstm_shared.finite import count_not_finite, not_finite

WEIGHTS = init_lstm(3, 4, dtype=np.float64)
CELL = {name.removesuffix("_l0"): array for name, array in WEIGHTS.items()}
HEAD = init_forecaster(3, 4, 2, dtype=np.float64)
MODELS = {
    "LSTM": (WEIGHTS, (5, 2, 3), ((1, 2, 4), (1, 2, 4)), ("h", "c")),
    "cell": (CELL, (2, 3), ((2, 4), (2, 4)), ("h", "c")),
    "forecaster": (HEAD, (2, 5, 3), ((1, 2, 4), (1, 2, 4)), ("h", "c")),
    "by-hand": (PUBLISHED_INIT, (2, 4), ((2,), (2,)), ("long_memory", "short_memory")),
}


def drawn(model: str):
    """(weights, inputs, state); inputs and state are drawn from N(0, 1)."""
    rng = np.random.default_rng(0)
    weights, shape, shapes, _ = MODELS[model]
    weights = {name: np.array(array) for name, array in weights.items()}
    return weights, rng.standard_normal(shape), tuple(rng.standard_normal(one) for one in shapes)


# Given


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["weights", "inputs", "first state", "second state"])
@pytest.mark.parametrize("model", MODELS)
def test_what_is_given_and_not_finite_is_named_and_not_judged(model, where, value):
    weights, inputs, state = drawn(model)
    named = {"inputs": inputs, "first state": state[0], "second state": state[1]}
    array = named.get(where, weights[next(iter(weights))])
    array[(0,) * array.ndim] = value
    names = MODELS[model][3]
    name = {"first state": names[0], "second state": names[1], "weights": next(iter(weights))}.get(where, where)
    with pytest.raises(WeightsError if where == "weights" else InputError) as caught:
        lstm_parity.check(weights, inputs, state=state, dtypes=["float64"])
    assert caught.value.problems == (f"{name} holds 1 of {array.size} values that are NaN or infinite",)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("unbatched", [False, True])
def test_what_stands_in_the_padding_is_not_read(batch_first, unbatched):
    weights, inputs, _ = drawn("LSTM")
    inputs[3:, 0], lengths = np.nan, np.array([3, 5])
    if unbatched:
        inputs, lengths = inputs[:, 0], np.array(3)
    elif batch_first:
        inputs = inputs.swapaxes(0, 1)
    options = {"lengths": lengths, "batch_first": batch_first, "dtypes": ["float64"], "steps": 0}
    assert lstm_parity.check(weights, inputs, **options).verdict_word == "agree"
    inputs[0] = np.where(np.arange(3) == 0, np.inf, inputs[0])
    with pytest.raises(InputError, match="inputs holds"):
        lstm_parity.check(weights, inputs, **options)


@pytest.mark.parametrize("where", ["inputs", "h_0", "c_0"])
def test_diagnose_names_what_is_not_finite(where):
    weights, inputs, state = drawn("LSTM")
    outputs = np.zeros((5, 2, 4))
    {"inputs": inputs, "h_0": state[0], "c_0": state[1]}[where][0] = np.inf
    with pytest.raises(InputError, match=f"^{where} holds "):
        lstm_parity.diagnose(weights, inputs, outputs, state=state)


# Rounded


@pytest.mark.parametrize(
    ("dtype", "large"), [("float32", 1e39), ("float32", 1e300), ("float16", 7e4), ("bfloat16", 3.4e38)]
)
@pytest.mark.parametrize("where", ["weights", "inputs", "state"])
@pytest.mark.parametrize("model", ["LSTM", "cell"])
def test_what_overflows_in_one_precision_is_undecided_in_it(model, where, dtype, large):
    weights, inputs, state = drawn(model)
    array = {"inputs": inputs, "state": state[1]}.get(where, weights[next(iter(weights))])
    array[0] = large
    report = lstm_parity.check(weights, inputs, state=state, dtypes=[dtype], steps=0)
    name = {"inputs": "inputs", "state": "c"}.get(where, next(iter(weights)))
    assert report.verdict_word == "undecided"
    assert report.exit_code == 3
    (said,) = report.undecided
    assert said.startswith(f"rounded to {dtype}, {name} holds ")
    assert f"nothing was judged in {dtype}" in report.verdict() or not report.rows


def test_the_other_precisions_are_judged_all_the_same():
    weights, inputs, _ = drawn("LSTM")
    inputs[0, 0, 0] = 1e39
    report = lstm_parity.check(weights, inputs, dtypes=["float64", "float32"], steps=0)
    assert {row.dtype for row in report.rows} == {"float64"}
    assert all(row.ok for row in report.rows)
    assert report.verdict_word == "undecided"
    said = "rounded to float32, inputs holds 1 of 30 values that are NaN or infinite, so nothing was judged in float32"
    assert said in report.verdict()


@pytest.mark.parametrize("head", [1e308, -1e308, 1.7e308])
def test_results_that_overflow_in_the_reference_are_undecided(head):
    """A head with weights near the largest float64: its predictions are sums beyond that."""
    weights, inputs, _ = drawn("forecaster")
    weights["fc.weight"][:], weights["fc.bias"][:] = head, head
    weights = {name: np.where(name.startswith("lstm.bias"), 4.0, array) for name, array in weights.items()}
    weights = {name: array * np.ones(HEAD[name].shape) for name, array in weights.items()}
    report = lstm_parity.check(weights, inputs, dtypes=["float64"], steps=0)
    assert report.verdict_word == "undecided"
    assert "in float64, forward predictions of torch overflowed" in report.verdict() or report.undecided


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("framework", ["numpy", "jax", "torch"])
def test_a_ports_nan_differs_where_the_reference_is_finite(framework, value):
    def port(params, inputs):
        outputs = np.array(
            jax_lstm.lstm(
                {n: np.asarray(p.detach()) if framework == "torch" else np.asarray(p) for n, p in params.items()},
                np.asarray(inputs.detach()) if framework == "torch" else np.asarray(inputs),
            )[0]
        )
        outputs[0, 0, 0] = value
        return {"numpy": np.array, "jax": jnp.asarray, "torch": torch.tensor}[framework](outputs)

    from lstm_parity.sides.port import Port

    weights, inputs, _ = drawn("LSTM")
    report = lstm_parity.check(weights, inputs, candidate=Port(port, framework=framework), dtypes=["float64"])
    assert report.verdict_word == "differ"
    assert "NaN or infinite" in report.verdict()


# Counted in place


DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.dtype(">f8"), np.dtype(">f4"), np.int32, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).str)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (70_000,), (3, 50_000), (300, 70, 5)])
@pytest.mark.parametrize("view", ["as it is", "turned", "sliced", "broadcast"])
def test_every_value_that_is_not_finite_is_counted_once(dtype, shape, view):
    rng = np.random.default_rng(0)
    array = rng.standard_normal(shape)
    flat = array.reshape(-1)
    if np.dtype(dtype).kind == "f" or dtype is ml_dtypes.bfloat16:
        flat[rng.random(flat.size) < 0.01], flat[:1] = np.nan, np.inf
        flat[-1:] = -np.inf
    array = array.astype(dtype)
    changes = {
        "turned": np.transpose,
        "sliced": lambda a: a[..., ::-2] if a.ndim else a,
        "broadcast": lambda a: np.broadcast_to(a, (3, *a.shape)),
    }
    array = changes.get(view, np.asarray)(array)
    expected = int(np.sum(~np.isfinite(array.astype(np.float64))))
    assert count_not_finite(array) == expected
    assert len(not_finite({"w": array})) == bool(expected)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
def test_counting_takes_no_memory_that_grows_with_the_array(dtype):
    array = np.ones(4_000_000, dtype)
    tracemalloc.start()
    try:
        assert count_not_finite(array) == 0
        assert count_not_finite(array.reshape(2000, 2000).T) == 0
        assert tracemalloc.get_traced_memory()[1] < 2_000_000  # the array has 8 to 32 MB
    finally:
        tracemalloc.stop()


# Big-endian


@pytest.mark.parametrize("given", ["NumPy", "torch", "weights alone"])
@pytest.mark.parametrize("model", MODELS)
def test_big_endian_arrays_are_read(model, given):
    weights, inputs, state = drawn(model)
    turned = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in weights.items()}
    if given != "weights alone":
        inputs, state = inputs.astype(">f8"), tuple(part.astype(">f8") for part in state)
    if given == "torch":
        from lstm_shared.tensors import to_array, to_tensor

        for array in (*turned.values(), inputs):
            np.testing.assert_array_equal(to_array(to_tensor(array)), array)
        return
    assert lstm_parity.check(turned, inputs, state=state, dtypes=["float64"], steps=0).verdict_word == "agree"
