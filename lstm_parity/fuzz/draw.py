"""Hypothesis strategies: any configuration, for the random search, or ones simpler than a given one, to shrink it."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from hypothesis import strategies

from lstm_parity.fuzz.configurations import Configuration, Value
from lstm_parity.fuzz.size_classes import batch_classes, hidden_classes

T = TypeVar("T")

# Hypothesis mixes constants that it finds in loaded modules into what it draws. It ignores those below 100, so within
# 0..99 a seed gives the same cases whatever else is loaded.
SEEDS = range(100)

# The simplest value comes first, because hypothesis shrinks towards it. A value listed more often is drawn more often.
WEIGHT_MAGNITUDES = (0.5, 1.0, 0.1, 0.01, 2.0)
INPUT_MAGNITUDES = (1.0, 1.0, 1.0, 0.01, 30.0, 1000.0)
SPECIALS = ("",) * 5 + ("zeros", "signed zeros", "subnormals", "one huge input")
_TIMES = (*range(1, 10), 0, 17, 33, 35)  # 17: a whole chunk of the fast backward pass and one step more; 33: two
_BATCHES = (1, 2, 3, 4, 0)
_LARGEST_SIZE = 7
_KINDS = ("LSTM",) * 7 + ("cell", "forecaster", "by hand")
_DTYPES = ("float64",) * 6 + ("float32", "bfloat16")
_IMPLEMENTATIONS = ("auto", "auto", "scan", "chunked", "single-kernel")
# Compiling takes a second or two, and no two cases share a program.
_COMPILED = (False,) * 19 + (True,)

# One in this many random sizes is one of the larger ones, for which ``jax_lstm`` takes other paths.
_LARGE_SHARE = 8

# How often a value of the failing configuration is listed, against once for each simpler value. With twenty values, at
# least a third of what a search draws is then the failing configuration itself.
_KEPT = 200


# The values of each option, simplest first. An option that is not listed goes from False to True.
_ORDERS: dict[str, Sequence[Value]] = {
    "kind": ("LSTM", "forecaster", "cell", "by hand"),
    "implementation": ("auto", "scan", "chunked", "single-kernel"),
    "dtype": ("float64", "float32", "bfloat16"),
    "special": ("", "zeros", "signed zeros", "subnormals", "one huge input"),
    "weight_magnitude": (0.5, 1.0, 0.1, 0.01, 2.0),
    "input_magnitude": (1.0, 0.01, 30.0, 1000.0),
    "layout": ("time first", "batch first", "unbatched"),
    "state": ("zeros", "given", "left out"),
    "lengths": ("none", "ragged", "some empty"),
    "bias": (True, False),
}


def _sizes(small: Sequence[int], classes: Sequence[range]) -> tuple[int, ...]:
    """List the small sizes, repeated, and the first size of each class above them, so that these are drawn rarely."""
    large = [sizes[0] for sizes in classes if sizes[0] > max(small)]
    repeated = max(1, (_LARGE_SHARE - 1) * len(large) // len(small))
    return (*(size for size in small for _ in range(repeated)), *large)


@strategies.composite
def configurations(draw: strategies.DrawFn) -> Configuration:
    """Draw any configuration whose options do not conflict. Each value shrinks to the first in its list."""

    def one_of(values: Sequence[T]) -> T:
        return draw(strategies.sampled_from(values))

    narrow = range(1, _LARGEST_SIZE + 1)
    return Configuration(
        kind=one_of(_KINDS),
        compiled=one_of(_COMPILED),
        implementation=one_of(_IMPLEMENTATIONS),
        dtype=one_of(_DTYPES),
        special=one_of(SPECIALS),
        weight_magnitude=one_of(WEIGHT_MAGNITUDES),
        input_magnitude=one_of(INPUT_MAGNITUDES),
        seed=one_of(SEEDS),
        steps=one_of(_TIMES),
        batch=one_of(_sizes(_BATCHES, batch_classes())),
        inputs=one_of(narrow),
        hidden=one_of(_sizes(narrow, hidden_classes())),
        outputs=one_of((1, 2, 3)),
        layers=one_of((1, 2, 3)),
        bias=one_of((True, False)),
        bidirectional=one_of((False, True)),
        projection=one_of((0, 0, 0, 1, 2, 3)),
        layout=one_of(("time first", "batch first", "unbatched")),
        state=one_of(("zeros", "given", "left out")),
        lengths=one_of(("none", "none", "ragged", "some empty")),
        unfit_padding=one_of((False, True)),
        resets=one_of((False, False, True)),
    ).fitting()


@strategies.composite
def simpler_than(draw: strategies.DrawFn, failing: Configuration) -> Configuration:
    """Draw this configuration, or one in which some values are simpler, so that hypothesis can shrink it."""
    values = {
        field.name: draw(strategies.sampled_from((*_simpler(field.name, value), *(value,) * _KEPT)))
        for field in fields(failing)
        for value in (getattr(failing, field.name),)
    }
    return replace(failing, **values).fitting()


def _simpler(name: str, value: Any) -> tuple[Value, ...]:
    """Return the values of the field ``name`` that are simpler than ``value``, simplest first."""
    if name in ("steps", "batch"):
        order: Sequence[Value] = (*range(1, max(value, 2)), 0)
        return tuple(order[: order.index(value)]) if value in order else tuple(order)
    if name in ("inputs", "hidden", "outputs", "layers"):
        return tuple(range(1, value))
    if name in ("projection", "seed"):
        return tuple(range(min(value, 3)))
    order = _ORDERS.get(name, (False, True))
    return tuple(order[: order.index(value)])
