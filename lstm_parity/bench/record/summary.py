"""Figures computed from the measurements: ratios within a round, and when compiling has paid off."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lstm_parity.annotations import JsonObject
from lstm_parity.bench.contenders.registry import CONTENDERS, OURS, REFERENCE
from lstm_parity.bench.record.measurements import Measurement


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as another contender: median, lowest and highest over the rounds. Above 1 is faster."""

    median: float
    lowest: float
    highest: float


def ratio(seconds: Sequence[float], others: Sequence[float]) -> Ratio:
    """Return how many times as fast as the other it was. Each round is compared with the same round of the other."""
    rounds = [other / own for own, other in zip(seconds, others, strict=True)]
    return Ratio(float(np.median(rounds)), min(rounds), max(rounds))


def break_even(first: float, later: float, other_first: float, other_later: float) -> int | None:
    """Return after how many calls the total time is at most the other's; None if it never is.

    Args:
        first, other_first: seconds for the first call, compiling included.
        later, other_later: seconds for every later call.
    """
    if first <= other_first:
        return 1
    if later >= other_later:
        return None
    return 1 + math.ceil((first - other_first) / (other_later - later))


def against_reference(one: Measurement, group: Mapping[str, Measurement]) -> Ratio | None:
    """Return how many times as fast as torch eager it was; None if one of the two was not timed."""
    return _against(one, group.get(REFERENCE))


def strongest(
    group: Mapping[str, Measurement], wanted: Callable[[str], bool] = lambda family: family != "ours"
) -> Measurement | None:
    """Return the fastest contender in the steady state. By default all but our own take part.

    Args:
        wanted: (family) -> whether its contenders take part.
    """
    timed = [one for name, one in group.items() if one.rounds and name in CONTENDERS]
    timed = [one for one in timed if wanted(CONTENDERS[one.contender].family)]
    return min(timed, key=lambda one: float(np.median(one.a_step)), default=None)


def ours_against(group: Mapping[str, Measurement], other: Measurement | None) -> Ratio | None:
    """Return how many times as fast as another contender ours was; None if one of the two was not timed."""
    return None if OURS not in group or other is None else _against(group[OURS], other)


def pays_off(one: Measurement, group: Mapping[str, Measurement]) -> int | str | None:
    """Return after how many calls compiling has paid off against torch eager: a number, or "never".

    In training it counts Adam steps. None if one of the two was not timed, or if nothing is compiled.
    """
    reference = group.get(REFERENCE)
    if reference is None or one.first_and_next is None or reference.first_and_next is None:
        return None
    if one.contender not in CONTENDERS or not CONTENDERS[one.contender].compiles:
        return None
    calls = break_even(*one.first_and_next, *reference.first_and_next)
    return "never" if calls is None else calls


def summarize(one: Measurement, group: Mapping[str, Measurement]) -> JsonObject | None:
    """Return all figures for a measurement; None if it was not timed."""
    if one.steady is None:
        return None
    to_reference, best = against_reference(one, group), strongest(group)
    to_best = ours_against(group, best) if one.contender == OURS else None
    return {
        "steady": asdict(one.steady),
        "microseconds_per_step": 1e6 * float(np.median(one.a_step)),
        "times_as_fast_as_torch": to_reference and asdict(to_reference),
        "pays_off_after": pays_off(one, group),
        "strongest_peer": best.contender if to_best and best else None,
        "times_as_fast_as_strongest_peer": to_best and asdict(to_best),
    }


def as_times(value: float) -> str:
    """Format a ratio: two decimals; two significant digits if it is very small; no decimals if it is large."""
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _against(one: Measurement, other: Measurement | None) -> Ratio | None:
    return ratio(one.a_step, other.a_step) if one.rounds and other is not None and other.rounds else None
