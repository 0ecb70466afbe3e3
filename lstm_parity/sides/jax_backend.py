"""Run a case in the JAX backend: forward, loss, gradients, Adam steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike, PyTree

from lstm_parity.sides.adam import LEARNING_RATE
from lstm_parity.sides.by_operation import by_operation
from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.devices import full_precision, jax_devices
from lstm_parity.sides.kinds.records import JaxArrays, JaxForward


def observe(
    case: Case,
    device: str = "cpu",
    *,
    compiled: bool = True,
    implementation: str = "auto",
    gradients: bool = True,
) -> Observation:
    """Run the case in its own dtype, at full precision. The caller need not enable float64.

    Args:
        case: the case.
        device: "cpu", "gpu" or "tpu".
        compiled: whether to run under jit, as users do; otherwise run the same program operation by operation
            (``by_operation``).
        implementation: the ``implementation`` of ``jax_lstm.lstm``, for an LSTM and a forecaster. Other models have
            only one.
        gradients: whether to compute more than the forward pass.
    """
    on_device = jax.default_device(jax_devices()[device])
    with jax.enable_x64(case.inputs.dtype == np.float64), full_precision(), on_device:
        forward = case.kind.jax_forward(case, implementation)
        return _observe(forward, case, jax.jit if compiled else by_operation, gradients)


def _observe(
    forward: JaxForward, case: Case, program: Callable[..., Callable[..., PyTree]], with_gradients: bool
) -> Observation:
    # Not jnp.asarray, which would compile a copy for each shape.
    weights, inputs, state, cotangents = jax.device_put((case.weights, case.inputs, case.state, case.cotangents))

    def loss(weights: JaxArrays, inputs: jax.Array, state: JaxArrays) -> ArrayLike:
        outputs = forward(weights, inputs, state)
        return sum(jnp.sum(outputs[name].astype(inputs.dtype) * cotangents[name]) for name in cotangents)

    @program
    def gradients(weights: JaxArrays, inputs: jax.Array, state: JaxArrays) -> PyTree:
        return jax.value_and_grad(loss, argnums=(0, 1, 2))(weights, inputs, state)

    # Run the forward pass on its own, as it runs for a user who takes no gradients: a fast implementation may use
    # another loop there. The forward pass of the differentiated run is compared through the value of the loss.
    outputs = program(forward)(weights, inputs, state)
    if not with_gradients:
        return {"forward": jax.tree.map(np.asarray, outputs)}
    value, (by_weight, by_inputs, by_state) = gradients(weights, inputs, state)
    observation: dict[str, JaxArrays] = {
        "forward": outputs,
        "loss": {"loss": value},
        "gradient": {**by_weight, "inputs": by_inputs, **{f"{name}_0": by_state[name] for name in by_state}},
    }
    if case.steps:  # keep all weights after each step
        adam = optax.adam(LEARNING_RATE)
        optimizer_state = adam.init(weights)
        steps = []
        for _ in range(case.steps):
            updates, optimizer_state = jax.jit(adam.update)(by_weight, optimizer_state, weights)
            weights = optax.apply_updates(weights, updates)
            steps.append(weights)
            _, (by_weight, _, _) = gradients(weights, inputs, state)
        observation["adam"] = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
    return jax.tree.map(np.asarray, observation)
