"""Search for pairs of mistakes that together explain the outputs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypedDict

import numpy as np

from lstm_parity.diagnosis.differences import PortOutputs, differences_from, simulations
from lstm_parity.diagnosis.mistake import Mistake
from lstm_parity.diagnosis.search import Fit, SingleMistakes, judged_fits, look
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate
from lstm_shared.progress import progress_bar

# The first look at a pair simulates one sequence and this many steps of the last layer: one that reads the initial
# state, one that reads the state after the first step, and one more. On so few steps, rounding errors add at most
# ``_LAX`` times the tolerance.
_FIRST_STEPS, _LAX = 3, 8.0


# Above this many bytes of weights in all, pairs that are not in two different layers are tried only if no pair in two
# layers fits: a gigabyte takes about a second.
_MANY_BYTES = 20e9
# How many ports are made at a time: each holds a copy of the weights that it reads differently.
_AT_ONCE = 64


Found = list[tuple[tuple[int, int], SimulatedPort]]


def try_pairs(
    right: SimulatedPort, singles: SingleMistakes, observed: PortOutputs, progress: bool
) -> tuple[list[Fit], int]:
    """Try every pair of the single mistakes, in both orders where the order matters.

    A cheap look at the first outputs of one sequence leaves few pairs to simulate in full. Mistakes that are not tried
    in pairs, such as the gate orders of one matrix, are left out. In large models, pairs in two different layers come
    first, because they share most of their computation; the other pairs follow only if none of these fits.

    Returns:
        The pairs that fit, best first, and how many pairs were tried.
    """
    chosen = [k for k, mistake in enumerate(singles.mistakes) if mistake.in_pairs]
    mistakes, ports = [singles.mistakes[k] for k in chosen], [singles.ports[k] for k in chosen]
    exact = simulate([right])[0]
    look_at = _first_look(right, observed)
    in_two_layers = {
        (a, b) if a < b else (b, a)
        for (_, first), (_, second) in combinations(_by_layer(mistakes), 2)
        for a in first
        for b in second
    }
    count = len(mistakes) * (len(mistakes) - 1) // 2
    others = count - len(in_two_layers)
    with progress_bar("pairs of mistakes", 2 * len(mistakes), enabled=progress) as show:
        left = _pairs_in_two_layers(right, mistakes, ports, observed, look_at)
        show(len(mistakes))
        size = sum(array.nbytes for array in right.weights.values())
        if others * size > _MANY_BYTES and (fits := _fits(left, mistakes, observed, exact)):
            return fits, len(in_two_layers)
        for first in range(len(mistakes)):
            # The second mistakes are grouped by place, so that what they leave untouched is computed once for all.
            seconds: dict[str, list[int]] = defaultdict(list)
            for second in range(first + 1, len(mistakes)):
                if (first, second) not in in_two_layers:
                    seconds[mistakes[second].place].append(second)
            for numbers in seconds.values():
                for start in range(0, len(numbers), _AT_ONCE):
                    batch: Found = [
                        ((first, second), port)
                        for second in numbers[start : start + _AT_ONCE]
                        for port in _both(mistakes[first], mistakes[second], ports[first], ports[second])
                    ]
                    found = differences_from([port for _, port in batch], observed, **look_at)
                    left += [batch[k] for k in np.flatnonzero(found <= _LAX * observed.tolerance)]
            show(len(mistakes) + first + 1)
        return _fits(left, mistakes, observed, exact), count


class _Look(TypedDict):
    """The steps and batch rows that the first look simulates."""

    steps: int | None
    rows: slice


def _first_look(right: SimulatedPort, observed: PortOutputs) -> _Look:
    """Return the steps and rows of the first look: all steps if some outputs are unknown."""
    lengths = None if right.valid is None else right.valid.sum(axis=0)
    row = 0 if lengths is None or not lengths.size else int(np.argmax(lengths))
    everything = observed.known is None or bool(observed.known.all())
    return {"steps": _FIRST_STEPS if everything else None, "rows": slice(row, row + 1)}


def _by_layer(mistakes: Sequence[Mistake]) -> list[tuple[int, list[int]]]:
    """Group the mistakes that are made in one layer and direction by that layer."""
    layers: dict[int, list[int]] = defaultdict(list)
    for k, mistake in enumerate(mistakes):
        if mistake.place:
            layers[int(mistake.place[1:].partition("_")[0])].append(k)
    return sorted(layers.items())


def _pairs_in_two_layers(
    right: SimulatedPort,
    mistakes: Sequence[Mistake],
    ports: Sequence[SimulatedPort],
    observed: PortOutputs,
    look_at: _Look,
) -> Found:
    """Find the pairs of mistakes in different layers whose first outputs match the observed ones.

    The outputs of the lower layers, with the first mistake, are computed once for all second mistakes.
    """
    row, steps = look_at["rows"], look_at["steps"]
    until = slice(steps if right.causal else None)
    valid = None if right.valid is None else right.valid[until, row]
    known = None if observed.known is None else observed.known[until, row]
    narrow = {"inputs": right.inputs[until, row], "h_0": right.h_0[:, row], "c_0": right.c_0[:, row], "valid": valid}
    seen = replace(observed, outputs=observed.outputs[until, row], known=known)
    left: Found = []
    for (_, below), (high, above) in combinations(_by_layer(mistakes), 2):
        lower = [replace(ports[k], **narrow).layers(0, high) for k in below]
        features = [narrow["inputs"]] * len(below)
        for some in simulations(lower):
            for k, outputs in zip(some.members, some.outputs, strict=True):
                features[k] = outputs
        for second in above:
            upper = replace(ports[second], **narrow)
            found = differences_from([upper.layers(high, inputs=x) for x in features], seen, steps=steps)
            for k in np.flatnonzero(found <= _LAX * observed.tolerance):
                first = below[k]
                if (port := mistakes[second].apply(ports[first])) is not None:
                    left.append(((min(first, second), max(first, second)), port))
    return left


def _fits(left: Found, mistakes: Sequence[Mistake], observed: PortOutputs, exact: np.ndarray) -> list[Fit]:
    """Return the pairs that explain all outputs, or if none does, those that explain the steps that can be judged."""
    ports = [port for _, port in left]
    looked = look(ports, observed, exact)
    # Two mistakes that cancel explain nothing, such as 1 more in the forget gate's bias and 1 less.
    visible = np.flatnonzero(looked.visible)
    left, ports = [left[k] for k in visible], [ports[k] for k in visible]
    best: dict[tuple[int, int], float] = {}
    for (pair, _), difference in zip(left, looked.left[visible], strict=True):
        if difference <= observed.tolerance:
            best[pair] = min(best.get(pair, np.inf), float(difference))
    fits = [Fit((mistakes[a], mistakes[b]), difference / observed.tolerance) for (a, b), difference in best.items()]
    if not fits:
        named = [(mistakes[a], mistakes[b]) for (a, b), _ in left]
        return judged_fits(named, ports, looked.promise[visible], observed, exact)
    return sorted(fits, key=lambda fit: fit.used)


def _both(a: Mistake, b: Mistake, with_a: SimulatedPort, with_b: SimulatedPort) -> Iterator[SimulatedPort]:
    if a.kind == b.kind == "gate-order" and a.place == b.place:
        return  # together they are just another gate order
    orders = [(b, with_a)] if a.commutes_with(b) else [(b, with_a), (a, with_b)]
    for mistake, port in orders:
        if (made := mistake.apply(port)) is not None:
            yield made
