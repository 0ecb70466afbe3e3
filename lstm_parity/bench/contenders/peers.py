"""The LSTMs of other JAX libraries, with the same weights and programs as ours.

Each library runs one layer in one direction. This file combines layers, directions and lengths as users of the library
would.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders.jax_programs import programs
from lstm_parity.bench.contenders.program import Program
from lstm_shared.describe import describe
from lstm_shared.layouts import from_layout, to_layout
from lstm_shared.specs import LSTMSpec

# layer(tree of one cell, inputs (time, batch, features)) -> outputs (time, batch, hidden_size)
Layer = Callable[[PyTree, Array], PyTree]


def linen(case: BenchCase, mode: str, dtype: str) -> Program:
    from flax import linen as nn

    def layer(tree: PyTree, inputs: Array) -> PyTree:
        cell = nn.OptimizedLSTMCell(case.hidden_size, dtype=inputs.dtype, param_dtype=inputs.dtype)
        return nn.RNN(cell, time_major=True).apply({"params": {"cell": tree}}, inputs)

    return _program(case, mode, dtype, layer, "flax-linen")


def nnx(case: BenchCase, mode: str, dtype: str) -> Program:
    from flax import nnx as nn

    def layer(tree: PyTree, inputs: Any) -> PyTree:
        sizes, dtypes = (inputs.shape[-1], case.hidden_size), {"dtype": inputs.dtype, "param_dtype": inputs.dtype}
        cell = nn.eval_shape(lambda: nn.OptimizedLSTMCell(*sizes, **dtypes, rngs=nn.Rngs(0)))
        nn.update(cell, tree)
        return nn.RNN(cell, time_major=True)(inputs)

    return _program(case, mode, dtype, layer, "flax-nnx-optimized")


def haiku(case: BenchCase, mode: str, dtype: str) -> Program:
    import haiku as hk

    def run(inputs: Array) -> PyTree:
        core = hk.LSTM(case.hidden_size, name="lstm")
        state = jax.tree.map(lambda part: part.astype(inputs.dtype), core.initial_state(inputs.shape[1]))
        return hk.dynamic_unroll(core, inputs, state)[0]

    transformed = hk.without_apply_rng(hk.transform(run))
    return _program(case, mode, dtype, lambda tree, inputs: transformed.apply({"lstm/linear": tree}, inputs), "haiku")


def equinox(case: BenchCase, mode: str, dtype: str) -> Program:
    import equinox as eqx

    def layer(tree: PyTree, inputs: Array) -> Array:
        key = jax.random.key(0)
        empty = eqx.filter_eval_shape(eqx.nn.LSTMCell, inputs.shape[-1], case.hidden_size, key=key)
        cell = eqx.tree_at(lambda fields: [getattr(fields, name) for name in tree], empty, list(tree.values()))

        def step(state: tuple[Array, Array], features: Array) -> tuple[tuple[Array, Array], Array]:
            state = jax.vmap(cell)(features, state)
            return state, state[0]

        zeros = jnp.zeros((inputs.shape[1], case.hidden_size), inputs.dtype)
        return lax.scan(step, (zeros, zeros), inputs)[1]

    return _program(case, mode, dtype, layer, "equinox")


def keras(case: BenchCase, mode: str, dtype: str) -> Program:
    from keras import layers

    def layer(tree: PyTree, inputs: Array) -> Array:
        lstm = layers.LSTM(case.hidden_size, return_sequences=True, dtype=dtype)
        lstm.build((case.batch, case.time, inputs.shape[-1]))
        weights = [tree[variable.name] for variable in lstm.trainable_variables]
        others = [variable.value for variable in lstm.non_trainable_variables]
        return jnp.swapaxes(lstm.stateless_call(weights, others, jnp.swapaxes(inputs, 0, 1))[0], 0, 1)

    return _program(case, mode, dtype, layer, "keras")


def _program(case: BenchCase, mode: str, dtype: str, layer: Layer, layout: str) -> Program:
    weights = case.weights(dtype)
    spec = describe(weights)
    assert isinstance(spec, LSTMSpec)
    places = [(layer, bool(suffix)) for layer, suffix in spec.places]
    params = [to_layout(weights, layout, layer=k, reverse=reverse) for k, reverse in places]

    def forward(params: PyTree, inputs: Array, lengths: Array | None) -> Array:
        outputs, trees = inputs, iter(params)
        for _ in range(spec.num_layers):
            directions = [layer(next(trees), jnp.flip(outputs, 0) if suffix else outputs) for suffix in spec.directions]
            directions[1:] = [jnp.flip(part, 0) for part in directions[1:]]
            outputs = jnp.concatenate(directions, axis=-1) if len(directions) > 1 else directions[0]
        if lengths is None:
            return outputs
        # With one forward layer, padding affects only outputs that are zeroed here.
        valid = jnp.arange(case.time)[:, None] < lengths[None, :]
        return jnp.where(valid[..., None], outputs, jnp.zeros_like(outputs))

    return programs(
        case,
        mode,
        dtype,
        forward,
        params,
        gradients=partial(_by_our_names, places, layout, True),
        weights_back=partial(_by_our_names, places, layout, False),
    )


def _by_our_names(
    places: list[tuple[int, bool]], layout: str, gradient: bool, trees: PyTree
) -> Mapping[str, np.ndarray]:
    """Convert trees in a layout with one bias to arrays with torch's names.

    Of gradients, each of torch's two biases gets the gradient of the one bias. Of weights, the biases are left out: an
    Adam step moves one bias half as far as torch's two together.
    """
    named: dict[str, np.ndarray] = {}
    for (k, reverse), tree in zip(places, trees, strict=True):
        tree = jax.tree.map(np.asarray, tree)
        arrays = from_layout(tree, layout, layer=k, reverse=reverse)
        if gradient:
            # Haiku's layout adds 1 to the forget bias; a gradient must not get it.
            origin = from_layout(jax.tree.map(np.zeros_like, tree), layout, layer=k, reverse=reverse)
            arrays = {name: array - origin[name] for name, array in arrays.items()}
            arrays |= {name.replace("_ih_", "_hh_"): arrays[name] for name in arrays if name.startswith("bias_ih_")}
        named |= {name: array for name, array in arrays.items() if gradient or name.startswith("weight_")}
    return named
