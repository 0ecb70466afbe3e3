"""The ways to run one layer in one direction, and the rule by which ``implementation="auto"`` chooses among them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jax_lstm.chunked import recur_chunked
from jax_lstm.recurrence import DirectionWeights, Masks, Operands, Product, recur_plain
from jax_lstm.tiny import recur_tiny
from lstm_shared.errors import InputError

# "cudnn" runs all layers at once: see cudnn.py. A kernel of another kind (Pallas, say) for one layer in one direction
# needs a name here and a line in ``recurrence``.
IMPLEMENTATIONS = ("auto", "scan", "chunked", "single-kernel", "cudnn")

# (operands, masks, *, reverse) -> (outputs, (h, c)), as ``recur_plain``.
Recurrence = Callable[..., tuple[Array, tuple[Array, Array]]]

# A batch of one gains from a single kernel up to about this many products a gate and step: hidden 64 with 32 inputs
# runs 1.3 times as fast as the plain loop, forward and backward; hidden 128 no faster, hidden 256 slower.
_LARGEST_SINGLE_KERNEL = 10_000


class Sizes(NamedTuple):
    """What the choice may depend on: nothing that is known only when the program runs."""

    steps: int
    batch: int
    inputs: int
    hidden: int
    dtype: Any

    @property
    def known(self) -> bool:
        """Whether steps and batch are numbers: in a program that ``jax.export`` makes for any size they are not."""
        return isinstance(self.steps, int) and isinstance(self.batch, int)


def choose(sizes: Sizes) -> str:
    """The implementation that "auto" means for these sizes, on the backend that is JAX's default.

    Never one that loses a transform. The measurements are beside each limit; ``lstm-parity bench`` repeats them.
    """
    if jax.default_backend() != "cpu":
        return "scan"  # the others were measured on CPU only
    if not sizes.known:
        return "scan"  # exported for any number: the chunks are of a known size
    small = sizes.hidden * (sizes.inputs + sizes.hidden) <= _LARGEST_SINGLE_KERNEL
    if sizes.batch == 1 and small and jnp.finfo(sizes.dtype).bits >= 32:
        return "single-kernel"
    return "chunked"


def recurrence(implementation: str, sizes: Sizes, product: Product) -> Recurrence:
    """The recurrence of that name. Its operations carry the name in profiles and lowered programs, as "lstm_chunked".

    Raises:
        InputError: it cannot run these sizes.
    """
    name = choose(sizes) if implementation == "auto" else implementation
    if name == "chunked" and not sizes.known:
        raise InputError(
            f'implementation="chunked" needs to know the sizes, the inputs have {sizes.steps} steps and a batch of '
            f'{sizes.batch}: use "auto"'
        )
    if name == "single-kernel" and sizes.batch != 1:
        raise InputError(f'implementation="single-kernel" runs a batch of 1, the inputs have {sizes.batch}: use "auto"')
    run: Recurrence = {
        "scan": recur_plain,
        "chunked": recur_chunked,
        "single-kernel": recur_tiny,
    }[name]

    def named(operands: Operands, masks: Masks, *, reverse: bool) -> tuple[Array, tuple[Array, Array]]:
        with jax.named_scope("lstm_" + name.replace("-", "_")):
            return run(operands, masks, reverse=reverse, product=product)

    return named


def recomputed(run: Recurrence, segment: int) -> Recurrence:
    """``run`` that keeps, for its derivative, only the state before every ``segment``-th step, and computes the rest
    again in the backward pass, one segment at a time (``jax.checkpoint``)."""

    def recur_in_segments(operands: Operands, masks: Masks, *, reverse: bool) -> tuple[Array, tuple[Array, Array]]:
        weights, inputs, h, c = operands
        if not isinstance(inputs.shape[0], int):
            raise InputError(f"recompute needs to know the number of steps, the inputs have {inputs.shape[0]}")

        @partial(jax.checkpoint, prevent_cse=False)
        def piece(weights: DirectionWeights, state: Any, sequences: tuple[Array, Masks]) -> Any:
            inputs, masks = sequences
            outputs, state = run(Operands(weights, inputs, *state), masks, reverse=reverse)
            return state, outputs

        whole, rest = divmod(len(inputs), segment)
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
