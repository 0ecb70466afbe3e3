"""Measure which outputs of a port its inputs determine, and how far rounding errors alone may move them.

A chaotic LSTM multiplies every rounding error from step to step, until its outputs could be those of another sequence.
From then on no two computations of it agree. Only the first steps, counted in the order in which each direction
computes them, say anything about a port. To measure how many these are, the port is simulated again with every weight,
input and state moved up or down by a rounding error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lstm_parity.compare.tolerance import eps, scale_of
from lstm_parity.diagnosis.differences import PortOutputs, compared_places
from lstm_parity.diagnosis.simulated_steps import PRECISIONS
from lstm_parity.diagnosis.simulation import SimulatedPort, chunks, halves, simulate

# How often a port is simulated again, and how many times the largest response a right port may be off.
# Measured in float32 and float64, with gains of 1 to 20 times U(±1/√hidden), hidden sizes 4 to 64, one and two layers,
# one direction and both, 100 steps, 12 seeds each: torch and jax_lstm used at most 1.34 of the floor plus one response,
# and none of these 960 right ports was called wrong.
_PERTURBATIONS, _RESPONSES = 8, 8.0
# A mistake counts as explaining the outputs only if, on the steps judged, the right outputs are at least this many
# tolerances from the observed ones: the first number if some steps cannot be judged; the second if all can, with a
# tolerance that grows from step to step.
_MARGIN_OF_SOME, _MARGIN_OF_ALL = 100.0, 4.0
# A mistake judged on some steps must also explain this many digits. If a number is 10ⁿ tolerances away, an unrelated
# port comes within its tolerance by chance about once in 10ⁿ times, and up to a thousand mistakes are tried.
_DIGITS = 5.0


@dataclass(frozen=True)
class Steps:
    """How many steps were judged, counted in the order in which each direction computes them.

    Attributes:
        counts: (steps judged, steps in all) for each direction.
    """

    counts: tuple[tuple[int, int], ...]

    @property
    def all(self) -> bool:
        return all(judged == of for judged, of in self.counts)

    @property
    def judged(self) -> int:
        """The number of steps judged, in the direction with the most."""
        return max((judged for judged, _ in self.counts), default=0)

    @property
    def none(self) -> bool:
        """Whether there are steps but none could be judged."""
        return self.judged == 0 and not self.all

    def __str__(self) -> str:
        """``the first 12 of 80 steps``; with two directions, how many in each."""
        (forward, of), *reverse = self.counts
        if reverse:
            return (
                f"the first {forward} of {of} steps in the forward direction and the first {reverse[0][0]} in the "
                "reverse direction"
            )
        return f"the first {forward} of {of} steps" if forward != 1 else f"the first of {of} steps"


@dataclass(frozen=True)
class Judged:
    """A port judged on the steps that its inputs determine.

    Attributes:
        used: the largest difference from the observed outputs, as a share of the tolerance.
        margin: the largest distance of the right outputs from the observed ones on the same steps, in tolerances.
        digits: log10 of that distance, summed over all numbers that are at least one tolerance away.
        steps: how many steps were judged.
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
    """Compare a port with the observed outputs, on the steps that its inputs determine.

    Args:
        right: the outputs of the right port, (time, batch, features). If the observed outputs have a different shape,
            the right ones count as far away everywhere.
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
    """Count the steps in which any row is judged, and those in which any is compared, for each direction.

    Args:
        judged, compared: (time, batch, features), in the axes that the port computes in.
    """
    counts = []
    for units, _ in halves(port):
        some, of = (int(places[..., units].any(axis=(1, 2)).sum()) for places in (judged, compared))
        counts.append((some, of))
    return Steps(tuple(counts))


def tolerances(port: SimulatedPort, outputs: np.ndarray, floor: float, dtype: str) -> np.ndarray:
    """Return how far a computation of this port may be off, (time, batch, features).

    This is the floor plus a multiple of the port's response to rounding errors. Once the response has taken half of the
    digits, an output cannot be judged, and this is infinite. Up to there the response grows in proportion to the
    rounding errors, so a multiple of it means something.

    Args:
        outputs: the port's simulated outputs, (time, batch, features).
        floor: what is allowed for rounding errors that nothing magnifies.
        dtype: the arithmetic.
    """
    response = responses(port, outputs, dtype)
    most = np.sqrt(eps(dtype)) * scale_of(outputs)
    return np.where(response <= most, floor + _RESPONSES * response, np.inf)  # NaN is not <=


def responses(port: SimulatedPort, outputs: np.ndarray, dtype: str) -> np.ndarray:
    """Return how far rounding errors move the outputs at most, up to each step, for each row and direction."""
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
            worst = np.where(port.valid[..., None], worst, 0.0)  # the padding is zero, whatever came before
        found.append(np.broadcast_to(worst, furthest[..., units].shape))
    if len(found) == 1:
        return found[0]
    if last & port.unturned:
        found[1] = found[1][::-1]
    if last & port.joined_wrongly:
        found.reverse()
    return np.concatenate(found, axis=2) if port.merge == "concatenate" else found[0] + found[1]


def _moved(port: SimulatedPort, unit: float, seed: int) -> SimulatedPort:
    """Return the port with every number moved up or down by one rounding error of its own size."""
    rng = np.random.default_rng(seed)

    def moved(array: np.ndarray) -> np.ndarray:
        return array * (1 + unit * np.where(rng.random(array.shape) < 0.5, -1.0, 1.0))

    def all_moved(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: moved(array) for name, array in arrays.items()}

    return replace(
        port, weights=all_moved(port.weights), inputs=moved(port.inputs), h_0=moved(port.h_0), c_0=moved(port.c_0)
    )
