"""Run the two directions of a layer, in one loop or one after the other."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jax_lstm.recurrences.choose import Sizes, shares_loop
from jax_lstm.recurrences.step import Masks, Operands, Recurrence, State

# (operands of each direction, masks) -> what the recurrence returns for each.
LayerRunner = Callable[[Sequence[Operands], Masks], list[tuple[PyTree, State]]]


def layer_runner(implementation: str, sizes: Sizes, run: Recurrence) -> LayerRunner:
    """Return a runner of a layer's directions: in one loop if that is faster, else one after the other."""
    return _in_one_loop(run) if shares_loop(implementation, sizes) else one_after_the_other(run)


def one_after_the_other(run: Recurrence) -> LayerRunner:
    """Return a runner that has a loop for each direction, the second one in reverse."""
    return lambda operands, masks: [run(each, masks, reverse=place == 1) for place, each in enumerate(operands)]


def _in_one_loop(run: Recurrence) -> LayerRunner:
    """Return a runner of both directions in the same steps. The reverse one reads the inputs from the end."""

    def turned(sequences: PyTree) -> PyTree:
        return jax.tree.map(lambda array: jnp.flip(array, 0), sequences)

    def run_both(operands: Sequence[Operands], masks: Masks) -> list[tuple[PyTree, State]]:
        if len(operands) == 1:
            return one_after_the_other(run)(operands, masks)
        forward, reverse = operands
        reverse = reverse._replace(inputs=turned(reverse.inputs))
        stacked = jax.tree.map(lambda *pair: jnp.stack(pair), (forward, masks), (reverse, turned(masks)))
        outputs, state = jax.vmap(partial(run, reverse=False))(*stacked)
        first, second = (jax.tree.map(lambda array, place=place: array[place], state) for place in (0, 1))
        return [(outputs[0], first), (turned(outputs[1]), second)]

    return run_both
