"""``locate`` finds the first place, in the order of computation, where two implementations of an LSTM differ."""

import numpy as np

from lstm_parity.compare.places import Location, Values
from lstm_parity.compare.tolerance import BY_HAND_FACTOR, LSTM_FACTOR, eps, scale_of
from lstm_parity.location.values import apart_by, as_double
from lstm_shared.errors import InputError
from lstm_shared.traces import ByHandTrace, LSTMTrace


def locate(
    reference: LSTMTrace | ByHandTrace,
    candidate: LSTMTrace | ByHandTrace,
    *,
    dtype: str,
    batch_first: bool = False,
    factor: float | None = None,
) -> Location | None:
    """Return the first place where two traces differ.

    First means: the first layer, then direction, step (in the order of that direction), gate, row and unit.

    Args:
        reference, candidate: the traces, as returned by ``jax_lstm.lstm_trace``, ``torch_lstm.trace`` or the ``trace``
            of the by-hand models, both from the same inputs.
        dtype: the precision they were computed in.
        batch_first: whether the inputs, and so the traces, have the batch axis before the time axis.
        factor: the tolerance in eps(dtype) · max(1, largest magnitude in the reference); by default that of the
            comparison policy.

    Returns:
        A Location, whose ``str()`` is a sentence; None if everything agrees. NaN and infinity never agree.

    Raises:
        InputError: if the traces are not of the same kind, or their shapes differ.
    """
    by_hand = isinstance(reference, ByHandTrace)
    pairs = {
        name: (as_double(getattr(reference, name)), as_double(getattr(candidate, name, None)))
        for name in reference._fields
        if getattr(reference, name) is not None
    }
    InputError.raise_any(
        [
            f"{name}: the reference has shape {a.shape}, the candidate has shape {b.shape}: expected the same shape"
            for name, (a, b) in pairs.items()
            if a.shape != b.shape
        ]
    )
    # All (layers, directions, time, batch, units). The fields are in the order in which a step computes them.
    batched = next(iter(pairs.values()))[0].ndim == (2 if by_hand else 5)
    pairs = {name: tuple(_ordered(x, by_hand, batched, batch_first) for x in pair) for name, pair in pairs.items()}
    allowed = (BY_HAND_FACTOR if by_hand else LSTM_FACTOR) if factor is None else factor
    tolerance = allowed * eps(dtype) * scale_of(*(a for a, _ in pairs.values()))
    names = list(pairs)
    apart = [apart_by(a, b, tolerance) for a, b in pairs.values()]
    turns = np.stack([field.any(axis=(3, 4)) for field in apart], axis=-1)  # (layers, directions, turns, fields)
    if not turns.any():
        return None
    layer, direction, turn, number = map(int, np.unravel_index(np.argmax(turns), turns.shape))
    row, unit = map(int, np.argwhere(apart[number][layer, direction, turn])[0])
    place = (layer, direction, turn, row, unit)
    a, b = (float(x[place]) for x in pairs[names[number]])
    step = turns.shape[2] - 1 - turn if direction else turn
    return Location(
        names[number],
        layer,
        "reverse" if direction else "forward",
        step,
        turn,
        row if batched else None,
        None if by_hand else unit,
        Values(a, b),
        tolerance,
    )


def _ordered(array: np.ndarray, by_hand: bool, batched: bool, batch_first: bool) -> np.ndarray:
    """Return the array as (layers, directions, turns, batch, units), time in the order of each direction."""
    if by_hand:
        return array.reshape(-1, array.shape[-1]).T[None, None, :, :, None]
    if not batched:
        array = array[:, :, :, None]
    elif batch_first:
        array = array.swapaxes(2, 3)
    return np.concatenate([array[:, :1], array[:, 1:, ::-1]], axis=1)
