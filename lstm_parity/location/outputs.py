"""Find where outputs or a gradient first differ, for ports that show no trace."""

import numpy as np
from numpy.typing import ArrayLike

from lstm_parity.compare.places import GradientLocation, OutputLocation, Values
from lstm_parity.compare.tolerance import LSTM_FACTOR, eps, scale_of
from lstm_parity.location.values import apart_by, as_double
from lstm_shared.by_hand import BY_HAND
from lstm_shared.errors import InputError
from lstm_shared.names import BY_HAND_GATES, GATES, WITH_GATES


def locate_outputs(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    dtype: str = "float32",
    batch_first: bool = False,
    bidirectional: bool = False,
    factor: float = LSTM_FACTOR,
    tolerance: float | None = None,
) -> OutputLocation | None:
    """Return the first step, row and unit in which outputs differ. This needs the outputs only, no trace.

    Args:
        reference, candidate: the outputs of each side, as NumPy, JAX or torch arrays: (time, batch, features), or
            (batch, time, features) with ``batch_first``, or, unbatched, (time, features).
        dtype: the precision they were computed in.
        batch_first: whether the batch axis comes before the time axis.
        bidirectional: whether the second half of the features is a reverse direction, which starts at the last step.
        factor: the tolerance in eps(dtype) · max(1, largest magnitude in the reference).
        tolerance: the largest difference allowed; replaces ``dtype`` and ``factor``.

    Returns:
        An OutputLocation, whose ``str()`` is a sentence; None if everything agrees. NaN and infinity never agree.

    Raises:
        InputError: if the shapes differ, or have no time axis.
    """
    a, b = as_double(reference), as_double(candidate)
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise InputError(
            f"the reference has shape {a.shape}, the candidate has shape {b.shape}: expected the same shape, "
            "(time, batch, features), (batch, time, features) or (time, features)"
        )
    batched = a.ndim == 3
    a, b = (x[:, None] if not batched else x.swapaxes(0, 1) if batch_first else x for x in (a, b))
    if tolerance is None:
        tolerance = factor * eps(dtype) * scale_of(a)
    half = a.shape[-1] // 2 if bidirectional else a.shape[-1]
    apart = apart_by(a, b, tolerance)
    backwards = not apart[..., :half].any()
    if not apart.any():
        return None
    units = slice(half, None) if backwards else slice(0, half)
    a, b, apart = (x[::-1, :, units] if backwards else x[:, :, units] for x in (a, b, apart))
    turn, row, unit = map(int, np.argwhere(apart)[0])
    errors = np.abs(np.where(np.isfinite(b), b, np.inf) - a).reshape(len(a), -1).max(axis=1)
    return OutputLocation(
        len(a) - 1 - turn if backwards else turn,
        row if batched else None,
        unit + (half if backwards else 0),
        "reverse" if backwards else "forward",
        Values(float(a[turn, row, unit]), float(b[turn, row, unit])),
        tolerance,
        tuple(map(float, errors)),
        _growth(errors, tolerance),
    )


def locate_gradient(
    name: str,
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    dtype: str = "float32",
    factor: float = LSTM_FACTOR,
    scale: float | None = None,
    tolerance: float | None = None,
) -> GradientLocation | None:
    """Return the gate, row and column in which a gradient first differs, in the order of the array.

    Args:
        name: the name of the weight, torch's or the by-hand model's, with or without a prefix; or "inputs", "h_0",
            "c_0".
        reference, candidate: the gradient of each side, in the shape of the weight, as NumPy, JAX or torch arrays.
        dtype: the precision they were computed in.
        factor: the tolerance in eps(dtype) · scale.
        scale: the largest magnitude of all gradients together, at least 1; by default that of this reference.
        tolerance: the largest difference allowed; replaces ``dtype``, ``factor`` and ``scale``.

    Returns:
        A GradientLocation, whose ``str()`` is a sentence; None if everything agrees. NaN and infinity never agree.

    Raises:
        InputError: if the shapes differ.
    """
    a, b = as_double(reference), as_double(candidate)
    if a.shape != b.shape:
        raise InputError(
            f"{name}: the reference has shape {a.shape}, the candidate has shape {b.shape}: expected the same shape"
        )
    if tolerance is None:
        tolerance = factor * eps(dtype) * (scale_of(a) if scale is None else scale)
    apart = apart_by(a, b, tolerance)
    if not apart.any():
        return None
    index = tuple(map(int, np.argwhere(apart)[0]))
    gate, row, column = "", None, None
    last = name.rpartition(".")[2]
    if last in BY_HAND:
        gate = BY_HAND_GATES[last[1:-1]]
    elif last.startswith(WITH_GATES) and a.shape[0] % 4 == 0:
        block, row = divmod(index[0], a.shape[0] // 4)
        gate, column = GATES[block], index[1] if len(index) > 1 else None
    elif index:
        row, column = index[0], index[1] if len(index) > 1 else None
    return GradientLocation(name, gate, row, column, index, Values(float(a[index]), float(b[index])), tolerance)


def _growth(errors: np.ndarray, tolerance: float) -> float:
    """Return exp of the slope of log(error) over the steps. Errors within tolerance are rounding and are left out."""
    turns = np.flatnonzero(np.isfinite(errors) & (errors > tolerance))
    if len(turns) < 2:
        return float("nan")
    return float(np.exp(np.polyfit(turns, np.log(errors[turns]), 1)[0]))
