"""What a contender gives the benchmark: a program for one case in one mode."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

# Stage -> name -> array, for the comparison of numbers.
Shown = Mapping[str, Mapping[str, np.ndarray]]

# Losses that the mode "training" shows for the comparison of numbers: as many Adam steps as the check compares.
COMPARED_STEPS = 10


@dataclass(frozen=True)
class Program:
    """One case in one mode, ready to run.

    Attributes:
        call: run it once; returns when the device has finished. The first call traces and compiles.
        show: what a call returned -> stage ("forward", "gradient", "adam" or "losses") -> name -> array. Weights and
            gradients go by our names; names that a layout has no place for are left out.
        reset: bring it back to its start (weights, optimizer, state), before the first call and before each round.
        within: a context in which every call is made.
        steps: by how many the time of a call is divided for the time of a step.
        seconds: the call's own account of its time, from what it returned; None to look at the clock.
    """

    call: Callable[[], Any]
    show: Callable[[Any], Shown]
    reset: Callable[[], None] = lambda: None
    within: Callable[[], AbstractContextManager[object]] = nullcontext
    steps: int = 1
    seconds: Callable[[Any], float] | None = None
