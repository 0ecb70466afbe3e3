"""Simulate ports with mistakes, many at once, in NumPy and float64.

A simulated port is an LSTM's weights, inputs and initial states as somebody's code reads them, and what that code does
wrong. ``catalogue.py`` makes such ports from the right one, ``simulate`` computes their outputs, and ``search.py``
compares these with the observed ones. It is NumPy, because with thousands of small models a compiler would take most of
the time. Ports that share a layer's weights share its computation.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lstm_parity.diagnosis.simulated_steps import run_layer
from lstm_shared.names import PARTS, place_name, weight_name
from lstm_shared.specs import LSTMSpec

_CHUNK_BYTES = 48 << 20


@dataclass(frozen=True)
class SimulatedPort:
    """One simulated port. All arrays are float64 and time-major, with a batch axis.

    Attributes:
        weights: by torch's names. There are always biases; they are zero if the model has none.
        inputs: (time, batch, input_size).
        h_0, c_0: (layers·directions, batch, size).
        valid: (time, batch), False in the padding; None without lengths.
        sigmoids: for each layer and direction, the name of the gates' sigmoid in ``SIGMOIDS``.
        equations: for each layer and direction, the name of a step's equations in ``EQUATIONS``.
        returned: which state the last layer returns: "h" or "c".
        joined_wrongly: the layers whose directions are concatenated with the reverse one first.
        unturned: the layers whose reverse direction leaves its outputs in the order it computes them in.
        merge: how the last layer's directions become one output: "concatenate", "sum" or "mean".
        from_padding: whether the reverse direction starts in the padding.
        masked: whether the padding of the outputs is zeroed.
        views: what happens to the outputs afterwards, in this order: "reverse" (in time) or "swap" (time and batch).
    """

    spec: LSTMSpec
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    h_0: np.ndarray
    c_0: np.ndarray
    valid: np.ndarray | None
    sigmoids: tuple[str, ...]
    equations: tuple[str, ...]
    returned: str = "h"
    joined_wrongly: frozenset[int] = frozenset()
    unturned: frozenset[int] = frozenset()
    merge: str = "concatenate"
    from_padding: bool = False
    masked: bool = True
    views: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """The layers and directions, in the order of computation: l0, l0_reverse, l1, …"""
        return tuple(place_name(*place) for place in self.spec.places)

    @property
    def read_inputs(self) -> np.ndarray:
        """The inputs without the padding, which a right port does not read."""
        return self.inputs if self.valid is None else self.inputs[self.valid]

    @property
    def program(self) -> tuple[Hashable, ...]:
        """What ports must share to be simulated together: everything but the numbers."""
        options = (self.joined_wrongly, self.unturned, self.merge, self.from_padding, self.masked, self.views)
        return (self.inputs.shape, self.sigmoids, self.equations, self.returned, *options)

    @property
    def output_size(self) -> int:
        """The number of features of the outputs, after the directions are merged."""
        return self.spec.output_size if self.merge == "concatenate" else self.spec.state_size

    @property
    def causal(self) -> bool:
        """Whether the first outputs depend only on the first inputs."""
        return not self.spec.bidirectional

    def with_weights(self, changed: dict[str, np.ndarray]) -> "SimulatedPort":
        return replace(self, weights={**self.weights, **changed})

    def layers(self, start: int, stop: int | None = None, inputs: np.ndarray | None = None) -> "SimulatedPort":
        """Return some of the layers as a port of their own, with this port's inputs or the given ones."""
        spec = self.spec
        numbers = range(spec.num_layers)[start:stop]
        rows = slice(start * len(spec.directions), (numbers.stop) * len(spec.directions))
        size = spec.input_size if start == 0 else spec.output_size
        return replace(
            self,
            spec=replace(spec, input_size=size, num_layers=len(numbers)),
            weights={
                weight_name(part, layer - start, suffix): self.weights[weight_name(part, layer, suffix)]
                for layer in numbers
                for suffix in spec.directions
                for part in PARTS[: 5 if spec.proj_size else 4]
            },
            inputs=self.inputs if inputs is None else inputs,
            h_0=self.h_0[rows],
            c_0=self.c_0[rows],
            sigmoids=self.sigmoids[rows],
            equations=self.equations[rows],
            joined_wrongly=frozenset(layer - start for layer in self.joined_wrongly if layer in numbers),
            unturned=frozenset(layer - start for layer in self.unturned if layer in numbers),
        )

    def as_computed(self, observed: np.ndarray) -> np.ndarray:
        """Return an array of observed outputs, (time, batch, …), in the axes that this port computes in."""
        for view in reversed(self.views):
            observed = observed[::-1] if view == "reverse" else observed.swapaxes(0, 1)
        return observed


def simulate(
    ports: Sequence[SimulatedPort], *, steps: int | None = None, rows: slice = slice(None), precision: str | None = None
) -> np.ndarray:
    """Compute the outputs of ports that share a program, before their ``views``: (ports or 1, time, batch, features).

    The first axis has length 1 if nothing in the ports differs.

    Args:
        steps: compute only this many steps, the first that the last layer computes in each direction;
            ``first_computed`` takes the same steps from whole outputs.
        rows: compute only these batch rows.
        precision: round as this arithmetic does: a name in ``PRECISIONS``.
    """
    first = ports[0]
    spec = first.spec
    features = _stack([port.inputs for port in ports])[:, :, rows]
    valid = None if first.valid is None else first.valid[:, rows, None]
    if valid is not None and not first.from_padding:
        features = np.where(valid, features, 0.0)  # the padding may hold NaN
    h_0, c_0 = (_stack([getattr(port, name) for port in ports])[:, :, rows] for name in ("h_0", "c_0"))
    # A port that neither masks nor starts at the end of each sequence does not use the lengths at all.
    blind = first.from_padding and not first.masked
    for layer in range(spec.num_layers):
        last = layer == spec.num_layers - 1
        outputs = []
        for direction, suffix in enumerate(spec.directions):
            row = layer * len(spec.directions) + direction
            needed = slice(None)
            if steps is not None and (last or first.causal):
                needed = slice(max(0, first.inputs.shape[0] - steps), None) if direction else slice(steps)
            here = None if valid is None else valid[needed]
            kept = run_layer(
                {
                    part: _stack([port.weights[weight_name(part, layer, suffix)] for port in ports])
                    for part in PARTS[: 5 if spec.proj_size else 4]
                },
                features[:, needed],
                h_0[:, row],
                c_0[:, row],
                None if blind or (direction and first.from_padding) else here,
                backwards=direction == 1,
                sigmoid=first.sigmoids[row],
                equations=first.equations[row],
                returned=first.returned if last else "h",
                precision=precision,
            )
            if here is not None and not blind:
                kept = np.where(here, kept, 0.0)
            outputs.append(kept[:, ::-1] if direction and layer in first.unturned else kept)
        if layer in first.joined_wrongly:
            outputs.reverse()
        if last and first.merge != "concatenate":
            features = np.add(*outputs) / (2 if first.merge == "mean" else 1)
        else:
            wide = max(map(len, outputs))
            outputs = [x if len(x) == wide else np.broadcast_to(x, (wide, *x.shape[1:])) for x in outputs]
            features = np.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
    return features


def first_computed(port: SimulatedPort, outputs: np.ndarray, steps: int) -> np.ndarray:
    """Take from whole outputs, (time, …, features), the steps that ``simulate(steps=…)`` computes."""
    if port.causal:
        return outputs[:steps]
    last = port.spec.num_layers - 1
    halves = np.split(outputs, 2, axis=-1)
    at_the_end = 0 if last in port.joined_wrongly else 1
    if last in port.unturned:
        return outputs[:steps]
    halves = [half[max(0, len(half) - steps) :] if k == at_the_end else half[:steps] for k, half in enumerate(halves)]
    return np.concatenate(halves, axis=-1)


def halves(port: SimulatedPort) -> list[tuple[slice, bool]]:
    """Return, for each direction, its features in the outputs as computed, and whether its first step comes last there.

    Merged directions count as one.
    """
    if not port.spec.bidirectional or port.merge != "concatenate":
        return [(slice(None), False)]
    last, size = port.spec.num_layers - 1, port.spec.state_size
    backwards = last not in port.unturned
    found = [(slice(size), False), (slice(size, None), backwards)]
    return [(slice(size, None), False), (slice(size), backwards)] if last in port.joined_wrongly else found


def chunks(ports: Sequence[SimulatedPort], steps: int | None = None, rows: int | None = None) -> Iterable[slice]:
    """Split the ports into slices that are small enough to simulate at once without filling the memory."""
    first = ports[0]
    time, batch, _ = first.inputs.shape
    time, batch = min(time, steps or time), min(batch, rows or batch)
    numbers = time * batch * (first.spec.output_size * 2 + 4 * first.spec.hidden_size)
    # A weight that all ports share is in memory once, so it does not count.
    numbers += sum(
        array.size for name, array in first.weights.items() if any(port.weights[name] is not array for port in ports)
    )
    size = max(1, _CHUNK_BYTES // (8 * max(1, numbers)))
    return (slice(start, start + size) for start in range(0, len(ports), size))


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """Stack one array per port along a new leading axis, which has length 1 if all arrays are the same object."""
    one = arrays[0]
    return one[None] if all(array is one for array in arrays) else np.array(arrays)
