"""The equations of one step of one layer in one direction, and the types that every implementation takes.

``stack.py`` puts layers and directions together, and handles shapes and options. This file has only equations.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PyTree

State = tuple[Array, Array]  # (h, c)

# (operands, masks, *, reverse) -> (what is kept of each step, such as outputs; last state), like ``scan.recur_plain``.
Recurrence = Callable[..., tuple[PyTree, State]]


class DirectionWeights(NamedTuple):
    """The weights of one layer and direction, transposed for ``features @ weight`` and in the accumulation dtype.

    They are rounded to the inputs' dtype only inside each product. Their gradient is summed over the steps in the dtype
    they have here, so it accumulates in float32 even for bfloat16 inputs.
    """

    inputs: Float[Array, "inputs gates"]
    hidden: Float[Array, "state gates"]
    bias: Float[Array, " gates"] | None
    projection: Float[Array, "hidden state"] | None


class Operands(NamedTuple):
    """What a recurrence runs on: everything that has a derivative."""

    weights: DirectionWeights
    inputs: Float[Array, "time batch inputs"]
    h: Float[Array, "batch state"]
    c: Float[Array, "batch hidden"]


class Masks(NamedTuple):
    """What happens at a step apart from the equations.

    Attributes:
        valid: where False, the step is padding: the state does not change, and what is kept is zero. So the reverse
            direction starts at each sequence's own end. The inputs must be finite in the padding.
        reset: where True, the state is set to zero before the step.
    """

    valid: Bool[Array, "time batch"] | None = None
    reset: Bool[Array, "time batch"] | None = None


class Product(NamedTuple):
    """A matrix product that rounds both sides to the dtype ``operands`` and accumulates in ``accumulate``.

    With ``widened``, both sides are rounded to ``operands`` and then multiplied in ``accumulate``. The result is the
    same.
    """

    operands: DTypeLike
    accumulate: DTypeLike
    precision: PrecisionLike = None
    widened: bool = False

    def __call__(self, left: Array, right: Array) -> Array:
        left, right = left.astype(self.operands), right.astype(self.operands)
        if self.widened:
            left, right = left.astype(self.accumulate), right.astype(self.accumulate)
        return jnp.matmul(left, right, precision=self.precision, preferred_element_type=self.accumulate)


class Step(NamedTuple):
    """Everything that one step computes: ``(*batch, hidden)`` each, and ``(*batch, state)`` for h."""

    input_gate: Array
    forget_gate: Array
    candidate: Array
    output_gate: Array
    cell: Array
    hidden: Array
    h: Array


def lstm_step(
    weights: DirectionWeights,
    inputs: Float[Array, "*batch inputs"],
    h: Float[Array, "*batch state"],
    c: Float[Array, "*batch hidden"],
    product: Product,
    *,
    one_product: bool = False,
) -> Step:
    """Run one step, as documented for ``torch.nn.LSTM`` (Hochreiter & Schmidhuber 1997; projection: Sak et al. 2014)::

        i, f, o = sigmoid(W_ii x + b_ii + W_hi h + b_hi), …    g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c' = f * c + i * g
        h' = o * tanh(c'), or W_hr (o * tanh(c')) with a projection

    The gates are computed in the dtype that ``product`` accumulates in. They are the sum of two products or, with
    ``one_product``, the product of (x, h) with both weights at once. The two differ only in rounding.
    """
    if one_product:
        gates = product(jnp.concatenate([inputs, h], -1), jnp.concatenate([weights.inputs, weights.hidden]))
    else:
        gates = product(inputs, weights.inputs) + product(h, weights.hidden)
    if weights.bias is not None:
        gates = gates + jnp.expand_dims(weights.bias, range(gates.ndim - 1))
    input_gate, forget_gate, candidate, output_gate = activate(gates, axis=-1)
    cell = forget_gate * c + input_gate * candidate
    hidden = output_gate * jnp.tanh(cell)
    h = hidden.astype(inputs.dtype)
    if weights.projection is not None:
        h = product(h, weights.projection).astype(inputs.dtype)
    return Step(input_gate, forget_gate, candidate, output_gate, cell, hidden, h)


def activate(gates: Array, axis: int) -> tuple[Array, Array, Array, Array]:
    """Return input gate, forget gate, candidate and output gate, given their sums in that order along ``axis``."""
    input_gate, forget_gate, candidate, output_gate = jnp.split(gates, 4, axis=axis)
    return jax.nn.sigmoid(input_gate), jax.nn.sigmoid(forget_gate), jnp.tanh(candidate), jax.nn.sigmoid(output_gate)
