"""What the JAX backend computes for a case: forward, loss, gradients, Adam steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jax_lstm
from lstm_parity.cases import Case, Observation
from lstm_parity.compare import LEARNING_RATE
from lstm_shared.describe import ByHandSpec

Forward = Callable[[Any, Any, Any], dict[str, Any]]


def observe(case: Case) -> Observation:
    """Run the case in its own dtype, under jit, at full precision. Float64 needs no setting by the caller."""
    with jax.enable_x64(case.inputs.dtype == np.float64), jax.default_matmul_precision("highest"):
        return _observe(_forward(case), case)


def _forward(case: Case) -> Forward:
    """The model as a function (weights, inputs, state) -> name -> array."""
    if isinstance(case.spec, ByHandSpec):

        def by_hand(weights: Any, prices: Any, state: Any) -> dict[str, Any]:
            trace = jax_lstm.by_hand.trace(weights, prices, **state)
            return {"long_memory": trace.long_memory, "short_memory": trace.short_memory}

        return by_hand
    raise TypeError(f"no JAX model for {case.spec}")


def _observe(forward: Forward, case: Case) -> Observation:
    weights, inputs, state, cotangents = jax.tree.map(
        jnp.asarray, (case.weights, case.inputs, case.state, case.cotangents)
    )

    def loss(weights: Any, inputs: Any, state: Any) -> tuple[Any, dict[str, Any]]:
        outputs = forward(weights, inputs, state)
        return sum(jnp.sum(outputs[name].astype(inputs.dtype) * cotangents[name]) for name in cotangents), outputs

    @jax.jit
    def gradients(weights: Any, inputs: Any, state: Any) -> Any:
        return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(weights, inputs, state)

    (value, outputs), (by_weight, by_inputs, by_state) = gradients(weights, inputs, state)
    observation: dict[str, dict[str, Any]] = {
        "forward": outputs,
        "loss": {"loss": value},
        "gradient": {**by_weight, "inputs": by_inputs, **{f"{name}_0": by_state[name] for name in by_state}},
    }
    adam = optax.adam(LEARNING_RATE)
    optimizer_state = adam.init(weights)

    @jax.jit
    def update(weights: Any, optimizer_state: Any) -> Any:
        _, gradient = jax.value_and_grad(loss, has_aux=True)(weights, inputs, state)
        updates, optimizer_state = adam.update(gradient, optimizer_state, weights)
        return optax.apply_updates(weights, updates), optimizer_state

    steps = []
    for _ in range(case.steps):
        weights, optimizer_state = update(weights, optimizer_state)
        steps.append(weights)
    if steps:
        observation["adam"] = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
    return jax.tree.map(np.asarray, observation)
