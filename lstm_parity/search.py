"""The search for the mistakes that explain outputs: singles, arithmetic, pairs; then by what they leave unexplained."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from lstm_parity.mistakes import Mistake
from lstm_parity.ports import Port, chunks, first_computed, simulate
from lstm_shared.progress import progress_bar

# Pairs are first tried on one sequence, and on so many steps of the last layer: one in which the initial state is read,
# one in which the first step's is, and one more.
_FIRST_STEPS = 3
# Errors of this level are taken for those of an arithmetic when they are within this factor of the simulated ones.
_LEVEL = 3.0
# And when they point along the outputs with at most this cosine: outputs that are scaled are no matter of arithmetic.
_ALONG = 0.8
_STORED = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@dataclass(frozen=True)
class Observed:
    """What a port produced.

    Attributes:
        outputs: (time, batch, features), float64.
        known: True where the outputs are known; None when they all are.
        tolerance: how far a right port may be off.
    """

    outputs: np.ndarray
    known: np.ndarray | None
    tolerance: float


@dataclass(frozen=True)
class Fit:
    """Mistakes that together explain the outputs, and the largest difference that they leave."""

    mistakes: tuple[Mistake, ...]
    difference: float


@dataclass(frozen=True)
class Candidates:
    """The single mistakes that change something, the ports that they make, and what each leaves of the outputs."""

    mistakes: list[Mistake]
    ports: list[Port]
    differences: np.ndarray

    def fits(self, tolerance: float) -> list[Fit]:
        order = np.argsort(self.differences, kind="stable")
        return [Fit((self.mistakes[k],), float(self.differences[k])) for k in order if self.differences[k] <= tolerance]


def try_singles(right: Port, mistakes: Sequence[Mistake], observed: Observed) -> Candidates:
    """Simulate every mistake; those that cannot be made here or that no output could show are left out."""
    made = [(mistake, port) for mistake in mistakes if (port := mistake.apply(right)) is not None]
    exact = Observed(simulate([right])[0], observed.known, observed.tolerance)
    if observed.known is not None and observed.known.shape != exact.outputs.shape:
        exact = Observed(exact.outputs, None, observed.tolerance)
    ports = [port for _, port in made]
    differences, effects = differences_from(ports, observed), differences_from(ports, exact)
    padding_holds = right.valid is not None and _holds_padding(right, observed)
    kept = [
        k
        for k, (_, port) in enumerate(made)
        # without masking only the padding is wrong, which is not compared then
        if (effects[k] > observed.tolerance and (port.masked or padding_holds)) or (not port.masked and padding_holds)
    ]
    return Candidates([made[k][0] for k in kept], [ports[k] for k in kept], differences[kept])


def try_pairs(right: Port, singles: Candidates, observed: Observed, progress: bool) -> tuple[list[Fit], int]:
    """Every two of the singles, in both orders where that matters: those that fit, best first, and how many there were.

    A cheap look at the first outputs of one sequence leaves few to be simulated in full.
    """
    lengths = None if right.valid is None else right.valid.sum(axis=0)
    row = 0 if lengths is None or not lengths.size else int(np.argmax(lengths))
    everything = observed.known is None or bool(observed.known.all())
    steps = _FIRST_STEPS if everything else None
    mistakes, ports = singles.mistakes, singles.ports
    left: list[tuple[tuple[int, int], Port]] = []
    tried = 0
    with progress_bar("pairs of mistakes", len(mistakes), enabled=progress) as show:
        for first, mistake in enumerate(mistakes):
            tried += len(mistakes) - first - 1
            # In one place together, so that what the others leave untouched is computed once for all.
            batches: dict[str, list[tuple[tuple[int, int], Port]]] = defaultdict(list)
            for second in range(first + 1, len(mistakes)):
                for port in _both(mistake, mistakes[second], ports[first], ports[second]):
                    batches[mistakes[second].place].append(((first, second), port))
            for batch in batches.values():
                found = differences_from([port for _, port in batch], observed, steps=steps, rows=slice(row, row + 1))
                left += [batch[k] for k in np.flatnonzero(found <= observed.tolerance)]
            show(first + 1)
        found = differences_from([port for _, port in left], observed)
    best: dict[tuple[int, int], float] = {}
    for (pair, _), difference in zip(left, found, strict=True):
        if difference <= observed.tolerance:
            best[pair] = min(best.get(pair, np.inf), float(difference))
    fits = [Fit((mistakes[a], mistakes[b]), difference) for (a, b), difference in best.items()]
    return sorted(fits, key=lambda fit: fit.difference), tried


def _both(a: Mistake, b: Mistake, with_a: Port, with_b: Port) -> Iterator[Port]:
    if a.kind == b.kind == "gate-order" and a.place == b.place:
        return  # which is another gate order
    orders = [(b, with_a)] if a.commutes_with(b) else [(b, with_a), (a, with_b)]
    for mistake, port in orders:
        if (made := mistake.apply(port)) is not None:
            yield made


def differences_from(
    ports: Sequence[Port], observed: Observed, *, steps: int | None = None, rows: slice = slice(None)
) -> np.ndarray:
    """The largest difference of each port's outputs from those observed; infinite where shapes differ or NaN is."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for k, port in enumerate(ports):
        groups[port.program].append(k)
    result = np.full(len(ports), np.inf)
    for members in groups.values():
        first = ports[members[0]]
        target = first.as_computed(observed.outputs)
        time, batch, _ = first.inputs.shape
        if target.shape != (time, batch, first.output_size):
            continue
        compared = np.broadcast_to(compared_places(first, observed), target.shape)[:, rows]
        target, few = target[:, rows], steps if first.merge == "concatenate" else None
        if few is not None:
            target, compared = first_computed(first, target, few), first_computed(first, compared, few)
        narrow = None if rows == slice(None) else 1
        for part in chunks([ports[k] for k in members], steps, narrow):
            here = members[part]
            with np.errstate(invalid="ignore", over="ignore"):
                outputs = simulate([ports[k] for k in here], steps=few, rows=rows)
                apart = np.where(compared, np.abs(outputs - target), 0.0)
            worst = apart.reshape(len(outputs), -1).max(axis=1, initial=0.0)
            result[here] = np.where(np.isnan(worst), np.inf, worst)
    return result


def compared_places(port: Port, observed: Observed) -> np.ndarray:
    """(time, batch, 1 or features), in the port's axes: which outputs are compared."""
    time, batch, _ = port.inputs.shape
    places = np.ones((time, batch, 1), bool)
    if observed.known is not None:
        places = places & port.as_computed(observed.known)
    if port.valid is not None and not port.masked:
        places = places & port.valid[..., None]
    return places


def _holds_padding(port: Port, observed: Observed) -> bool:
    assert port.valid is not None
    if observed.outputs.shape[:2] != port.valid.shape:
        return False
    return bool((observed.outputs[~port.valid] != 0).any())


def dropout_in_one_call(right: Port, observed: Observed) -> float | None:
    """The probability of a dropout on the last outputs, if they are the right ones, some zeroed, the others larger."""
    exact = simulate([right])[0]
    if observed.outputs.shape != exact.shape or observed.known is not None:
        return None
    dropped = (observed.outputs == 0) & (np.abs(exact) > observed.tolerance)
    stays = ~dropped & (np.abs(exact) > 0)
    if not dropped.any() or not stays.any():
        return None
    scale = float(np.sum(observed.outputs[stays] * exact[stays]) / np.sum(exact[stays] ** 2))
    apart = np.abs(observed.outputs - scale * exact)[~dropped].max()
    return 1 - 1 / scale if scale > 1.01 and apart <= scale * observed.tolerance else None


def precisions_that_fit(port: Port, observed: Observed, names: Sequence[str]) -> list[tuple[str, float]]:
    """The arithmetics whose rounding errors are as large as what is left of the outputs, likeliest first.

    Returns:
        (name, factor by which what is left is larger or smaller than the simulated errors) each.
    """
    target = port.as_computed(observed.outputs)
    exact = simulate([port])[0]
    if target.shape != exact.shape:
        return []
    places = np.broadcast_to(compared_places(port, observed), exact.shape)
    seen, truth = (target - exact)[places], exact[places]
    stored = [name for name, dtype in _STORED.items() if _stored_in(target[places], dtype)]
    fits = []
    for name in [name for name in names if not stored or name in stored]:
        simulated = (simulate([port], precision=name)[0] - exact)[places]
        level, expected, size = (float(np.sqrt(np.mean(x**2))) for x in (seen, simulated, truth))
        if not expected or not np.isfinite(level):
            continue
        factor = max(level / expected, expected / max(level, np.finfo(float).tiny))
        # Rounding errors have no outliers, and do not go along with the outputs.
        outliers = np.max(np.abs(seen)) > 2 * _LEVEL * np.max(np.abs(simulated))
        along = abs(float(np.mean(seen * truth))) > _ALONG * level * size
        if factor <= _LEVEL and not outliers and not along:
            fits.append((name, factor))
    return sorted(fits, key=lambda fit: fit[1])


def precision_tolerance(port: Port, name: str) -> float:
    """How far a right port in this arithmetic may be off: some times what its simulation is."""
    exact = simulate([port])[0]
    return 2 * _LEVEL * float(np.max(np.abs(simulate([port], precision=name)[0] - exact), initial=0.0))


def _stored_in(values: np.ndarray, dtype: type) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(values.astype(dtype).astype(np.float64), values))
