"""Our own ``jax_lstm.lstm``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

import jax_lstm
from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders import by_hand
from lstm_parity.bench.contenders.jax_programs import programs, settings
from lstm_parity.bench.contenders.program import COMPARED_STEPS, Program, Shown


def ours(case: BenchCase, mode: str, dtype: str, *, implementation: str = "auto", jit: bool = True) -> Program:
    """Make the program for ``jax_lstm.lstm``. By default it is jitted and chooses its own implementation."""
    if case.kind == "by hand":
        return (by_hand.jax_fit if jit else by_hand.jax_eager)(case, mode, dtype)

    def forward(params: PyTree, inputs: Array, lengths: Array | None) -> Array:
        return jax_lstm.lstm(params, inputs, lengths=lengths, implementation=implementation)[0]

    weights = case.weights(dtype)
    if case.kind == "streaming":
        return _streaming(case, weights, dtype, implementation, jit)
    named = partial(jax.tree.map, np.asarray)
    return programs(case, mode, dtype, forward, weights, gradients=named, weights_back=named, jit=jit)


ours_scan = partial(ours, implementation="scan")
# Without jit, the choice of an implementation does not matter.
ours_eager = partial(ours, implementation="scan", jit=False)


def _streaming(case: BenchCase, weights: dict[str, np.ndarray], dtype: str, implementation: str, jit: bool) -> Program:
    within = partial(settings, dtype, jit)
    with within():
        params, inputs = jax.tree.map(jnp.asarray, (weights, case.inputs(dtype)))
        zeros = tuple(jnp.zeros((1, case.batch, case.hidden_size), inputs.dtype) for _ in range(2))
    run = jax.jit(partial(jax_lstm.lstm, implementation=implementation))
    state: list[tuple[Array, ...]] = [zeros]

    def reset() -> None:
        state[0] = zeros

    def call() -> Array:
        outputs, state[0] = jax.block_until_ready(run(params, inputs, state[0]))
        return outputs

    def show(first: Array) -> Shown:
        later = [call() for _ in range(COMPARED_STEPS)]  # later outputs show that the state is carried over
        return {"forward": {"outputs": np.concatenate([np.asarray(part) for part in (first, *later)])}}

    return Program(call, show, reset, within)
