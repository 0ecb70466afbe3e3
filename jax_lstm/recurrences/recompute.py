"""For long sequences: keep the state at some steps only, and compute the rest again in the backward pass."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jax_lstm.recurrences.step import DirectionWeights, Masks, Operands, Recurrence, State
from lstm_shared.errors import InputError


def recomputed(run: Recurrence, segment: int) -> Recurrence:
    """Return ``run`` with less memory for its derivative: only the state before every ``segment``-th step is kept.

    The backward pass computes the rest again, one segment at a time (``jax.checkpoint``).
    """

    def recur_in_segments(operands: Operands, masks: Masks, *, reverse: bool) -> tuple[PyTree, State]:
        weights, inputs, h, c = operands
        if not isinstance(inputs.shape[0], int):
            raise InputError(f"recompute needs a known number of steps, the inputs have {inputs.shape[0]}")

        @partial(jax.checkpoint, prevent_cse=False)
        def piece(weights: DirectionWeights, state: State, sequences: tuple[Array, Masks]) -> tuple[State, Array]:
            inputs, masks = sequences
            outputs, state = run(Operands(weights, inputs, *state), masks, reverse=reverse)
            return state, outputs

        whole, rest = divmod(len(inputs), segment)
        if not whole:  # a loop over no segments fails under disable_jit
            state, outputs = piece(weights, (h, c), (inputs, masks))
            return outputs, state
        at = whole * segment
        sequences, state = (inputs, masks), (h, c)
        head = jax.tree.map(lambda x: x[:at].reshape(whole, segment, *x.shape[1:]), sequences)
        tail = jax.tree.map(lambda x: x[at:], sequences)
        last = jnp.zeros((0, *h.shape), inputs.dtype)
        if rest and reverse:
            state, last = piece(weights, state, tail)
        state, outputs = jax.lax.scan(partial(piece, weights), state, head, reverse=reverse)
        if rest and not reverse:
            state, last = piece(weights, state, tail)
        outputs = outputs.reshape(at, *outputs.shape[2:])
        return (jnp.concatenate([outputs, last]) if rest else outputs), state

    return recur_in_segments
