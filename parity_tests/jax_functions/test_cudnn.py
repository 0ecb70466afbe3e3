"""``implementation="cudnn"``: its weight layout and lengths against JAX's own reference for that call, and its limits.

On an NVIDIA GPU, the call itself is checked against the plain loop. On other machines that case does not exist.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn
from lstm_cases import draw_weights

import jax_lstm
from jax_lstm.recurrences.cudnn import pack, run_cudnn
from lstm_shared import InputError, LSTMSpec

ON_GPU = jax.default_backend() == "gpu"
SPECS = [LSTMSpec(5, 4), LSTMSpec(5, 4, num_layers=2, bidirectional=True), LSTMSpec(5, 4, num_layers=3, bias=False)]
TIME, BATCH = 6, 3


def single(spec: LSTMSpec) -> dict[str, Any]:
    return {name: jnp.asarray(array, jnp.float32) for name, array in draw_weights(spec).items()}


def draw(spec: LSTMSpec) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    rows = (spec.num_layers * len(spec.directions), BATCH, spec.hidden_size)
    shapes = ((TIME, BATCH, spec.input_size), rows, rows)
    inputs, h_0, c_0 = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes)
    return inputs, h_0, c_0


def reference(x: Any, h_0: Any, c_0: Any, weights: Any, lengths: Any, *sizes: Any) -> Any:
    """Compute what the library computes, with JAX's own reference for it."""
    input_size, hidden_size, num_layers, dropout, bidirectional, _ = sizes
    unpacked = rnn.unpack_lstm_weights(weights, input_size, hidden_size, num_layers, bidirectional)
    return rnn.lstm_ref(x, h_0, c_0, *unpacked, lengths, input_size, hidden_size, num_layers, dropout, bidirectional)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_library_is_handed_the_weights_where_it_reads_them(spec: LSTMSpec):
    weights = single(spec)
    matrices, hidden, biases, more = rnn.unpack_lstm_weights(
        pack(spec, weights), spec.input_size, spec.hidden_size, spec.num_layers, spec.bidirectional
    )
    places = [f"l{layer}{suffix}" for layer in range(spec.num_layers) for suffix in spec.directions]
    for index, place in enumerate(places):
        np.testing.assert_array_equal(matrices[index], weights[f"weight_ih_{place}"])
        np.testing.assert_array_equal(hidden[index], weights[f"weight_hh_{place}"])
        for kind, unpacked in (("ih", biases), ("hh", more)):
            expected = weights[f"bias_{kind}_{place}"] if spec.bias else np.zeros(4 * spec.hidden_size)
            np.testing.assert_array_equal(unpacked[index], expected)


@pytest.mark.parametrize("lengths", [None, (6, 2, 4), (3, 0, 6)], ids=str)
@pytest.mark.parametrize("spec", SPECS[:2], ids=str)
def test_the_call_by_its_reference(spec: LSTMSpec, lengths: Any):
    weights, (inputs, h_0, c_0) = single(spec), draw(spec)
    known = None if lengths is None else jnp.asarray(lengths, jnp.int32)
    # The reference does not clear the padding. A NaN there would show that ours is not cut off.
    ours = run_cudnn(spec, weights, inputs, (h_0, c_0), lengths=known, precision=None, lstm=reference)
    expected = jax_lstm.lstm(weights, inputs, (h_0, c_0), lengths=known, implementation="scan")
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": np.float64}, "computes in float32 only, the inputs are float64"),
        ({"proj_size": 3}, "has no projections, the weights have one (proj_size 3)"),
        ({"reset": np.zeros((TIME, BATCH), bool)}, "has no resets"),
        ({"dropout": 0.5}, "has no dropout that JAX could reproduce"),
        ({"recompute": 2}, "decides itself what it keeps"),
    ]
    + ([] if ON_GPU else [({}, f"needs an NVIDIA GPU, JAX's default backend is {jax.default_backend()}")]),
)
def test_its_limits_are_named(options: dict[str, Any], said: str):
    options = dict(options)
    spec = LSTMSpec(5, 4, proj_size=options.pop("proj_size", 0))
    dtype = options.pop("dtype", np.float32)
    with jax.enable_x64(True), pytest.raises(InputError) as refused:
        jax_lstm.lstm(
            draw_weights(spec),
            np.ones((TIME, BATCH, 5), dtype),
            implementation="cudnn",
            key=jax.random.key(0),
            **options,
        )
    assert any(said in problem and 'use "auto"' in problem for problem in refused.value.problems)


if ON_GPU:

    @pytest.mark.parametrize("lengths", [None, (3, 0, 6)], ids=str)
    def test_on_a_gpu_outputs_and_gradients_are_those_of_the_plain_loop(lengths: Any):
        spec = SPECS[1]
        weights, (inputs, h_0, c_0) = single(spec), draw(spec)

        def loss(weights: Any, inputs: Any, state: Any, implementation: str) -> Any:
            outputs, (h_n, c_n) = jax_lstm.lstm(
                weights, inputs, state, lengths=lengths, precision="highest", implementation=implementation
            )
            return (outputs**2).sum() + h_n.sum() + (c_n**2).sum()

        both = [
            jax.value_and_grad(loss, (0, 1, 2))(weights, inputs, (h_0, c_0), implementation)
            for implementation in ("cudnn", "scan")
        ]
        for ours, theirs in zip(*map(jax.tree.leaves, both), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
