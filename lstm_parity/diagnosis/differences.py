"""Compare the outputs of simulated ports with the observed ones: the largest difference, and step by step."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_parity.diagnosis.simulation import SimulatedPort, chunks, first_computed, halves, simulate


@dataclass(frozen=True)
class PortOutputs:
    """The outputs that a port produced, and how far a right port may be off.

    Attributes:
        outputs: (time, batch, features), float64.
        known: True where the outputs are known; None if they all are.
        tolerance: how far a right port may be off.
        by_place: how far a right port may be off in each output, (time, batch, features), if rounding errors grow so
            much that one tolerance cannot serve all steps; infinite where this cannot be judged. None otherwise.
        floor: what is allowed for rounding errors that nothing magnifies.
        dtype: the coarsest arithmetic that a right port may have computed in.
    """

    outputs: np.ndarray
    known: np.ndarray | None
    tolerance: float
    by_place: np.ndarray | None = None
    floor: float = 0.0
    dtype: str = "float64"


@dataclass(frozen=True)
class Simulated:
    """Ports that were simulated together, with their outputs in the axes that they compute in.

    Attributes:
        members: the indices of these ports.
        port: one of them, for what they share.
        outputs: (ports or 1, time, batch, features), for the steps and rows asked for.
        steps, rows: see ``simulate``.
    """

    members: list[int]
    port: SimulatedPort
    outputs: np.ndarray
    steps: int | None
    rows: slice

    def in_view(self, array: np.ndarray) -> np.ndarray | None:
        """Return an observed array in this port's axes, at the simulated steps and rows; None if its shape differs."""
        array = self.port.as_computed(array)
        return self._asked_for(array) if array.shape == self._whole else None

    def apart(self, observed: PortOutputs) -> np.ndarray:
        """Return the distance from the observed outputs, (ports or 1, time, batch, features); 0 where not compared."""
        target = self.in_view(observed.outputs)
        if target is None:
            return np.full(self.outputs.shape, np.inf)
        compared = self._asked_for(np.broadcast_to(compared_places(self.port, observed), self._whole))
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(self.outputs - target)
        return np.where(compared, np.where(np.isnan(apart), np.inf, apart), 0.0)

    @property
    def _whole(self) -> tuple[int, ...]:
        return (*self.port.inputs.shape[:2], self.port.output_size)

    def _asked_for(self, array: np.ndarray) -> np.ndarray:
        """Return the simulated steps and rows of an array in the port's axes."""
        array = array[:, self.rows]
        return array if self.steps is None else first_computed(self.port, array, self.steps)


def simulations(
    ports: Sequence[SimulatedPort], *, steps: int | None = None, rows: slice = slice(None)
) -> Iterator[Simulated]:
    """Simulate ports, as many at a time as memory allows."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for k, port in enumerate(ports):
        groups[port.program].append(k)
    for members in groups.values():
        first = ports[members[0]]
        few = steps if first.merge == "concatenate" else None
        for part in chunks([ports[k] for k in members], steps, None if rows == slice(None) else 1):
            here = members[part]
            with np.errstate(invalid="ignore", over="ignore"):
                outputs = simulate([ports[k] for k in here], steps=few, rows=rows)
            yield Simulated(here, first, outputs, few, rows)


def differences_from(
    ports: Sequence[SimulatedPort], observed: PortOutputs, *, steps: int | None = None, rows: slice = slice(None)
) -> np.ndarray:
    """Return each port's largest difference from the observed outputs; infinite if shapes differ or a value is NaN."""
    result = np.full(len(ports), np.inf)
    for some in simulations(ports, steps=steps, rows=rows):
        result[some.members] = largest(some.apart(observed))
    return result


def largest(apart: np.ndarray) -> np.ndarray:
    """Return the maximum over all axes but the first."""
    return apart.reshape(len(apart), -1).max(axis=1, initial=0.0)


def by_step(port: SimulatedPort, apart: np.ndarray) -> np.ndarray:
    """Return the maximum in each step of (…, time, batch, features): (directions, …, time), in order of computation."""
    found = []
    for units, backwards in halves(port):
        steps = apart[..., units].max(axis=(-1, -2), initial=0.0)
        found.append(steps[..., ::-1] if backwards else steps)
    return np.stack(found)


def compared_places(port: SimulatedPort, observed: PortOutputs) -> np.ndarray:
    """Return which outputs are compared, (time, batch, 1 or features), in the port's axes."""
    time, batch, _ = port.inputs.shape
    places = np.ones((time, batch, 1), bool)
    if observed.known is not None:
        places = places & port.as_computed(observed.known)
    if port.valid is not None and not port.masked:
        places = places & port.valid[..., None]
    return places
