"""Timings of one contender on one case in one mode, in rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstm_parity.bench.cases import TRAINING

TIMED, DIFFERS, FAILED, LEFT_OUT = "timed", "differs", "failed", "left out"


@dataclass(frozen=True)
class Round:
    """The calls in one round: how many, and their times in seconds."""

    samples: int
    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Round":
        quartiles = (float(value) for value in np.quantile(samples, (0.25, 0.5, 0.75)))
        return cls(len(samples), float(min(samples)), *quartiles)


@dataclass(frozen=True)
class Measurement:
    """One contender on one case in one mode.

    Attributes:
        outcome: "timed"; "differs" (its numbers are not the reference's); "failed" (it could not run); or "left out"
            (it does not support this).
        reason: why it was not timed.
        tolerance_used: largest share of the tolerance that any compared number used.
        first_call: seconds for the first call, which traces, compiles and runs.
        steps: time steps in a call, or Adam steps in training. Divide the time of a call by this for that of a step.
        rounds: the steady state. The contenders take turns, one round each.
    """

    case: str
    mode: str
    contender: str
    outcome: str
    reason: str = ""
    tolerance_used: float | None = None
    first_call: float | None = None
    steps: int = 1
    rounds: tuple[Round, ...] = ()

    @property
    def steady(self) -> Round | None:
        """The median of each figure over the rounds; the minimum and the number of samples are over all rounds."""
        if not self.rounds:
            return None
        middle = {
            name: float(np.median([getattr(one, name) for one in self.rounds]))
            for name in ("lower_quartile", "median", "upper_quartile")
        }
        return Round(sum(one.samples for one in self.rounds), min(one.minimum for one in self.rounds), **middle)

    @property
    def medians(self) -> list[float]:
        """Seconds for the median call of each round."""
        return [one.median for one in self.rounds]

    @property
    def a_step(self) -> list[float]:
        """Seconds for the median step of each round. Compare these: training calls may differ in their steps."""
        return [median / self.steps for median in self.medians]

    @property
    def first_and_next(self) -> tuple[float, float] | None:
        """Seconds for the first call and for each later one; in training, for the first and each later Adam step."""
        if self.steady is None or self.first_call is None:
            return None
        steady = self.steady.median
        if self.mode != TRAINING:
            return self.first_call, steady
        return self.first_call - steady + steady / self.steps, steady / self.steps
