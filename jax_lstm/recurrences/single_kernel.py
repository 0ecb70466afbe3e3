"""The recurrence of a small model: the plain loop and its derivative, each compiled into one CPU kernel.

If a step is only a few hundred operations, starting XLA's kernels costs more than running them: see
``compiler/one_kernel.py``.
"""

from collections.abc import Callable
from functools import partial

import jax
from jaxtyping import Array, Float

from jax_lstm.compiler.custom_backward import with_backward
from jax_lstm.compiler.one_kernel import one_kernel
from jax_lstm.recurrences.scan import recur_plain
from jax_lstm.recurrences.step import Masks, Operands, Product, State

Outputs = tuple[Float[Array, "time batch state"], State]


def recur_single_kernel(operands: Operands, masks: Masks, *, reverse: bool, product: Product) -> Outputs:
    """Run ``recur_plain`` in one kernel. The batch size must be 1.

    With one row, the products are of a matrix and a vector, which XLA compiles in place. With more rows they become
    library calls, which one kernel cannot contain.
    """
    plain = partial(recur_plain, reverse=reverse, product=product)
    if operands.inputs.shape[0] == 0:
        return plain(operands, masks)  # without steps there is nothing to gain

    def differentiated(operands: Operands, masks: Masks) -> tuple[Outputs, Callable[[Outputs], tuple[Operands]]]:
        return jax.vjp(lambda operands: plain(operands, masks), operands)

    def forward(save: bool, operands: Operands, masks: Masks) -> tuple[Outputs, list[Array] | None]:
        if not save:
            return one_kernel(plain)(operands, masks), None
        outputs, pullback = one_kernel(differentiated)(operands, masks)
        # Save only the arrays: two traces never make equal functions, and a second derivative compares what is saved.
        return outputs, jax.tree.leaves(pullback)

    def backward(operands: Operands, masks: Masks, saved: list[Array], cotangents: Outputs) -> Operands:
        structure = jax.tree.structure(jax.eval_shape(differentiated, operands, masks)[1])
        return one_kernel(lambda saved, cotangents: structure.unflatten(saved)(cotangents)[0])(saved, cotangents)

    return with_backward(plain, forward, backward)(operands, masks)
