"""The interface between a contender and the benchmark: a program for one case in one mode."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

# Stage -> name -> array, to compare with the reference.
Shown = Mapping[str, Mapping[str, np.ndarray]]

# How many losses the mode "training" shows for the comparison. ``check`` also compares this many Adam steps.
COMPARED_STEPS = 10


@dataclass(frozen=True)
class Program:
    """One case in one mode, ready to run.

    Attributes:
        call: runs the program once and returns when the device has finished. The first call traces and compiles.
        show: result of a call -> stage ("forward", "gradient", "adam" or "losses") -> name -> array. Weights and
            gradients have our names. Names that a layout has no place for are left out.
        reset: restores weights, optimizer and state to the start, before the first call and before each round.
        within: a context manager for every call.
        steps: steps in a call. Divide the time of a call by this for that of a step.
        seconds: result of a call -> the time that the call itself measured. None to use the clock.
    """

    call: Callable[[], Any]
    show: Callable[[Any], Shown]
    reset: Callable[[], None] = lambda: None
    within: Callable[[], AbstractContextManager[object]] = nullcontext
    steps: int = 1
    seconds: Callable[[Any], float] | None = None
