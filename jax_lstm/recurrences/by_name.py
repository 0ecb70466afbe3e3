"""Look up a recurrence by the name of its implementation."""

import jax
from jaxtyping import PyTree

from jax_lstm.recurrences.choose import Sizes, resolve
from jax_lstm.recurrences.chunked import recur_chunked
from jax_lstm.recurrences.scan import recur_plain
from jax_lstm.recurrences.single_kernel import recur_single_kernel
from jax_lstm.recurrences.step import Masks, Operands, Product, Recurrence, State
from lstm_shared.errors import InputError


def recurrence_by_name(implementation: str, sizes: Sizes, product: Product) -> Recurrence:
    """Return the recurrence of that name. Profiles and lowered programs show the name, as in "lstm_chunked".

    Raises:
        InputError: the recurrence cannot run these sizes.
    """
    name = resolve(implementation, sizes)
    if name == "chunked" and not sizes.known:
        raise InputError(
            f'implementation="chunked" needs known sizes, the inputs have {sizes.steps} steps and a batch of '
            f'{sizes.batch}: use "auto"'
        )
    if name == "single-kernel" and sizes.batch != 1:
        raise InputError(f'implementation="single-kernel" runs a batch of 1, the inputs have {sizes.batch}: use "auto"')
    run: Recurrence = {
        "scan": recur_plain,
        "chunked": recur_chunked,
        "single-kernel": recur_single_kernel,
    }[name]

    def named(operands: Operands, masks: Masks, *, reverse: bool) -> tuple[PyTree, State]:
        with jax.named_scope("lstm_" + name.replace("-", "_")):
            return run(operands, masks, reverse=reverse, product=product)

    return named
