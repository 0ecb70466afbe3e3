"""The recurrence of a tiny model: the plain loop, and its derivative, each compiled into one CPU kernel.

Where a step is a few hundred operations, starting XLA's kernels costs more than running them (``single_kernel``).
"""

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from jax_lstm.derivatives import with_backward
from jax_lstm.recurrence import DirectionWeights, Product, recur
from jax_lstm.single_kernel import one_kernel


def recur_tiny(
    weights: DirectionWeights,
    inputs: Float[Array, "time batch inputs"],
    h: Float[Array, "batch state"],
    c: Float[Array, "batch hidden"],
    *,
    valid: Bool[Array, "time batch"] | None,
    reset: Bool[Array, "time batch"] | None,
    reverse: bool,
    product: Product,
) -> tuple[Float[Array, "time batch state"], tuple[Array, Array]]:
    """``recur(..., keep=h)`` in one kernel; the arguments are explained there. ``batch`` must be 1.

    With one row, the products are those of a matrix and a vector, which XLA compiles in place; with more they become
    library calls, which one kernel cannot hold.
    """

    def plain(moving: Any, masks: Any) -> Any:
        valid, reset = masks
        return recur(*moving, valid=valid, reset=reset, reverse=reverse, product=product, keep=lambda step: step.h)

    def forward(save: bool, moving: Any, masks: Any) -> tuple[Any, Any]:
        def run(moving: Any, masks: Any) -> tuple[Any, Any]:
            if not save:
                return plain(moving, masks), None
            return jax.vjp(lambda moving: plain(moving, masks), moving)

        return one_kernel(run)(moving, masks)

    def backward(moving: Any, masks: Any, saved: Any, cotangents: Any) -> Any:
        return one_kernel(lambda saved, cotangents: saved(cotangents)[0])(saved, cotangents)

    return with_backward(plain, forward, backward)((weights, inputs, h, c), (valid, reset))
