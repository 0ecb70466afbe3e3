"""Every layout runs in the real package: torch's weights in its cell, and its own weights in torch.nn.LSTM."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # keras reads it once, when it is imported

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox
import haiku
import jax
import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import torch
from flax import linen, nnx

from lstm_shared.errors import InputError, WeightsError
from lstm_shared.layout_table import LAYOUTS
from lstm_shared.layouts import from_layout, to_layout
from lstm_shared.trees import flatten_tree, unflatten_tree

TIME, BATCH, INPUT, HIDDEN = 5, 2, 3, 4
KEY = 7

# Largest difference measured over all peers, outputs and states of order 1: 1.0 eps in float64, 0.88 eps in float32.
TOLERANCE_IN_EPS = 8


def draw(*shape: int, seed: int, dtype: Any = np.float64) -> np.ndarray:
    """Numbers of order 1, all different and none of them zero."""
    return np.random.default_rng(seed).normal(scale=0.7, size=shape).astype(dtype)


def lstm_weights(
    num_layers: int = 1, bidirectional: bool = False, bias: bool = True, dtype: Any = np.float64
) -> dict[str, np.ndarray]:
    shapes = torch.nn.LSTM(INPUT, HIDDEN, num_layers, bidirectional=bidirectional, bias=bias).state_dict()
    return {
        name: draw(*values.shape, seed=seed, dtype=dtype) for seed, (name, values) in enumerate(sorted(shapes.items()))
    }


def run_torch(weights: dict[str, np.ndarray], inputs: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    """Outputs (time, batch, hidden), h and c (batch, hidden) of one layer."""
    lstm = torch.nn.LSTM(INPUT, HIDDEN, bias="bias_ih_l0" in weights).to(torch.from_numpy(inputs).dtype)
    lstm.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    with torch.no_grad():
        outputs, (h_n, c_n) = lstm(torch.from_numpy(inputs), (torch.from_numpy(h)[None], torch.from_numpy(c)[None]))
    return [outputs.numpy(), h_n[0].numpy(), c_n[0].numpy()]


def roll(step: Callable, inputs: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    outputs = []
    for step_inputs in inputs:
        h, c = step(step_inputs, h, c)
        outputs.append(np.asarray(h))
    return [np.stack(outputs), np.asarray(h), np.asarray(c)]


# One peer: the package's own fresh parameters, and its forward pass over (inputs, h, c) with a given tree.


def linen_fresh(cell_class: Any, dtype: Any) -> Any:
    carry = (jnp.zeros((BATCH, HIDDEN), dtype),) * 2
    return cell_class(HIDDEN, param_dtype=dtype).init(jax.random.key(KEY), carry, jnp.zeros((BATCH, INPUT)))["params"]


def linen_run(cell_class: Any, tree: Any, *data: np.ndarray) -> list[np.ndarray]:
    def step(inputs, h, c):
        (c, h), _ = cell_class(HIDDEN).apply({"params": tree}, (c, h), inputs)
        return h, c

    return roll(step, *data)


def nnx_cell(cell_class: Any, dtype: Any) -> Any:
    return cell_class(INPUT, HIDDEN, param_dtype=dtype, rngs=nnx.Rngs(KEY))


def nnx_fresh(cell_class: Any, dtype: Any) -> Any:
    return nnx.to_pure_dict(nnx.state(nnx_cell(cell_class, dtype), nnx.Param))


def nnx_run(cell_class: Any, tree: Any, *data: np.ndarray) -> list[np.ndarray]:
    cell = nnx_cell(cell_class, data[0].dtype)
    nnx.update(cell, tree)

    def step(inputs, h, c):
        (c, h), _ = cell((c, h), inputs)
        return h, c

    return roll(step, *data)


def haiku_step(inputs: Any, h: Any, c: Any) -> Any:
    _, state = haiku.LSTM(HIDDEN)(inputs, haiku.LSTMState(h, c))
    return state.hidden, state.cell


HAIKU = haiku.without_apply_rng(haiku.transform(haiku_step))


def haiku_fresh(_: Any, dtype: Any) -> Any:
    state = jnp.zeros((BATCH, HIDDEN), dtype)
    return HAIKU.init(jax.random.key(KEY), jnp.zeros((BATCH, INPUT), dtype), state, state)["lstm/linear"]


def haiku_run(_: Any, tree: Any, *data: np.ndarray) -> list[np.ndarray]:
    return roll(lambda *step: HAIKU.apply({"lstm/linear": tree}, *step), *data)


def equinox_fresh(cell_class: Any, dtype: Any) -> Any:
    cell = cell_class(INPUT, HIDDEN, dtype=dtype, key=jax.random.key(KEY))
    arrays = equinox.filter(cell, equinox.is_array)
    return {name: value for name, value in vars(arrays).items() if isinstance(value, jax.Array)}


def equinox_run(cell_class: Any, tree: Any, *data: np.ndarray) -> list[np.ndarray]:
    cell = cell_class(INPUT, HIDDEN, key=jax.random.key(KEY))
    cell = equinox.tree_at(lambda fields: [getattr(fields, name) for name in tree], cell, list(tree.values()))
    return roll(lambda inputs, h, c: jax.vmap(cell)(inputs, (h, c)), *data)


def keras_fresh(layer_class: Any, dtype: Any) -> Any:
    layer = layer_class(HIDDEN, dtype=np.dtype(dtype).name)
    layer.build((BATCH, TIME, INPUT))
    return {variable.name: np.asarray(variable) for variable in layer.trainable_variables}


def keras_run(layer_class: Any, tree: Any, inputs: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    whole_sequence = {"return_sequences": True, "return_state": True} if layer_class is keras.layers.LSTM else {}
    layer = layer_class(HIDDEN, dtype=inputs.dtype.name, **whole_sequence)
    layer.build((BATCH, TIME, INPUT))
    assert {variable.name for variable in layer.trainable_variables} == set(tree)
    for variable in layer.trainable_variables:
        variable.assign(tree[variable.name])
    if not whole_sequence:
        return roll(lambda *step: layer(step[0], list(step[1:]))[1], inputs, h, c)
    outputs, h_n, c_n = layer(inputs.swapaxes(0, 1), initial_state=[jnp.asarray(h), jnp.asarray(c)])
    return [np.asarray(outputs).swapaxes(0, 1), np.asarray(h_n), np.asarray(c_n)]


def onnx_fresh(_: Any, dtype: Any) -> Any:
    """The operator has no initialiser: any numbers of the documented shapes are its own."""
    shapes = {"W": (1, 4 * HIDDEN, INPUT), "R": (1, 4 * HIDDEN, HIDDEN), "B": (1, 8 * HIDDEN)}
    return {name: draw(*shape, seed=90 + len(shape), dtype=dtype) for name, shape in shapes.items()}


def onnx_run(_: Any, tree: Any, inputs: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    feed = {"X": inputs, **tree, "initial_h": h[None], "initial_c": c[None]}
    element = onnx.helper.np_dtype_to_tensor_dtype(inputs.dtype)
    results = {"Y": (TIME, 1, BATCH, HIDDEN), "Y_h": (1, BATCH, HIDDEN), "Y_c": (1, BATCH, HIDDEN)}
    names = ["X", "W", "R", "B", "", "initial_h", "initial_c"]
    node = onnx.helper.make_node("LSTM", names, list(results), hidden_size=HIDDEN)
    graph = onnx.helper.make_graph(
        [node],
        "lstm",
        [onnx.helper.make_tensor_value_info(name, element, values.shape) for name, values in feed.items()],
        [onnx.helper.make_tensor_value_info(name, element, shape) for name, shape in results.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs, h_n, c_n = session.run(None, feed)
    return [outputs[:, 0], h_n[0], c_n[0]]


def linear_gates(dtype: Any) -> torch.nn.ModuleDict:
    double = torch.from_numpy(np.zeros(1, dtype)).dtype
    return torch.nn.ModuleDict(
        {name: torch.nn.Linear(INPUT + HIDDEN, HIDDEN, dtype=double) for name in ("Wf", "Wi", "Wc", "Wo")}
    )


def linear_gates_fresh(_: Any, dtype: Any) -> Any:
    return {name: values.numpy() for name, values in linear_gates(dtype).state_dict().items()}


def linear_gates_run(_: Any, tree: Any, *data: np.ndarray) -> list[np.ndarray]:
    gate = linear_gates(data[0].dtype)
    gate.load_state_dict({name: torch.from_numpy(np.asarray(values)) for name, values in tree.items()})

    def step(inputs, h, c):
        both = torch.cat([inputs, h], dim=1)
        c = torch.sigmoid(gate["Wf"](both)) * c + torch.sigmoid(gate["Wi"](both)) * torch.tanh(gate["Wc"](both))
        return torch.sigmoid(gate["Wo"](both)) * torch.tanh(c), c

    with torch.no_grad():
        return roll(step, *map(torch.from_numpy, data))


class Peer(NamedTuple):
    layout: str
    fresh: Callable[[Any, Any], Any]
    run: Callable[..., list[np.ndarray]]
    module: Any = None
    dtype: Any = np.float64


# float64 wherever the package computes in it. keras has tanh in float32 on JAX whatever the layer's dtype, and
# onnxruntime's LSTM knows float32 only.
PEERS = {
    "linen.LSTMCell": Peer("flax-linen", linen_fresh, linen_run, linen.LSTMCell),
    "linen.OptimizedLSTMCell": Peer("flax-linen", linen_fresh, linen_run, linen.OptimizedLSTMCell),
    "nnx.LSTMCell": Peer("flax-nnx", nnx_fresh, nnx_run, nnx.LSTMCell),
    "nnx.OptimizedLSTMCell": Peer("flax-nnx-optimized", nnx_fresh, nnx_run, nnx.OptimizedLSTMCell),
    "haiku.LSTM": Peer("haiku", haiku_fresh, haiku_run),
    "equinox.nn.LSTMCell": Peer("equinox", equinox_fresh, equinox_run, equinox.nn.LSTMCell),
    "keras.layers.LSTM": Peer("keras", keras_fresh, keras_run, keras.layers.LSTM, np.float32),
    "keras.layers.LSTMCell": Peer("keras", keras_fresh, keras_run, keras.layers.LSTMCell, np.float32),
    "onnxruntime": Peer("onnx", onnx_fresh, onnx_run, dtype=np.float32),
    "torch.nn.Linear": Peer("linear-gates", linear_gates_fresh, linear_gates_run),
}

every_peer = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(autouse=True)
def double_precision():
    # keras adds its bias to a matrix by rank promotion, which this suite forbids to itself.
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        yield


def data(dtype: Any) -> list[np.ndarray]:
    """Inputs, h and c: the initial state is not zero, so that the forget gate acts from the first step."""
    shapes = (TIME, BATCH, INPUT), (BATCH, HIDDEN), (BATCH, HIDDEN)
    return [draw(*shape, seed=50 + number, dtype=dtype) for number, shape in enumerate(shapes)]


def assert_close(actual: Any, expected: Any, what: str = "") -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    scale = max(1.0, np.abs(expected).max())
    worst = float(np.abs(actual - expected).max() / (np.finfo(expected.dtype).eps * scale))
    assert worst <= TOLERANCE_IN_EPS, f"{what} differs by {worst:.3g} eps, allowed {TOLERANCE_IN_EPS}"


def assert_same_run(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for name, mine, theirs in zip(("outputs", "h_n", "c_n"), actual, expected, strict=True):
        assert_close(mine, theirs, name)


def shapes_of(tree: Any) -> Any:
    return {name: tuple(array.shape) for name, array in flatten_tree(tree).items()}


# In the real packages


def test_every_layout_has_a_peer():
    assert {peer.layout for peer in PEERS.values()} == set(LAYOUTS)


@every_peer
def test_torch_weights_give_torch_outputs_in_the_other_cell(peer):
    weights = lstm_weights(dtype=peer.dtype)
    tree = to_layout(weights, peer.layout)
    assert_same_run(peer.run(peer.module, tree, *data(peer.dtype)), run_torch(weights, *data(peer.dtype)))


@every_peer
def test_the_other_cells_own_weights_give_its_outputs_in_torch(peer):
    fresh = peer.fresh(peer.module, peer.dtype)
    # Zero biases would hide a swapped gate.
    tree = unflatten_tree(
        {
            name: np.asarray(values) + draw(*values.shape, seed=70 + seed, dtype=peer.dtype)
            for seed, (name, values) in enumerate(flatten_tree(fresh).items())
        }
    )
    weights = from_layout(tree, peer.layout)
    assert_same_run(run_torch(weights, *data(peer.dtype)), peer.run(peer.module, tree, *data(peer.dtype)))


@every_peer
def test_the_tree_is_the_one_that_the_other_cell_keeps(peer):
    fresh = peer.fresh(peer.module, peer.dtype)
    assert shapes_of(to_layout(lstm_weights(), peer.layout)) == shapes_of(fresh)


@every_peer
def test_torch_weights_without_bias_give_torch_outputs_in_the_other_cell(peer):
    weights = lstm_weights(bias=False, dtype=peer.dtype)
    tree = to_layout(weights, peer.layout)
    assert_same_run(peer.run(peer.module, tree, *data(peer.dtype)), run_torch(weights, *data(peer.dtype)))


def test_an_nnx_state_is_read_as_it_is():
    cell = nnx_cell(nnx.LSTMCell, np.float64)
    weights = from_layout(nnx.state(cell), "flax-nnx")
    np.testing.assert_array_equal(weights["weight_ih_l0"][:HIDDEN], np.asarray(cell.ii.kernel[...]).T)


def test_an_equinox_cell_without_bias_is_read_as_it_is():
    cell = equinox.nn.LSTMCell(INPUT, HIDDEN, use_bias=False, key=jax.random.key(KEY))
    tree = {name: getattr(cell, name) for name in ("weight_ih", "weight_hh", "bias")}
    assert tree["bias"] is None
    weights = from_layout(tree, "equinox")
    inputs, h, c = data(np.float64)
    expected = roll(lambda step, h, c: jax.vmap(cell)(step, (h, c)), inputs, h, c)
    assert_same_run(run_torch(weights, inputs, h, c), expected)


def test_layers_and_directions_converted_one_by_one_make_up_the_whole_lstm():
    weights = lstm_weights(num_layers=2, bidirectional=True)
    lstm = torch.nn.LSTM(INPUT, HIDDEN, 2, bidirectional=True, dtype=torch.float64)
    lstm.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    inputs, *_ = data(np.float64)
    with torch.no_grad():
        expected = lstm(torch.from_numpy(inputs))[0].numpy()

    outputs, zero = inputs, np.zeros((BATCH, HIDDEN))
    for layer in range(2):
        forward, reverse = (to_layout(weights, "flax-linen", layer=layer, reverse=way) for way in (False, True))
        ahead = linen_run(linen.LSTMCell, forward, outputs, zero, zero)[0]
        back = linen_run(linen.LSTMCell, reverse, outputs[::-1], zero, zero)[0][::-1]
        outputs = np.concatenate([ahead, back], axis=-1)
    assert_close(outputs, expected, "outputs")


# The dictionaries


@every_layout
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda t: t.__name__)
def test_a_round_trip_keeps_kernels_exactly_and_the_sum_of_the_biases(layout, dtype):
    weights = lstm_weights(dtype=dtype)
    back = from_layout(to_layout(weights, layout), layout)
    assert list(back) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert {values.dtype for values in back.values()} == {np.dtype(dtype)}
    np.testing.assert_array_equal(back["weight_ih_l0"], weights["weight_ih_l0"])
    np.testing.assert_array_equal(back["weight_hh_l0"], weights["weight_hh_l0"])
    bias, expected = (each["bias_ih_l0"] + each["bias_hh_l0"] for each in (back, weights))
    if layout == "haiku":  # 1 taken away and added again rounds twice, at the size of the numbers in between
        rounding = 2 * np.abs(expected).max() * float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(bias.astype(float), expected.astype(float), rtol=0, atol=rounding)
    else:
        np.testing.assert_array_equal(bias, expected)


@every_layout
def test_a_merged_bias_becomes_bias_ih_and_bias_hh_is_zero(layout):
    weights = lstm_weights()
    back = from_layout(to_layout(weights, layout), layout)
    if layout == "onnx":  # keeps both
        np.testing.assert_array_equal(back["bias_ih_l0"], weights["bias_ih_l0"])
        np.testing.assert_array_equal(back["bias_hh_l0"], weights["bias_hh_l0"])
    else:
        np.testing.assert_allclose(
            back["bias_ih_l0"], weights["bias_ih_l0"] + weights["bias_hh_l0"], rtol=0, atol=1e-15
        )
        np.testing.assert_array_equal(back["bias_hh_l0"], np.zeros(4 * HIDDEN))


def test_onnx_keeps_the_input_bias_before_the_recurrent_bias():
    weights = lstm_weights()
    for half, name in zip(np.split(to_layout(weights, "onnx")["B"][0], 2), ("bias_ih_l0", "bias_hh_l0"), strict=True):
        i, f, g, o = np.split(weights[name], 4)
        np.testing.assert_array_equal(half, np.concatenate([i, o, f, g]))


def test_haiku_keeps_the_forget_bias_less_one():
    weights = lstm_weights()
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    forget = slice(2 * HIDDEN, 3 * HIDDEN)  # third block of i, g, f, o; second of torch's
    np.testing.assert_array_equal(to_layout(weights, "haiku")["b"][forget], bias[HIDDEN : 2 * HIDDEN] - 1)


@every_layout
def test_a_model_without_bias_becomes_a_zero_bias(layout):
    tree = flatten_tree(to_layout(lstm_weights(bias=False), layout))
    biases = [values for name, values in tree.items() if name.split("/")[-1].split(".")[-1] in ("bias", "b", "B")]
    expected = np.zeros(4 * HIDDEN * (2 if layout == "onnx" else 1))
    if layout == "haiku":
        expected[2 * HIDDEN : 3 * HIDDEN] = -1
    np.testing.assert_array_equal(np.concatenate(biases, axis=None), expected)


@pytest.mark.parametrize(("layout", "bias"), [("keras", "bias"), ("equinox", "bias"), ("onnx", "B")])
@pytest.mark.parametrize("absence", ["absent", "None"])
def test_a_cell_without_bias_becomes_a_model_without_biases(layout, bias, absence):
    weights = lstm_weights(bias=False)
    tree = to_layout(weights, layout)
    tree[bias] = None
    if absence == "absent":
        del tree[bias]
    back = from_layout(tree, layout)
    assert set(back) == set(weights)
    for name, values in back.items():
        np.testing.assert_array_equal(values, weights[name])


@every_layout
@pytest.mark.parametrize(("layer", "reverse"), [(0, False), (0, True), (1, False), (1, True)])
def test_the_layer_and_direction_asked_for_is_the_one_taken_and_named(layout, layer, reverse):
    weights = lstm_weights(num_layers=2, bidirectional=True)
    ending = f"_l{layer}{'_reverse' if reverse else ''}"
    back = from_layout(to_layout(weights, layout, layer=layer, reverse=reverse), layout, layer=layer, reverse=reverse)
    assert list(back) == [f"{part}{ending}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    np.testing.assert_array_equal(back[f"weight_ih{ending}"], weights[f"weight_ih{ending}"])
    np.testing.assert_array_equal(back[f"weight_hh{ending}"], weights[f"weight_hh{ending}"])
    bias, expected = (each[f"bias_ih{ending}"] + each[f"bias_hh{ending}"] for each in (back, weights))
    np.testing.assert_allclose(bias, expected, rtol=0, atol=1e-15)


@every_layout
def test_an_lstm_cell_dictionary_is_layer_zero(layout):
    weights = lstm_weights()
    cell = {name.removesuffix("_l0"): values for name, values in weights.items()}
    ours, theirs = (flatten_tree(to_layout(each, layout)) for each in (cell, weights))
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@every_layout
@pytest.mark.parametrize("make", [jnp.asarray, np.asfortranarray, torch.from_numpy], ids=["jax", "fortran", "torch"])
def test_arrays_of_any_kind_become_contiguous_numpy_arrays_of_their_own(layout, make):
    weights = lstm_weights()
    tree = to_layout({name: make(values) for name, values in weights.items()}, layout)
    back = from_layout(jax.tree.map(make, tree), layout)
    for array in [*flatten_tree(tree).values(), *back.values()]:
        assert type(array) is np.ndarray
        assert array.flags.c_contiguous
        assert array.flags.owndata or array.base.flags.owndata
    np.testing.assert_array_equal(back["weight_hh_l0"], weights["weight_hh_l0"])


@every_layout
def test_writing_into_a_result_leaves_the_weights_alone(layout):
    weights = lstm_weights()
    tree = to_layout(weights, layout)
    back = from_layout(tree, layout)
    kept = {name: values.copy() for name, values in flatten_tree(tree).items()}
    for values in back.values():
        values[...] = 0
    for name, values in flatten_tree(tree).items():
        np.testing.assert_array_equal(values, kept[name])
        values[...] = 0
    for name, values in lstm_weights().items():
        np.testing.assert_array_equal(weights[name], values)


@every_layout
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=lambda t: t.__name__)
def test_a_flattened_tree_survives_a_safetensors_file(layout, dtype, tmp_path):
    tree = to_layout(lstm_weights(dtype=dtype), layout)
    safetensors.numpy.save_file(flatten_tree(tree), tmp_path / "cell.safetensors")
    back = unflatten_tree(safetensors.numpy.load_file(tmp_path / "cell.safetensors"))
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for name, values in flatten_tree(tree).items():
        loaded = flatten_tree(back)[name]
        assert loaded.dtype == dtype
        np.testing.assert_array_equal(loaded, values)


def test_flatten_and_unflatten_are_exact_inverses():
    kernel, bias = draw(2, 3, seed=1), draw(3, seed=2)
    tree = {"a": {"b": {"kernel": kernel}, "bias": bias}, "Wf.weight": kernel}
    flat = flatten_tree(tree)
    assert list(flat) == ["a/b/kernel", "a/bias", "Wf.weight"]
    assert flat["a/bias"] is bias
    assert unflatten_tree(flat) == tree
    assert flatten_tree({}) == unflatten_tree({}) == {}


# Errors: everything that is wrong, one problem to a line


def problems(action: Callable, *arguments: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(WeightsError) as raised:
        action(*arguments, **options)
    return raised.value.problems


@pytest.mark.parametrize("action", [to_layout, from_layout])
def test_an_unknown_layout_names_the_choices(action):
    with pytest.raises(InputError) as raised:
        action({}, "tensorflow")
    assert raised.value.problems == (f"layout is 'tensorflow', expected one of {', '.join(LAYOUTS)}",)


@pytest.mark.parametrize("action", [to_layout, from_layout])
def test_a_negative_layer_is_refused(action):
    with pytest.raises(InputError, match="layer is -1, expected a whole number, 0 or larger"):
        action({}, "keras", layer=-1)


@every_layout
def test_a_projection_is_refused(layout):
    weights = torch.nn.LSTM(INPUT, HIDDEN, proj_size=2).state_dict()
    expected = "weight_hr_l0: a projection (proj_size > 0) has no place in other frameworks' LSTM cells"
    assert problems(to_layout, weights, layout) == (expected,)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"layer": 2}, "layer 2 forward (_l2) is not in the dictionary, which has _l0, _l1"),
        ({"reverse": True}, "layer 0 reverse (_l0_reverse) is not in the dictionary, which has _l0, _l1"),
    ],
    ids=["layer", "direction"],
)
def test_a_layer_or_direction_that_is_not_there_names_those_that_are(wanted, found):
    assert problems(to_layout, lstm_weights(num_layers=2), "keras", **wanted) == (found,)


@pytest.mark.parametrize("wanted", [{"layer": 1}, {"reverse": True}], ids=["layer", "direction"])
def test_a_cell_dictionary_has_one_layer_and_direction(wanted):
    cell = {name.removesuffix("_l0"): values for name, values in lstm_weights().items()}
    (problem,) = problems(to_layout, cell, "keras", **wanted)
    assert problem.endswith("is not in the dictionary, which has nn.LSTMCell (no ending)")


def test_a_missing_name_is_named():
    weights = lstm_weights()
    del weights["bias_hh_l0"]
    assert problems(to_layout, weights, "keras") == ("bias_hh_l0: missing",)


def test_a_layer_without_biases_in_a_model_with_biases_misses_them():
    weights = lstm_weights(num_layers=2)
    del weights["bias_ih_l1"], weights["bias_hh_l1"]
    assert problems(to_layout, weights, "keras", layer=1) == ("bias_ih_l1: missing", "bias_hh_l1: missing")


def test_an_unexpected_name_is_named():
    weights = {**lstm_weights(), "fc.weight": draw(1, HIDDEN, seed=1), "weight_ih": draw(1, seed=2)}
    names = "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0"
    assert problems(to_layout, weights, "keras") == (
        f"fc.weight: unexpected, the names are {names}",
        f"weight_ih: unexpected, the names are {names}",
    )


def test_an_empty_dictionary_misses_the_kernels():
    assert problems(to_layout, {}, "keras") == ("weight_ih_l0: missing", "weight_hh_l0: missing")


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_one_wrong_shape_blames_one_array(name):
    weights = lstm_weights()
    right = weights[name].shape
    weights[name] = draw(*right, 1, seed=1) if name.startswith("bias") else weights[name].T
    words = {"weight_ih_l0": "(4·hidden, input)", "weight_hh_l0": "(4·hidden, hidden)"}.get(name, "(4·hidden)")
    sizes = "with hidden size 4 and input size 3, as most arrays have them"
    if name == "weight_ih_l0":  # the only array that knows the input size: what it says is taken
        right, sizes = (16, 16), sizes.replace("input size 3", "input size 16")
    expected = f"{name}: shape {weights[name].shape}, expected {right} = {words} {sizes}"
    assert problems(to_layout, weights, "keras") == (expected,)


@every_layout
def test_every_array_of_every_layout_is_checked(layout):
    flat = flatten_tree(to_layout(lstm_weights(), layout))
    for name, values in flat.items():
        wrong = unflatten_tree({**flat, name: values[..., None]})
        found = problems(from_layout, wrong, layout)
        assert any(problem.startswith(f"{name}: shape {(*values.shape, 1)}, expected ") for problem in found)


def test_a_layout_expects_its_own_arrangement():
    tree = {**to_layout(lstm_weights(), "onnx")}
    tree["R"] = tree["R"][0]
    tree["W"] = tree["W"][:, :, None]
    assert problems(from_layout, tree, "onnx") == (
        "W: shape (1, 16, 1, 3), expected (1, 4·hidden, input)",
        "R: shape (16, 4), expected (1, 4·hidden, hidden)",
        "B: shape (1, 32), expected (1, 8·hidden)",
    )


def test_a_kernel_on_the_concatenation_is_checked_by_its_sum():
    tree = to_layout(lstm_weights(), "haiku")
    tree["w"] = tree["w"][:, :-4]
    assert problems(from_layout, tree, "haiku")[-1].startswith("b: shape (16,), expected (12,) = (4·hidden) with")


@pytest.mark.parametrize("layout", ["flax-linen", "flax-nnx", "flax-nnx-optimized", "haiku", "linear-gates"])
def test_a_bias_that_the_cell_always_has_is_missed(layout):
    flat = flatten_tree(to_layout(lstm_weights(), layout))
    kept = {name: values for name, values in flat.items() if name.split("/")[-1] != "b" and "bias" not in name}
    assert problems(from_layout, unflatten_tree(kept), layout) == tuple(f"{n}: missing" for n in flat if n not in kept)


@pytest.mark.parametrize("values", [np.zeros(16, int), np.zeros(16, bool), ["a"] * 16], ids=["int", "bool", "text"])
def test_numbers_that_are_not_floating_are_refused(values):
    found = problems(to_layout, {**lstm_weights(), "bias_ih_l0": values}, "keras")
    dtype = np.asarray(values).dtype.name
    assert f"bias_ih_l0: dtype {dtype}, expected one of float64, float32, float16, bfloat16" in found


def test_dtypes_are_not_mixed():
    weights = {**lstm_weights(), "bias_ih_l0": draw(16, seed=1, dtype=np.float32)}
    assert problems(to_layout, weights, "keras") == (
        "expected one dtype, found weight_ih_l0 float64, weight_hh_l0 float64, bias_ih_l0 float32, bias_hh_l0 float64",
    )


def test_what_is_no_array_is_named():
    weights = {**lstm_weights(), "bias_ih_l0": [[1.0], [1.0, 2.0]]}
    (problem,) = problems(to_layout, weights, "keras")
    assert problem.startswith("bias_ih_l0: cannot be read as an array (")
    weights["bias_ih_l0"] = torch.zeros(16, requires_grad=True)
    (problem,) = problems(to_layout, weights, "keras")
    assert problem.startswith("bias_ih_l0: cannot be read as an array (Can't call numpy()")


def test_everything_wrong_is_said_in_one_go():
    tree = to_layout(lstm_weights(), "flax-linen")
    del tree["hg"]["bias"]
    tree["if"]["kernel"] = tree["if"]["kernel"].T
    tree["if_"] = {"kernel": draw(INPUT, HIDDEN, seed=1)}
    tree["ho"]["kernel"] = tree["ho"]["kernel"].astype(int)
    names = (
        "ii/kernel, if/kernel, ig/kernel, io/kernel, hi/kernel, hf/kernel, hg/kernel, ho/kernel, "
        "hi/bias, hf/bias, hg/bias, ho/bias"
    )
    missing, unexpected, shape, dtype, mixed = problems(from_layout, tree, "flax-linen")
    assert missing == "hg/bias: missing"
    assert unexpected == f"if_/kernel: unexpected, the names are {names}"
    sizes = "with hidden size 4 and input size 3, as most arrays have them"
    assert shape == f"if/kernel: shape (4, 3), expected (3, 4) = (input, hidden) {sizes}"
    assert dtype == "ho/kernel: dtype int64, expected one of float64, float32, float16, bfloat16"
    assert mixed.startswith("expected one dtype, found ii/kernel float64, ")


@pytest.mark.parametrize(
    ("action", "tree", "expected"),
    [
        (flatten_tree, {"a": {"b/c": 1, "": 2, 3: 3}, "d": {"e": {}}}, [
            "['a', 'b/c']: a name is a string, not empty and without \"/\"",
            "['a', '']: a name is a string, not empty and without \"/\"",
            "['a', 3]: a name is a string, not empty and without \"/\"",
            "['d', 'e']: an empty branch",
        ]),
        (flatten_tree, [1], ["expected a dictionary of arrays, got list"]),
        (unflatten_tree, {"a": 1, "a/b": 2, "c//d": 3}, [
            "'c//d' has an empty part before, between or after \"/\"",
            "'a' names both an array and a branch: rename one",
        ]),
        (unflatten_tree, {"a/b": 2, "a": 1}, ["'a' names both an array and a branch: rename one"]),
    ],
    ids=["names", "no dictionary", "pieces", "clash"],
)  # fmt: skip
def test_a_tree_that_would_not_come_back_is_refused(action, tree, expected):
    assert problems(action, tree) == tuple(expected)
