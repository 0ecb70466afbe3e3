"""lstm under every JAX transform, in every dtype, with dropout, and as a program of one size for any length."""

import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from lstm_cases import Configuration, draw_case, unoptimized_jit

import jax_lstm
from jax_lstm import lstm
from lstm_parity.compare.tolerance import eps
from lstm_shared import init_by_hand, init_forecaster, init_lstm

CONFIGURATIONS = [
    Configuration(1, False, 0, True, "unbatched"),
    Configuration(2, True, 3, True, "time-first", True, True),
    Configuration(3, False, 3, False, "batch-first"),
]
every_configuration = pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)


def scalar(configuration: Configuration) -> tuple[Any, Any]:
    """Return a loss of (weights, inputs, state) that weighs all results differently, and arguments for it."""
    case = jax.tree.map(jnp.asarray, tuple(draw_case(configuration)))
    weights, inputs, state, lengths, cotangents = case

    def loss(weights: Any, inputs: Any, state: Any) -> Any:
        outputs, (h_n, c_n) = lstm(weights, inputs, state, batch_first=configuration.batch_first, lengths=lengths)
        parts = {"outputs": outputs, "h_n": h_n, "c_n": c_n}
        return sum(jnp.sum(parts[name] * cotangent) for name, cotangent in cotangents.items())

    return loss, (weights, inputs, state)


def direction_like(tree: Any, seed: int = 9) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), tree)


def dot(one: Any, other: Any) -> Any:
    return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.mark.usefixtures("x64")
@every_configuration
def test_the_gradient_is_the_finite_difference_and_the_tangent(configuration: Configuration):
    loss, at = scalar(configuration)
    compiled, gradient = unoptimized_jit(loss), unoptimized_jit(jax.grad(loss, argnums=(0, 1, 2)))(*at)
    tangent = unoptimized_jit(lambda direction: jax.jvp(loss, at, direction)[1])
    for seed in range(3):
        direction = direction_like(at, seed)
        above, below = (jax.tree.map(lambda x, d, h=h: x + h * d, at, direction) for h in (1e-6, -1e-6))
        along = float(dot(gradient, direction))
        assert along == pytest.approx(float(compiled(*above) - compiled(*below)) / 2e-6, rel=1e-6)
        assert along == pytest.approx(float(tangent(direction)), rel=1e-12)


@pytest.mark.usefixtures("x64")
@every_configuration
def test_forward_over_reverse_is_the_difference_of_gradients_and_symmetric(configuration: Configuration):
    loss, at = scalar(configuration)
    gradient = jax.grad(loss, argnums=(0, 1, 2))
    one, other = direction_like(at, 1), direction_like(at, 2)
    tangent_and_gradient = unoptimized_jit(lambda at, along: jax.jvp(gradient, at, along)[::-1])
    curvature = float(dot(tangent_and_gradient(at, one)[0], other))
    assert float(dot(tangent_and_gradient(at, other)[0], one)) == pytest.approx(curvature, rel=1e-11)
    step = 1e-5
    moved = (jax.tree.map(lambda x, d, h=h: x + h * d, at, one) for h in (step, -step))
    above, below = (tangent_and_gradient(at, one)[1] for at in moved)
    assert float(dot(above, other) - dot(below, other)) / (2 * step) == pytest.approx(curvature, rel=1e-6)


@pytest.mark.usefixtures("x64")
def test_reverse_over_reverse_is_forward_over_reverse():
    loss, at = scalar(Configuration(1, True, 3, True, "time-first", True, True))
    gradient = jax.grad(loss, argnums=(0, 1, 2))
    one, other = direction_like(at, 1), direction_like(at, 2)

    @jax.jit
    def curvatures() -> tuple[Any, Any]:
        forward = dot(jax.jvp(gradient, at, one)[1], other)
        return forward, dot(jax.grad(lambda at: dot(gradient(*at), other))(at), one)

    forward, reverse = map(float, curvatures())
    assert reverse == pytest.approx(forward, rel=1e-11)


@pytest.mark.usefixtures("x64")
def test_the_hessian_is_symmetric():
    loss, (weights, inputs, state) = scalar(CONFIGURATIONS[0])
    hessian = unoptimized_jit(jax.hessian(loss))(weights, inputs, state)
    for row in weights:
        for column in weights:
            block = hessian[row][column].reshape(weights[row].size, weights[column].size)
            mirror = hessian[column][row].reshape(weights[column].size, weights[row].size)
            np.testing.assert_allclose(block, mirror.T, rtol=0, atol=1e-13)
            assert np.abs(block).max() > 1e-3


@pytest.mark.usefixtures("x64")
@every_configuration
def test_checkpoint_changes_no_gradient(configuration: Configuration):
    loss, at = scalar(configuration)
    plain, again = (unoptimized_jit(jax.grad(f))(*at) for f in (loss, jax.checkpoint(loss)))
    for name in plain:
        np.testing.assert_allclose(again[name], plain[name], rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.usefixtures("x64")
@every_configuration
def test_exported_and_read_again(configuration: Configuration):
    loss, at = scalar(configuration)
    exported = jax.export.export(jax.jit(loss))(*at)
    again = jax.export.deserialize(exported.serialize(vjp_order=1))
    value, gradient = jax.value_and_grad(again.call)(*at)
    expected_value, expected = unoptimized_jit(jax.value_and_grad(loss))(*at)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-13)
    for name in expected:
        np.testing.assert_allclose(gradient[name], expected[name], rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.usefixtures("x64")
def test_exported_for_any_number_of_sequences():
    case = draw_case(CONFIGURATIONS[1])
    (batch,) = jax.export.symbolic_shape("batch")
    exported = jax.export.export(jax.jit(lambda inputs: lstm(case.weights, inputs)[0]))(
        jax.ShapeDtypeStruct((6, batch, 5), jnp.float64)
    )
    again = jax.export.deserialize(exported.serialize())
    inputs = np.random.default_rng(0).standard_normal((6, 7, 5))
    np.testing.assert_allclose(again.call(inputs), lstm(case.weights, inputs)[0], rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_vmap_over_two_axes_and_inside_grad():
    case = draw_case(Configuration(2, True, 3, True, "unbatched"))
    inputs = np.random.default_rng(0).standard_normal((2, 3, 6, 5))

    def loss(weights: Any, inputs: Any) -> Any:
        return lstm(weights, inputs)[0].sum()

    nested = unoptimized_jit(
        jax.grad(lambda weights: jax.vmap(jax.vmap(loss, (None, 0)), (None, 0))(weights, inputs).sum())
    )
    flat = unoptimized_jit(jax.grad(lambda weights: loss(weights, inputs.reshape(6, 6, 5).swapaxes(0, 1))))
    for name, expected in flat(case.weights).items():
        np.testing.assert_allclose(nested(case.weights)[name], expected, rtol=0, atol=1e-12, err_msg=name)


# Calls outside jit

UNBATCHED = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32)
PRICES = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
MODELS = {
    "lstm": (lambda weights, inputs: lstm(weights, inputs), init_lstm(5, 4), UNBATCHED),
    "both ways": (lambda weights, inputs: lstm(weights, inputs), init_lstm(5, 4, bidirectional=True), UNBATCHED),
    "lstm_trace": (jax_lstm.lstm_trace, init_lstm(5, 4), UNBATCHED),
    "forecast": (jax_lstm.forecast, init_forecaster(5, 4), UNBATCHED),
    "lstm_cell": (
        jax_lstm.lstm_cell,
        {name.removesuffix("_l0"): array for name, array in init_lstm(5, 4).items()},
        UNBATCHED[0],
    ),
    "predict": (jax_lstm.by_hand.predict, init_by_hand(), PRICES),
    "trace": (jax_lstm.by_hand.trace, init_by_hand(), PRICES),
    "lstm_unit": (lambda weights, price: jax_lstm.lstm_unit(weights, price, 0.1, 0.2), init_by_hand(), PRICES[:, 0]),
}


def total(results: Any) -> Any:
    return sum(
        jnp.sum(array * jnp.cos(jnp.arange(array.size).reshape(array.shape))) for array in jax.tree.leaves(results)
    )


# From a model's function to a function of (weights, many inputs) that is called outside jit.
UNCOMPILED = {
    "forward": lambda run: lambda weights, many: run(weights, many[0]),
    "vmap": lambda run: jax.vmap(run, (None, 0)),
    "vmap without a batch": lambda run: (
        lambda weights, many: jax.vmap(lambda x: total(run(weights, many[0])) * x)(many)
    ),
    "grad": lambda run: jax.grad(lambda weights, many: total(run(weights, many[0]))),
    "grad of another": lambda run: lambda weights, many: jax.grad(lambda x: total(run(weights, many[0])) * x)(2.0),
    "grad of vmap": lambda run: jax.grad(lambda weights, many: total(jax.vmap(run, (None, 0))(weights, many))),
    "vmap of grad": lambda run: jax.vmap(jax.grad(lambda weights, one: total(run(weights, one))), (None, 0)),
    "jvp": lambda run: lambda weights, many: jax.jvp(lambda weights: run(weights, many[0]), (weights,), (weights,)),
}


@pytest.fixture
def quickly_compiled() -> Iterator[None]:
    """Switch XLA's optimisations off, also for what jax_lstm compiles: they take most of the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("transform", UNCOMPILED)
@pytest.mark.parametrize("model", MODELS)
def test_a_second_call_outside_jit_compiles_nothing(model: str, transform: str, caplog: pytest.LogCaptureFixture):
    run, weights, many = MODELS[model]
    weights = jax.tree.map(jnp.asarray, weights)
    call = UNCOMPILED[transform](run)
    call(weights, many)
    with jax.log_compiles():
        ours = call(weights, many)
    assert not [record.message for record in caplog.records if record.message.startswith("Compiling")]
    expected = jax.jit(call)(weights, many)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_a_call_under_vmap_works_where_transfers_are_forbidden():
    case = jax.tree.map(jnp.asarray, draw_case(Configuration(1, False, 0, True, "unbatched")).astype(np.float32))
    many = jax.tree.map(lambda array: jnp.stack([array] * 2), (case.inputs, case.state))
    call = jax.vmap(lambda inputs, state: lstm(case.weights, inputs, state)[0])
    expected = call(*many)
    with jax.transfer_guard("disallow"):
        ours = call(*many)
    np.testing.assert_array_equal(ours, expected)


# Dtypes

DTYPES = ("float64", "float32", "bfloat16", "float16")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("of_weights", DTYPES)
@pytest.mark.parametrize("of_inputs", DTYPES)
def test_outputs_have_the_inputs_dtype_and_gradients_the_weights(of_inputs: str, of_weights: str):
    weights, inputs, state, *_ = draw_case(Configuration(2, False, 3, True))
    weights, state = jax.tree.map(lambda array: jnp.asarray(array, of_weights), (weights, state))
    inputs = jnp.asarray(inputs, of_inputs)

    def run(weights: Any, state: Any) -> Any:
        outputs, (h_n, c_n) = lstm(weights, inputs, state)
        return outputs.astype(float).sum(), (outputs, h_n, c_n)

    accumulated = "float64" if of_inputs == "float64" else "float32"
    for given in (None, state):  # dtypes are known without computing anything
        (by_weight, by_state), results = jax.eval_shape(jax.grad(run, argnums=(0, 1), has_aux=True), weights, given)
        assert [result.dtype.name for result in results] == [of_inputs, of_inputs, accumulated]
        assert {leaf.dtype.name for leaf in jax.tree.leaves((by_weight, by_state))} == {of_weights}
    trace = jax.eval_shape(jax_lstm.lstm_trace, weights, inputs)
    assert {field.dtype.name for field in trace[:-1]} == {accumulated}
    outputs, _ = jax.jit(lstm)(weights, inputs, state)
    exact, _ = jax.jit(lstm)(*jax.tree.map(lambda array: array.astype(float), (weights, inputs, state)))
    assert np.abs(np.asarray(outputs, float) - exact).max() <= 16 * eps(of_inputs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weight_gradients_of_long_low_precision_sequences_are_summed_in_float32(dtype: str):
    """In bfloat16, a sum of a thousand equal parts would stop growing at the 256th."""
    low = np.dtype(getattr(ml_dtypes, dtype, dtype))
    weights = {name: array.astype(low) for name, array in draw_case(Configuration(1, False, 0, True)).weights.items()}
    inputs = np.ones((1000, 1, 5), low)

    def loss(weights: Any, inputs: Any) -> Any:
        return lstm(weights, inputs)[0].astype(jnp.float32).mean()

    ours = jax.jit(jax.grad(loss))(weights, inputs)["bias_ih_l0"]
    exact = jax.jit(jax.grad(loss))({n: w.astype(np.float32) for n, w in weights.items()}, inputs.astype(np.float32))
    error = np.abs(np.asarray(ours, np.float32) - exact["bias_ih_l0"]).max()
    assert error <= 0.02 * np.abs(exact["bias_ih_l0"]).max()


@pytest.mark.parametrize("precision", [None, "highest", jax.lax.Precision.DEFAULT, "float32"], ids=str)
def test_every_precision_is_accepted(precision: Any):
    case = draw_case(CONFIGURATIONS[1]).astype(np.float32)
    outputs, _ = lstm(case.weights, case.inputs, precision=precision)
    np.testing.assert_allclose(outputs, lstm(case.weights, case.inputs)[0], rtol=0, atol=1e-5)
    text = str(jax.make_jaxpr(lambda x: lstm(case.weights, x, precision=precision))(case.inputs))
    assert ("HIGHEST" in text) == (precision in ("highest", "float32"))


@pytest.mark.parametrize("implementation", ["auto", "scan"])
def test_python_numbers_and_arrays_of_any_kind_are_welcome(implementation: str):
    case = draw_case(Configuration(2, True, 3, True)).astype(np.float32)
    lists = jax.tree.map(np.ndarray.tolist, case.inputs), [part.tolist() for part in case.state]
    outputs, _ = lstm(case.weights, *lists, lengths=[3, 5], implementation=implementation)
    expected, _ = lstm(case.weights, case.inputs, case.state, lengths=np.array([3, 5]), implementation=implementation)
    np.testing.assert_array_equal(outputs, expected)


# Dropout


def manual_dropout(weights: Any, inputs: Any, probability: float, key: Any) -> Any:
    """Run two layers in two directions one by one, and draw the mask between them."""
    first, second = (
        {name.replace(f"_l{layer}", "_l0"): array for name, array in weights.items() if f"_l{layer}" in name}
        for layer in (0, 1)
    )
    between, _ = lstm(first, inputs)
    kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1 - probability, between.shape)
    return lstm(second, np.where(kept, between / (1 - probability), 0.0))[0]


@pytest.mark.usefixtures("x64")
def test_dropout_is_a_mask_between_layers():
    case, key = draw_case(Configuration(2, True, 3, True)), jax.random.key(3)
    outputs, _ = lstm(case.weights, case.inputs, dropout=0.4, key=key)
    np.testing.assert_allclose(outputs, manual_dropout(case.weights, case.inputs, 0.4, key), rtol=0, atol=1e-14)
    assert np.asarray(outputs).all()  # none after the last layer
    again, _ = lstm(case.weights, case.inputs, dropout=0.4, key=key)
    np.testing.assert_array_equal(outputs, again)
    other, _ = lstm(case.weights, case.inputs, dropout=0.4, key=jax.random.key(4))
    assert np.abs(np.asarray(outputs) - other).max() > 0.01
    none, _ = lstm(case.weights, case.inputs, dropout=0.0, key=key)
    np.testing.assert_array_equal(none, lstm(case.weights, case.inputs)[0])


@pytest.mark.usefixtures("x64")
def test_each_gap_between_layers_has_a_mask_of_its_own():
    """Layers that only pass a signal on show the masks: half of it is left after one gap, a quarter after two."""
    keep_all = {"weight_ih": 8.0 * np.concatenate([np.zeros((20, 10)), np.eye(10), np.zeros((10, 10))])}
    weights = {
        f"{name}_l{layer}": array
        for layer in range(3)
        for name, array in {
            **keep_all,
            "weight_hh": np.zeros((40, 10)),
            "bias_ih": np.repeat([20.0, -20.0, 0.0, 20.0], 10),
            "bias_hh": np.zeros(40),
        }.items()
    }
    inputs = np.ones((50, 20, 10))
    outputs, _ = lstm(weights, inputs, dropout=0.5, key=jax.random.key(0))
    assert float((outputs > 0.1).mean()) == pytest.approx(0.25, abs=0.02)


def test_one_layer_has_no_dropout():
    case = draw_case(Configuration(1, True, 3, True)).astype(np.float32)
    outputs, _ = lstm(case.weights, case.inputs, dropout=0.9, key=jax.random.key(0))
    np.testing.assert_array_equal(outputs, lstm(case.weights, case.inputs)[0])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_dropout_keeps_the_mean_of_what_the_next_layer_reads(probability: float):
    """Before their sigmoids, the second layer's gates are linear in its inputs, so small weights show the mean."""
    case = draw_case(Configuration(2, False, 0, False))
    weights = {name: array * (1e-4 if "_l1" in name else 1.0) for name, array in case.weights.items()}
    keys = jax.random.split(jax.random.key(0), 20_000)
    run = jax.jit(jax.vmap(lambda key: lstm(weights, case.inputs[:1], dropout=probability, key=key)[0]))
    dropped = np.asarray(run(keys))
    plain = np.asarray(lstm(weights, case.inputs[:1])[0])
    assert np.abs(dropped.mean(0) - plain).max() <= 5 * (dropped.std(0) / np.sqrt(len(keys))).max()
    assert dropped.std(0).max() > 0.1 * np.abs(plain).max()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("configuration", [Configuration(3, False, 0, True), Configuration(2, True, 3, True)], ids=str)
def test_dropout_1_is_torchs_and_its_gradients_are_finite(configuration: Configuration):
    case = draw_case(configuration)
    module = torch.nn.LSTM(5, 4, dropout=1.0, **configuration.sizes).double()
    module.load_state_dict({name: torch.tensor(array) for name, array in case.weights.items()})

    def run(weights: Any) -> Any:
        outputs, _ = lstm(weights, case.inputs, dropout=1.0, key=jax.random.key(0))
        return outputs.sum(), outputs

    gradient, outputs = jax.grad(run, has_aux=True)(case.weights)
    np.testing.assert_allclose(outputs, module(torch.tensor(case.inputs))[0].detach(), rtol=0, atol=1e-14)
    assert all(np.isfinite(leaf).all() for leaf in gradient.values())
    assert not gradient["weight_ih_l0"].any()


# One program for every length


def instructions(time: int, gradient: bool, **options: Any) -> int:
    weights = draw_case(Configuration(2, True, 3, True)).astype(np.float32).weights
    inputs = jax.ShapeDtypeStruct((time, 2, 5), jnp.float32)

    def run(weights: Any, inputs: Any) -> Any:
        return lstm(weights, inputs, **options)[0].sum()

    text = jax.jit(jax.grad(run) if gradient else run).lower(weights, inputs).compile().as_text()
    return len(re.findall(r"^\s+(?:ROOT )?%?[\w.-]+ = ", text, re.MULTILINE))


@pytest.mark.parametrize("options", [{}, {"lengths": np.array([3, 5])}], ids=["plain", "ragged"])
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_the_compiled_program_does_not_grow_with_the_steps(gradient: bool, options: dict[str, Any]):
    short, long = (instructions(time, gradient, **options) for time in (800, 8000))
    assert short == long
    assert short > 100
