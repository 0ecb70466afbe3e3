"""The Flax modules: torch's arguments, names and initial weights, and ordinary training loops."""

import inspect
from typing import Any

import flax.linen as flax_linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx as flax_nnx
from flax.training.train_state import TrainState
from lstm_cases import HIDDEN_SIZE, INPUT_SIZE, Configuration, draw_case

from jax_lstm import linen, lstm, nnx
from lstm_shared import WeightsError, init_lstm
from torch_lstm import to_torch

MODELS = [
    Configuration(1, False, 0, True),
    Configuration(2, True, 3, True),
    Configuration(3, False, 3, False),
]
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
every_model = pytest.mark.parametrize("model", MODELS, ids=str)
FLAX = ("linen", "nnx")
both_modules = pytest.mark.parametrize("kind", FLAX)


def new_weights(kind: str, *arguments: Any, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Return the weights that a new module draws for itself."""
    if kind == "nnx":
        return nnx.LSTM(*arguments, **options, rngs=flax_nnx.Rngs(seed)).weights
    inputs = jnp.zeros((1, 1, arguments[0]))
    return linen.LSTM(*arguments, **options).init(jax.random.key(seed), inputs)["params"]


def call_of(kind: str, weights: Any, **options: Any) -> Any:
    """Return a module with given weights as a function (inputs, state, …) -> (outputs, (h_n, c_n))."""
    if kind == "nnx":
        return nnx.LSTM.from_weights(weights, **options)
    module = linen.LSTM(INPUT_SIZE, HIDDEN_SIZE, **options)
    return lambda *arguments, **more: module.apply({"params": weights}, *arguments, **more)


@both_modules
@every_model
def test_parameters_have_the_names_and_shapes_of_the_dictionary(kind: str, model: Configuration):
    weights = new_weights(kind, INPUT_SIZE, HIDDEN_SIZE, **model.sizes)
    expected = init_lstm(INPUT_SIZE, HIDDEN_SIZE, **model.sizes)
    assert {n: x.shape for n, x in weights.items()} == {n: x.shape for n, x in expected.items()}
    assert {x.dtype.name for x in weights.values()} == {"float32"}


@every_model
def test_every_name_is_one_nnx_param(model: Configuration):
    module = nnx.LSTM(INPUT_SIZE, HIDDEN_SIZE, **model.sizes, rngs=flax_nnx.Rngs(0))
    names = [path[0] for path, _ in flax_nnx.to_flat_state(flax_nnx.state(module, flax_nnx.Param))]
    assert sorted(names) == sorted(init_lstm(INPUT_SIZE, HIDDEN_SIZE, **model.sizes))


@both_modules
def test_new_weights_are_drawn_as_torch_draws_them(kind: str):
    weights = new_weights(kind, 50, 64, num_layers=2, bidirectional=True, proj_size=9)
    bound = 64**-0.5
    for name, array in weights.items():
        assert np.abs(array).max() <= bound, name
        assert np.abs(array).max() >= 0.95 * bound, name
        assert abs(float(array.mean())) <= 5 * bound / np.sqrt(3 * array.size), name
        assert float(array.std()) == pytest.approx(bound / np.sqrt(3), rel=0.1), name
    flat = np.concatenate([np.ravel(array) for array in weights.values()])
    assert len(np.unique(flat)) > 0.99 * len(flat)  # no two weights share a key
    other = new_weights(kind, 50, 64, num_layers=2, bidirectional=True, proj_size=9, seed=1)
    assert all((other[name] != weights[name]).any() for name in weights)


def test_arguments_and_defaults_are_torchs():
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"]
    torchs = inspect.signature(torch.nn.RNNBase.__init__).parameters
    for constructor in (linen.LSTM.__init__, nnx.LSTM.__init__):
        ours = inspect.signature(constructor).parameters
        assert list(ours)[1 : 1 + len(names)] == names
        for name in names[2:]:
            assert ours[name].default == torchs[name].default, name


@both_modules
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_param_dtype(kind: str, dtype: str):
    weights = new_weights(kind, 5, 4, param_dtype=jnp.dtype(dtype))
    assert {array.dtype.name for array in weights.values()} == {dtype}
    outputs, (h_n, c_n) = call_of(kind, weights)(jnp.ones((6, 2, 5), dtype))
    assert [x.dtype.name for x in (outputs, h_n, c_n)] == [dtype, dtype, "float32"]


@both_modules
def test_state_lengths_and_reset_are_passed_on(kind: str):
    case = draw_case(Configuration(2, False, 3, True, "batch-first")).astype(np.float32)
    lengths, reset = np.array([3, 5]), np.arange(12).reshape(2, 6) % 5 == 2
    call = call_of(
        kind, case.weights, **({"num_layers": 2, "proj_size": 3} if kind == "linen" else {}), batch_first=True
    )
    ours = call(case.inputs, case.state, lengths=lengths, reset=reset)
    expected = lstm(case.weights, case.inputs, case.state, batch_first=True, lengths=lengths, reset=reset)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_linen_drops_only_while_training():
    case = draw_case(Configuration(2, False, 0, True)).astype(np.float32)
    module, variables = linen.LSTM(5, 4, num_layers=2, dropout=0.5), {"params": case.weights}
    plain, _ = lstm(case.weights, case.inputs)
    np.testing.assert_array_equal(module.apply(variables, case.inputs)[0], plain)

    def train(seed: int) -> Any:
        key = jax.random.key(seed)
        return module.apply(variables, case.inputs, deterministic=False, rngs={"dropout": key})[0]

    assert (train(0) != plain).any()
    np.testing.assert_array_equal(train(0), train(0))
    assert (train(0) != train(1)).any()


def test_nnx_drops_only_while_training():
    case = draw_case(Configuration(2, False, 0, True)).astype(np.float32)
    module = nnx.LSTM.from_weights(case.weights, dropout=0.5, rngs=flax_nnx.Rngs(0))
    plain, _ = lstm(case.weights, case.inputs)
    module.train()
    first, second = module(case.inputs)[0], module(case.inputs)[0]
    assert (first != plain).any()
    assert (first != second).any()
    module.eval()
    np.testing.assert_array_equal(module(case.inputs)[0], plain)


def test_nnx_weights_of_another_model_are_refused():
    with pytest.raises(WeightsError, match="expected those of an LSTM"):
        nnx.LSTM.from_weights({name.removesuffix("_l0"): x for name, x in init_lstm(5, 4).items()})


def test_linen_refuses_weights_of_other_sizes():
    with pytest.raises(Exception, match="weight_ih_l0"):
        linen.LSTM(5, 4).apply({"params": init_lstm(3, 4)}, np.zeros((6, 2, 3), np.float32))


@both_modules
@every_model
def test_weights_out_to_torch_give_the_same_outputs(kind: str, model: Configuration):
    weights = {n: np.asarray(x) for n, x in new_weights(kind, INPUT_SIZE, HIDDEN_SIZE, **model.sizes).items()}
    inputs = draw_case(model).astype(np.float32).inputs
    options = model.sizes if kind == "linen" else {}
    outputs, _ = call_of(kind, weights, **options)(inputs)
    expected, _ = to_torch(weights)(torch.tensor(inputs))
    np.testing.assert_allclose(outputs, expected.detach(), rtol=0, atol=1e-6)


# Transforms of modules


@both_modules
def test_modules_under_jit_grad_and_vmap(kind: str):
    case = draw_case(Configuration(2, True, 3, True, "unbatched")).astype(np.float32)
    inputs = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32)
    options = {"num_layers": 2, "bidirectional": True, "proj_size": 3} if kind == "linen" else {}

    def loss(weights: Any, one: Any) -> Any:
        return call_of(kind, weights, **options)(one)[0].sum()

    ours = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(case.weights, inputs)
    expected = jax.jit(jax.vmap(jax.grad(lambda w, one: lstm(w, one)[0].sum()), (None, 0)))(case.weights, inputs)
    for name in expected:
        np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=1e-5, err_msg=name)


def test_nnx_transforms_take_the_module_itself():
    case = draw_case(Configuration(2, True, 3, True)).astype(np.float32)
    module = nnx.LSTM.from_weights(case.weights)
    outputs = flax_nnx.jit(lambda module, inputs: module(inputs)[0])(module, case.inputs)
    np.testing.assert_allclose(outputs, lstm(case.weights, case.inputs)[0], rtol=0, atol=1e-6)
    gradient = flax_nnx.grad(lambda module: module(case.inputs)[0].sum())(module)
    expected = jax.grad(lambda weights: lstm(weights, case.inputs)[0].sum())(case.weights)
    for name in expected:
        np.testing.assert_allclose(gradient[name][...], expected[name], rtol=0, atol=1e-5, err_msg=name)


# Training: the label is the mean of a sequence's first feature, which the model has to remember.

SEQUENCES = np.random.default_rng(0).standard_normal((32, 6, 5)).astype(np.float32)
LABELS = SEQUENCES[..., 0].mean(axis=1)


class LinenModel(flax_linen.Module):
    @flax_linen.compact
    def __call__(self, inputs: Any, *, deterministic: bool = True) -> Any:
        outputs, _ = linen.LSTM(5, 4, num_layers=2, bidirectional=True, dropout=0.1, batch_first=True)(
            inputs, deterministic=deterministic
        )
        return flax_linen.Dense(1)(outputs[:, -1])[:, 0]


class NnxModel(flax_nnx.Module):
    def __init__(self, rngs: flax_nnx.Rngs):
        self.lstm = nnx.LSTM(5, 4, 2, bidirectional=True, dropout=0.1, batch_first=True, rngs=rngs)
        self.head = flax_nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, inputs: Any) -> Any:
        return self.head(self.lstm(inputs)[0][:, -1])[:, 0]


def test_linen_trains_in_an_ordinary_loop():
    model = LinenModel()
    params = model.init(jax.random.key(0), SEQUENCES)["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-2))

    @jax.jit
    def train_step(state: TrainState, key: Any) -> tuple[TrainState, Any]:
        def loss(params: Any) -> Any:
            predictions = state.apply_fn({"params": params}, SEQUENCES, deterministic=False, rngs={"dropout": key})
            return jnp.mean((predictions - LABELS) ** 2)

        value, gradient = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=gradient), value

    losses = []
    for key in jax.random.split(jax.random.key(1), 150):
        state, value = train_step(state, key)
        losses.append(float(value))
    assert np.mean(losses[-10:]) < 0.2 * losses[0]
    assert set(state.params["LSTM_0"]) == set(init_lstm(5, 4, num_layers=2, bidirectional=True))


def test_nnx_trains_in_an_ordinary_loop():
    model = NnxModel(flax_nnx.Rngs(0))
    optimizer = flax_nnx.Optimizer(model, optax.adam(1e-2), wrt=flax_nnx.Param)

    @flax_nnx.jit
    def train_step(model: NnxModel, optimizer: flax_nnx.Optimizer) -> Any:
        def loss(model: NnxModel) -> Any:
            return jnp.mean((model(SEQUENCES) - LABELS) ** 2)

        value, gradient = flax_nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    model.train()
    losses = [float(train_step(model, optimizer)) for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.2 * losses[0]
    module = to_torch({name: np.asarray(array) for name, array in model.lstm.weights.items()})
    model.eval()
    outputs, _ = module(torch.tensor(SEQUENCES).transpose(0, 1))
    np.testing.assert_allclose(model.lstm(SEQUENCES)[0], outputs.detach().transpose(0, 1), rtol=0, atol=1e-5)
