"""Which outputs of a port its inputs determine, and how far rounding errors alone may move the others.

A chaotic LSTM multiplies every rounding error from step to step until its outputs are those of another sequence. No
two computations of it agree then, and only its first steps, counted as each direction computes them, say anything
about a port. How many these are is measured: the port is simulated again with every weight, input and state moved up
or down by a rounding error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lstm_parity.compare.tolerance import eps, scale_of
from lstm_parity.diagnosis.differences import PortOutputs, compared_places
from lstm_parity.diagnosis.simulated_steps import PRECISIONS
from lstm_parity.diagnosis.simulation import SimulatedPort, chunks, halves, simulate

# So many times is a port simulated again, and so many times the largest response is a right port allowed.
# In float32 and float64, gains of 1 to 20 times U(±1/√hidden), hidden sizes 4 to 64, one and two layers, one direction
# and both, 100 steps, 12 seeds each: torch and jax_lstm used at most 1.34 of the floor plus one response, and none of
# these 960 right ports was called wrong.
_PERTURBATIONS, _RESPONSES = 8, 8.0
# A mistake judged on some of the steps explains the outputs only if the right ones are so many tolerances away there;
# one judged on all, with tolerances that grow, if they are so many.
_MARGIN_OF_SOME, _MARGIN_OF_ALL = 100.0, 4.0
# And on some of the steps it must explain so many digits. A port that has nothing to do with the outputs comes within
# the tolerance of a number, from 10ⁿ tolerances away, about once in 10ⁿ times; up to a thousand mistakes are tried.
_DIGITS = 5.0


@dataclass(frozen=True)
class Steps:
    """On how many steps, counted as each direction computes them, outputs were judged: (judged, of) by direction."""

    counts: tuple[tuple[int, int], ...]

    @property
    def all(self) -> bool:
        return all(judged == of for judged, of in self.counts)

    @property
    def judged(self) -> int:
        """In the direction in which there are most."""
        return max((judged for judged, _ in self.counts), default=0)

    @property
    def none(self) -> bool:
        """Whether there are steps, and none could be judged."""
        return self.judged == 0 and not self.all

    def __str__(self) -> str:
        """``the first 12 of 80 steps``; with two directions, how many in each."""
        (forward, of), *reverse = self.counts
        if reverse:
            return f"the first {forward} of {of} steps of the forward direction and {reverse[0][0]} of the reverse one"
        return f"the first {forward} of {of} steps" if forward != 1 else f"the first of {of} steps"


@dataclass(frozen=True)
class Judged:
    """A port judged on the steps that its inputs determine.

    Attributes:
        used: the largest share of the tolerance that the difference from the observed outputs uses.
        margin: how many tolerances the right outputs are at most away from those observed on the same steps.
        digits: log10 of how many tolerances they are away, added up over all numbers that are at least one away.
        steps: which steps these are.
    """

    used: float
    margin: float
    digits: float
    steps: Steps

    @property
    def fits(self) -> bool:
        if self.steps.all:
            return self.used <= 1 and self.margin >= _MARGIN_OF_ALL
        return self.used <= 1 and self.margin >= _MARGIN_OF_SOME and self.digits >= _DIGITS


def judge(port: SimulatedPort, observed: PortOutputs, right: np.ndarray) -> Judged:
    """Compare a port with what was observed, where its inputs determine it.

    Args:
        right: the outputs of the right port, (time, batch, features); of another shape, they are far away everywhere.
    """
    outputs = simulate([port])[0]
    target = port.as_computed(observed.outputs)
    compared = np.broadcast_to(compared_places(port, observed), outputs.shape)
    allowed = tolerances(port, outputs, observed.floor, observed.dtype)
    where = compared & np.isfinite(allowed)
    with np.errstate(invalid="ignore", divide="ignore"):
        used = np.max(np.abs(outputs - target) / allowed, initial=0.0, where=where)
        margin = digits = np.inf
        if right.shape == observed.outputs.shape:
            of_right = observed.tolerance if observed.by_place is None else port.as_computed(observed.by_place)
            away = np.abs(port.as_computed(right) - target) / (allowed + of_right)
            away = np.maximum(np.nan_to_num(away[where], nan=0.0, posinf=np.inf), 1.0)
            margin, digits = np.max(away, initial=0.0), np.sum(np.log10(away))
    used = float(used) if where.any() and not np.isnan(used) else np.inf
    return Judged(used, float(margin), float(digits), steps_judged(port, where, compared))


def steps_judged(port: SimulatedPort, judged: np.ndarray, compared: np.ndarray) -> Steps:
    """Places (time, batch, features), as computed, to steps: one counts when any row is judged there."""
    counts = []
    for units, _ in halves(port):
        some, of = (int(places[..., units].any(axis=(1, 2)).sum()) for places in (judged, compared))
        counts.append((some, of))
    return Steps(tuple(counts))


def tolerances(port: SimulatedPort, outputs: np.ndarray, floor: float, dtype: str) -> np.ndarray:
    """How far a computation of this port may be off, (time, batch, features); infinite where that cannot be judged.

    The floor, and some times what rounding errors do to the port. They end what can be judged once half of the digits
    are gone: up to there they grow in proportion, and a multiple of them says something.

    Args:
        outputs: the port's, simulated, (time, batch, features).
        floor: what is allowed for rounding that nothing magnifies.
        dtype: the arithmetic.
    """
    response = responses(port, outputs, dtype)
    most = np.sqrt(eps(dtype)) * scale_of(outputs)
    return np.where(response <= most, floor + _RESPONSES * response, np.inf)  # NaN is not <=


def responses(port: SimulatedPort, outputs: np.ndarray, dtype: str) -> np.ndarray:
    """The furthest that rounding errors moved the outputs up to each step, row by row and direction by direction."""
    last = frozenset({port.spec.num_layers - 1})
    plain = replace(port, merge="concatenate", joined_wrongly=port.joined_wrongly - last, unturned=port.unturned - last)
    exact = outputs if plain.program == port.program else simulate([plain])[0]
    ported = [_moved(plain, eps(dtype), seed) for seed in range(_PERTURBATIONS)]
    furthest = np.zeros_like(exact)
    with np.errstate(invalid="ignore", over="ignore"):
        others = [simulate(ported[part]) for part in chunks(ported)]
        if dtype in PRECISIONS:
            others.append(simulate([plain], precision=dtype))
        for other in others:
            furthest = np.maximum(furthest, np.abs(other - exact).max(axis=0))
    found = []
    for units, backwards in halves(plain):
        worst = furthest[..., units].max(axis=2, keepdims=True, initial=0.0)
        worst = np.maximum.accumulate(worst[::-1])[::-1] if backwards else np.maximum.accumulate(worst)
        if port.valid is not None and port.masked:
            worst = np.where(port.valid[..., None], worst, 0.0)  # zeros, whatever came before
        found.append(np.broadcast_to(worst, furthest[..., units].shape))
    if len(found) == 1:
        return found[0]
    if last & port.unturned:
        found[1] = found[1][::-1]
    if last & port.joined_wrongly:
        found.reverse()
    return np.concatenate(found, axis=2) if port.merge == "concatenate" else found[0] + found[1]


def _moved(port: SimulatedPort, unit: float, seed: int) -> SimulatedPort:
    """The port with every number moved up or down by a rounding error of its own size."""
    rng = np.random.default_rng(seed)

    def moved(array: np.ndarray) -> np.ndarray:
        return array * (1 + unit * np.where(rng.random(array.shape) < 0.5, -1.0, 1.0))

    def all_moved(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: moved(array) for name, array in arrays.items()}

    return replace(
        port, weights=all_moved(port.weights), inputs=moved(port.inputs), h_0=moved(port.h_0), c_0=moved(port.c_0)
    )
