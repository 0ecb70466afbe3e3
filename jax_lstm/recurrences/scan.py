"""``implementation="scan"``: ``lax.scan`` runs the step over time.

The fast implementations are tested against it. It also provides the derivatives of their derivatives.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jax_lstm.recurrences.step import Masks, Operands, Product, State, Step, lstm_step

Kept = TypeVar("Kept")


def recur(
    operands: Operands,
    masks: Masks,
    *,
    reverse: bool,
    product: Product,
    keep: Callable[[Step], Kept],
    one_product: bool = False,
) -> tuple[Kept, State]:
    """Run the step over time.

    Args:
        operands: weights, inputs and the state before the first step.
        masks: padding and resets.
        reverse: whether to run from the last step to the first.
        product: the matrix product of the step.
        keep: returns what to keep of a step.
        one_product: as in ``lstm_step``.

    Returns:
        What ``keep`` returned, with a leading time axis in the order of the inputs, and the last (h, c).
    """
    weights, inputs, h, c = operands

    def step(state: State, step_inputs: tuple[Array, Array | None, Array | None]) -> tuple[State, Kept]:
        features, is_valid, is_reset = step_inputs
        h, c = state
        if is_reset is not None:
            h, c = (jnp.where(is_reset[:, None], jnp.zeros_like(part), part) for part in (h, c))
        now = lstm_step(weights, features, h, c, product, one_product=one_product)
        kept = keep(now)
        if is_valid is None:
            return (now.h, now.cell), kept

        def hold(new: Array, old: Array) -> Array:
            return jnp.where(is_valid[:, None], new, old)

        # A reset in the padding must not change the state, which is held there.
        return (hold(now.h, state[0]), hold(now.cell, state[1])), jax.tree.map(
            lambda part: hold(part, jnp.zeros_like(part)), kept
        )

    if isinstance(inputs.shape[0], int) and inputs.shape[0] == 0:  # a scan without steps fails under disable_jit
        now = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape[1:], array.dtype), (inputs, *masks))
        kept = jax.eval_shape(step, (h, c), now)[1]
        return jax.tree.map(lambda part: jnp.zeros((0, *part.shape), part.dtype), kept), (h, c)
    (h, c), kept = lax.scan(step, (h, c), (inputs, masks.valid, masks.reset), reverse=reverse)
    return kept, (h, c)


def recur_plain(
    operands: Operands, masks: Masks, *, reverse: bool, product: Product, one_product: bool = False
) -> tuple[Float[Array, "time batch state"], State]:
    """Run ``recur`` and keep the outputs. Every other implementation computes the same in its own way."""
    return recur(operands, masks, reverse=reverse, product=product, keep=lambda step: step.h, one_product=one_product)
