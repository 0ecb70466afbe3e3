"""The ways to run one layer in one direction, and the rule by which ``implementation="auto"`` chooses among them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jax_lstm.recurrences.chunked import recur_chunked
from jax_lstm.recurrences.single_kernel import recur_tiny
from jax_lstm.recurrences.step import DirectionWeights, Masks, Operands, Product, recur_plain
from lstm_shared.errors import InputError

# "cudnn" runs all layers at once: see cudnn.py. A kernel of another kind (Pallas, say) for one layer in one direction
# needs a name here and a line in ``recurrence``.
IMPLEMENTATIONS = ("auto", "scan", "chunked", "single-kernel", "cudnn")

# (operands, masks, *, reverse) -> (what is kept of each step: the outputs, (h, c)), as ``recur_plain``.
Recurrence = Callable[..., tuple[Any, tuple[Array, Array]]]
# (operands of each direction, masks) -> what the recurrence returns for each.
Directions = Callable[[Sequence[Operands], Masks], list[tuple[Any, tuple[Array, Array]]]]

# A batch of one gains from a single kernel up to about this many products a gate and step: hidden 64 with 32 inputs
# runs 1.3 times as fast as the plain loop, forward and backward; hidden 128 no faster, hidden 256 slower.
LARGEST_SINGLE_KERNEL = 10_000

# Hidden sizes at which both directions of a layer share a loop. That starts half as many kernels, but copies the inputs
# to lie side by side: 1.2 to 1.5 times as fast up to hidden 16, forward and backward, 1.0 to 1.3 times at 32, 0.9 to
# 1.05 times at 64 and 0.8 to 0.95 times at 128 (batch 2 to 128). Hidden 1, without matrix products, runs 0.4
# times as fast. In bfloat16, forward and backward run 0.9 times as fast.
SHARED_LOOP = range(2, 33)


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
    small = sizes.hidden * (sizes.inputs + sizes.hidden) <= LARGEST_SINGLE_KERNEL
    if sizes.batch == 1 and small and jnp.finfo(sizes.dtype).bits >= 32:
        return "single-kernel"
    return "chunked"


def _resolve(implementation: str, sizes: Sizes) -> str:
    return choose(sizes) if implementation == "auto" else implementation


def recurrence(implementation: str, sizes: Sizes, product: Product) -> Recurrence:
    """The recurrence of that name. Its operations carry the name in profiles and lowered programs, as "lstm_chunked".

    Raises:
        InputError: it cannot run these sizes.
    """
    name = _resolve(implementation, sizes)
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


def directions(implementation: str, sizes: Sizes, run: Recurrence) -> Directions:
    """The directions of a layer, by ``run``: in one loop where that is faster, else one after the other."""
    small = sizes.hidden in SHARED_LOOP and jnp.finfo(sizes.dtype).bits >= 32
    shared = small and _resolve(implementation, sizes) == "chunked"
    return _in_one_loop(run) if shared else one_after_the_other(run)


def one_after_the_other(run: Recurrence) -> Directions:
    """A loop for each direction, the second in reverse."""
    return lambda operands, masks: [run(each, masks, reverse=place == 1) for place, each in enumerate(operands)]


def _in_one_loop(run: Recurrence) -> Directions:
    """The forward direction, and beside it in the same steps the reverse one over the inputs from their end."""

    def turned(sequences: Any) -> Any:
        return jax.tree.map(lambda array: jnp.flip(array, 0), sequences)

    def run_both(operands: Sequence[Operands], masks: Masks) -> Any:
        if len(operands) == 1:
            return one_after_the_other(run)(operands, masks)
        forward, reverse = operands
        reverse = reverse._replace(inputs=turned(reverse.inputs))
        stacked = jax.tree.map(lambda *pair: jnp.stack(pair), (forward, masks), (reverse, turned(masks)))
        outputs, state = jax.vmap(partial(run, reverse=False))(*stacked)
        first, second = (jax.tree.map(lambda array, place=place: array[place], state) for place in (0, 1))
        return [(outputs[0], first), (turned(outputs[1]), second)]

    return run_both


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
