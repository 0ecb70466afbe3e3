"""The programs of every JAX contender: forward, gradient, Adam step, training."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, PyTree

from lstm_parity.bench.cases import ADAM, FORWARD, GRADIENT, TRAINING, BenchCase
from lstm_parity.bench.contenders.program import COMPARED_STEPS, Program, Shown
from lstm_parity.sides.adam import LEARNING_RATE

# forward(params, inputs, lengths or None) -> outputs (time, batch, features)
Forward = Callable[[PyTree, Array, Array | None], Array]
# params or their gradients -> our name -> NumPy array
Named = Callable[[PyTree], Mapping[str, np.ndarray]]

_ADAM = optax.adam(LEARNING_RATE)


def programs(
    case: BenchCase,
    mode: str,
    dtype: str,
    forward: Forward,
    params: PyTree,
    *,
    gradients: Named,
    weights_back: Named,
    jit: bool = True,
) -> Program:
    """Make the program for a mode. It is the same for our LSTM and for those of other libraries.

    Args:
        params: weights in the form that ``forward`` takes, as NumPy arrays.
        gradients: names the gradients, which have the form of ``params``, as we do.
        weights_back: names the weights, which have the form of ``params``, as we do. It leaves out weights that train
            differently.
        jit: whether to compile. Without it, operations run one at a time under ``jax.disable_jit``.
    """
    within = partial(settings, dtype, jit)
    with within():
        params, inputs, lengths = jax.tree.map(jnp.asarray, (params, case.inputs(dtype), case.lengths()))

    def loss(params: PyTree, inputs: Array, lengths: Array | None) -> Array:
        return jnp.sum(forward(params, inputs, lengths) ** 2)

    def step(state: PyTree, inputs: Array, lengths: Array | None) -> tuple[PyTree, Array]:
        weights, optimizer = state
        value, gradient = jax.value_and_grad(loss)(weights, inputs, lengths)
        updates, optimizer = _ADAM.update(gradient, optimizer, weights)
        return (optax.apply_updates(weights, updates), optimizer), value

    def train(state: PyTree, inputs: Array, lengths: Array | None) -> tuple[PyTree, Array]:
        return lax.scan(lambda state, _: step(state, inputs, lengths), state, length=case.train_steps)

    if mode in (FORWARD, GRADIENT):
        run = jax.jit(forward if mode == FORWARD else jax.grad(loss))

        def show(result: PyTree) -> Shown:
            shown = {"outputs": np.asarray(result)} if mode == FORWARD else gradients(result)
            return {"forward" if mode == FORWARD else "gradient": shown}

        return Program(
            lambda: jax.block_until_ready(run(params, inputs, lengths)), show, within=within, steps=case.time
        )

    # As in a training loop, the old weights are donated, so that the new ones can reuse their memory.
    run = jax.jit({ADAM: step, TRAINING: train}[mode], donate_argnums=0)
    state: list[PyTree] = [None]

    def reset() -> None:
        state[0] = jax.block_until_ready(jax.tree.map(jnp.copy, (params, _ADAM.init(params))))

    def call() -> Array:
        state[0], losses = jax.block_until_ready(run(state[0], inputs, lengths))
        return losses

    def show_step(losses: Array) -> Shown:
        if mode == TRAINING:
            return {"losses": {"losses": np.asarray(losses[:COMPARED_STEPS])}}
        weights, (moments, *_) = state[0]
        gradient = jax.tree.map(lambda mu: mu / (1 - 0.9), moments.mu)  # after one step mu is (1 - b1) · gradient
        return {"gradient": gradients(gradient), "adam": weights_back(weights)}

    return Program(call, show_step, reset, within, steps=case.train_steps if mode == TRAINING else case.time)


@contextlib.contextmanager
def settings(dtype: str, jit: bool = True) -> Iterator[None]:
    """Enable x64 for float64 only, and disable jit if asked to."""
    with jax.enable_x64(dtype == "float64"), jax.disable_jit(not jit):
        yield
