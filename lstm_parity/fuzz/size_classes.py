"""Find the sizes at which ``jax_lstm`` takes another path, and the path of one call, by asking its own rules.

The rules are asked, not copied: a threshold that moves there moves here. Only this file knows which rules there are.
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
    resolve,
    shares_loop,
)

# The largest size to look at. A rule that changes above it goes unseen. The last change today is at hidden size 256.
LARGEST = 512

# The values of the other size with which each size is tried.
_OTHERS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_INPUTS = 5
_DTYPES = (np.dtype("float32"), np.dtype("bfloat16"))


class Path(NamedTuple):
    """The path that ``jax_lstm.lstm`` takes for a layer of given sizes.

    Attributes:
        implementation: the one asked for, or the one that "auto" chooses.
        shared_loop: whether both directions, if there are two, run in one loop.
        chunk: the number of steps in a chunk of the backward pass; 0 if the implementation has no chunks.
        features_first: whether the loop puts the features first when no derivative is taken.
        one_product: whether a step computes one product instead of two: (without, with a derivative).
    """

    implementation: str
    shared_loop: bool
    chunk: int
    features_first: bool
    one_product: tuple[bool, bool]


def path_of(implementation: str, steps: int, batch: int, inputs: int, hidden: int, dtype: np.dtype) -> Path:
    """Return the path of one layer by the rules of ``jax_lstm``; ``steps`` and ``batch`` are for the whole call."""
    sizes = Sizes(steps, batch, inputs, hidden, dtype)
    implementation = resolve(implementation, sizes)
    if implementation != "chunked":
        return Path(implementation, False, 0, False, (False, False))
    _, first, without, with_derivative = every_rule(sizes)
    return Path(
        implementation, shares_loop(implementation, sizes), chunk_steps(batch), first, (without, with_derivative)
    )


@cache
def hidden_classes() -> tuple[range, ...]:
    """Return the hidden sizes from 1 on, split where any rule changes."""

    def paths(hidden: int) -> Hashable:
        by_batch = tuple(_rules(batch, hidden, dtype) for batch in _OTHERS for dtype in _DTYPES)
        return (hidden in SHARED_LOOP, by_batch)

    return _classes(paths, 1)


@cache
def batch_classes() -> tuple[range, ...]:
    """Return the batch sizes from 0 on, split where a rule changes, or chunks become shorter or a single step."""

    def paths(batch: int) -> Hashable:
        by_hidden = tuple(_rules(batch, hidden, dtype) for hidden in _OTHERS[1:] for dtype in _DTYPES)
        chunk = chunk_steps(batch)
        return (batch == 0, batch == 1, chunk == chunk_steps(1), chunk == 1, by_hidden)

    return _classes(paths, 0)


def shares_a_loop(hidden: int) -> bool:
    """Return whether both directions of a layer of this hidden size run in one loop, in float64."""
    return path_of("chunked", 8, 2, _INPUTS, hidden, np.dtype("float64")).shared_loop


def _rules(batch: int, hidden: int, dtype: np.dtype) -> tuple[Hashable, ...]:
    return every_rule(Sizes(8, batch, _INPUTS, hidden, dtype))


def _classes(paths: Callable[[int], Hashable], first: int) -> tuple[range, ...]:
    """Return the sizes from ``first`` on, in ranges of sizes that take the same paths."""
    found, start, before = [], first, paths(first)
    for size in range(first + 1, LARGEST + 1):
        if (here := paths(size)) != before:
            found.append(range(start, size))
            start, before = size, here
    return (*found, range(start, LARGEST + 1))
