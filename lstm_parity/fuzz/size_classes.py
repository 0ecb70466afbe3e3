"""The sizes at which ``jax_lstm`` takes another path, found by asking its own rules, and the path of one call.

The rules are asked, not copied: a threshold that moves there moves here. This is the one place that knows them.
"""

from collections.abc import Callable, Hashable
from functools import cache
from typing import NamedTuple

import numpy as np

from jax_lstm.recurrences.choose import (
    SHARED_LOOP,
    Sizes,
    chunk_steps,
    every_rule,
    features_first,
    one_product,
    resolve,
    shares_loop,
)

# Sizes are looked at up to here. A rule that changes beyond it goes unseen; today's last change is at hidden 256.
LARGEST = 512

# The values of the other sizes under which each size is looked at.
_OTHERS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_INPUTS = 5
_DTYPES = (np.dtype("float32"), np.dtype("bfloat16"))


class Path(NamedTuple):
    """What ``jax_lstm.lstm`` does with a layer of these sizes.

    Attributes:
        implementation: what "auto" means, or what was asked for.
        shared_loop: whether both directions, where there are two, run in one loop.
        chunk: steps in a chunk of the backward pass; 0 where the implementation has none.
        features_first: whether the loop without a derivative has the features first.
        one_product: whether a step makes one product in place of two, (without, with a derivative).
    """

    implementation: str
    shared_loop: bool
    chunk: int
    features_first: bool
    one_product: tuple[bool, bool]


def path_of(implementation: str, steps: int, batch: int, inputs: int, hidden: int, dtype: np.dtype) -> Path:
    """The path of one layer, by the rules of ``jax_lstm``; ``steps`` and ``batch`` are those of the whole call."""
    sizes = Sizes(steps, batch, inputs, hidden, dtype)
    implementation = resolve(implementation, sizes)
    if implementation != "chunked":
        return Path(implementation, False, 0, False, (False, False))
    return Path(
        implementation,
        shares_loop(implementation, sizes),
        chunk_steps(batch),
        features_first(batch, hidden, dtype),
        (
            one_product(batch, inputs, hidden, dtype, saving=False),
            one_product(batch, inputs, hidden, dtype, saving=True),
        ),
    )


@cache
def hidden_classes() -> tuple[range, ...]:
    """Hidden sizes from 1 on, cut where any rule changes."""

    def paths(hidden: int) -> Hashable:
        by_batch = tuple(_rules(batch, hidden, dtype) for batch in _OTHERS for dtype in _DTYPES)
        return (hidden in SHARED_LOOP, by_batch)

    return _classes(paths, 1)


@cache
def batch_classes() -> tuple[range, ...]:
    """Numbers of rows from 0 on, cut where any rule changes, and where chunks become shorter, or a single step."""

    def paths(batch: int) -> Hashable:
        by_hidden = tuple(_rules(batch, hidden, dtype) for hidden in _OTHERS[1:] for dtype in _DTYPES)
        chunk = chunk_steps(batch)
        return (batch == 0, batch == 1, chunk == chunk_steps(1), chunk == 1, by_hidden)

    return _classes(paths, 0)


def shares_a_loop(hidden: int) -> bool:
    """Whether both directions of a layer of this hidden size run in one loop, in float64."""
    return path_of("chunked", 8, 2, _INPUTS, hidden, np.dtype("float64")).shared_loop


def _rules(batch: int, hidden: int, dtype: np.dtype) -> tuple[Hashable, ...]:
    return every_rule(Sizes(8, batch, _INPUTS, hidden, dtype))


def _classes(paths: Callable[[int], Hashable], first: int) -> tuple[range, ...]:
    """The sizes from ``first`` on, in runs of those that take the same paths."""
    found, start, before = [], first, paths(first)
    for size in range(first + 1, LARGEST + 1):
        if (here := paths(size)) != before:
            found.append(range(start, size))
            start, before = size, here
    return (*found, range(start, LARGEST + 1))
