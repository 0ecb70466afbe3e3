"""Search for single mistakes: simulate each one, and look closely at those that may explain the outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lstm_parity.diagnosis.determined import Judged, judge
from lstm_parity.diagnosis.differences import PortOutputs, Simulated, by_step, largest, simulations
from lstm_parity.diagnosis.mistake import Mistake
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate

# Long sequences are first simulated for this many steps: most mistakes show there.
_FIRST_LOOK = 4
# Outputs are clearly wrong where they are more than this many times the ``floor`` from the right ones. A mistake is
# promising if it leaves at most this share of the first such error.
_CLEARLY, _PROMISING = 100.0, 0.25
# At most this many promising ports are judged, best first: each is simulated another ten times.
_MOST_JUDGED = 48
# A mistake that explains only some steps is listed if it is judged on at least this share of the best one's steps.
_AS_MANY_STEPS = 0.5


@dataclass(frozen=True)
class Fit:
    """Mistakes that together explain the outputs.

    Attributes:
        used: the largest difference that they leave, as a share of the tolerance.
        judged: how they were judged if rounding errors grow from step to step; None if one tolerance serves all steps.
    """

    mistakes: tuple[Mistake, ...]
    used: float
    judged: Judged | None = None


@dataclass(frozen=True)
class Looked:
    """What a simulation shows about some ports, with one entry for each port.

    Attributes:
        left: the largest difference from the observed outputs, on the steps that were simulated.
        visible: whether the outputs differ from the right ones.
        promise: the share of the first clear error that the port leaves; up to ``_PROMISING`` it is promising.
    """

    left: np.ndarray
    visible: np.ndarray
    promise: np.ndarray


@dataclass(frozen=True)
class SingleMistakes:
    """The single mistakes that change something, the ports that they make, and what their simulation shows."""

    mistakes: list[Mistake]
    ports: list[SimulatedPort]
    looked: Looked

    def fits(self, tolerance: float) -> list[Fit]:
        """Return the mistakes that leave no difference larger than the tolerance, best first."""
        left = self.looked.left / tolerance
        return [Fit((self.mistakes[k],), float(left[k])) for k in np.argsort(left, kind="stable") if left[k] <= 1]

    def fits_where_determined(self, observed: PortOutputs, right: np.ndarray) -> list[Fit]:
        """Return the mistakes that explain the steps that the inputs of their port determine, best first."""
        named = [(mistake,) for mistake in self.mistakes]
        return judged_fits(named, self.ports, self.looked.promise, observed, right)


def try_singles(right: SimulatedPort, mistakes: Sequence[Mistake], observed: PortOutputs) -> SingleMistakes:
    """Simulate every mistake, but leave out those that cannot be made here or that no output can show."""
    made = [(mistake, port) for mistake in mistakes if (port := mistake.apply(right)) is not None]
    ports = [port for _, port in made]
    exact = simulate([right])[0]
    everything = observed.known is None or bool(observed.known.all())
    if right.causal and everything and len(right.inputs) > 2 * _FIRST_LOOK:
        found = look(ports, observed, exact, steps=_FIRST_LOOK)
        settled = (found.left > observed.tolerance) & found.visible & (found.promise > _PROMISING)
        rest = np.flatnonzero(~settled)
        closer = look([ports[k] for k in rest], observed, exact)
        for name in ("left", "visible", "promise"):
            getattr(found, name)[rest] = getattr(closer, name)
    else:
        found = look(ports, observed, exact)
    padding_holds = right.valid is not None and _holds_padding(right, observed)
    masked = np.array([port.masked for port in ports], bool)
    # A port that does not mask is wrong only in the padding, and there it is not compared.
    kept = np.flatnonzero((found.visible & (masked | padding_holds)) | (~masked & padding_holds))
    return SingleMistakes(
        [made[k][0] for k in kept],
        [ports[k] for k in kept],
        Looked(found.left[kept], found.visible[kept], found.promise[kept]),
    )


def look(ports: Sequence[SimulatedPort], observed: PortOutputs, exact: np.ndarray, steps: int | None = None) -> Looked:
    """Simulate ports over all steps, or only over the first steps that they compute.

    Args:
        exact: the right outputs.
    """
    found = Looked(np.full(len(ports), np.inf), np.zeros(len(ports), bool), np.full(len(ports), np.inf))
    known = observed.known if exact.shape == observed.outputs.shape else None
    right = replace(observed, outputs=exact, known=known)
    for some in simulations(ports, steps=steps):
        left, effect = some.apart(observed), some.apart(right)
        found.left[some.members] = largest(left)
        found.promise[some.members] = _promise(some, left, observed, exact)
        limit = observed.tolerance if observed.by_place is None else some.in_view(observed.by_place)
        found.visible[some.members] = largest(effect > (observed.tolerance if limit is None else limit)) > 0
    return found


def judged_fits(
    mistakes: Sequence[tuple[Mistake, ...]],
    ports: Sequence[SimulatedPort],
    promise: np.ndarray,
    observed: PortOutputs,
    right: np.ndarray,
) -> list[Fit]:
    """Return the promising ports that explain every step that their inputs determine, most steps first."""
    promising = [k for k in np.argsort(promise, kind="stable") if promise[k] <= _PROMISING][:_MOST_JUDGED]
    fits = [
        Fit(mistakes[k], judged.used, judged)
        for k, judged in ((k, judge(ports[k], observed, right)) for k in promising)
        if judged.fits
    ]
    most = max((fit.judged.steps.judged for fit in fits if fit.judged), default=0)
    fits = [fit for fit in fits if fit.judged and fit.judged.steps.judged >= _AS_MANY_STEPS * most]
    return sorted(fits, key=lambda fit: (fit.judged is not None and -fit.judged.steps.judged, fit.used))


def _promise(some: Simulated, left: np.ndarray, observed: PortOutputs, exact: np.ndarray) -> np.ndarray:
    """Return, for each port, the share of the right port's errors that it leaves, up to the first clearly wrong step.

    In a port with two directions, the better one counts.
    """
    right = some.in_view(exact)
    if right is None:  # the right outputs have a different shape, so their errors are unknown
        return np.where(np.isfinite(largest(left)), 0.0, np.inf)
    errors = replace(some, outputs=right[None]).apart(observed)[0]
    shown = np.full(len(left), np.inf if some.steps is None else 0.0)
    for of_right, of_ports in zip(by_step(some.port, errors), by_step(some.port, left), strict=True):
        clear = np.flatnonzero(of_right > _CLEARLY * observed.floor)
        if len(clear):
            until = clear[0] + 1
            worst = of_ports[:, :until].max(axis=1)
            share = np.where(np.isfinite(worst), worst, np.inf) / np.nan_to_num(of_right[:until].max())
            shown = np.minimum(shown, share) if some.steps is None else share
    return shown


def _holds_padding(port: SimulatedPort, observed: PortOutputs) -> bool:
    assert port.valid is not None
    if observed.outputs.shape[:2] != port.valid.shape:
        return False
    return bool((observed.outputs[~port.valid] != 0).any())
