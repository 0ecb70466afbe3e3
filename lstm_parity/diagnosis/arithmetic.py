"""Recognise errors that do not come from wrong equations: coarse arithmetic, and dropout that was left on."""

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from lstm_parity.compare.tolerance import eps
from lstm_parity.diagnosis.differences import PortOutputs, compared_places
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate

# Errors count as those of an arithmetic if their level is within this factor of the simulated level.
_LEVEL = 3.0
# A right port in some arithmetic may be off by this many times the simulated errors.
ERRORS_ALLOWED = 2 * _LEVEL
# If the cosine between errors and outputs is larger than this, the outputs were scaled: rounding does not do that.
_ALONG = 0.8
_EPS_OF = {"tf32": "float16"}  # ten bits of mantissa
_STORED = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def dropout_in_one_call(right: SimulatedPort, observed: PortOutputs) -> float | None:
    """Return the dropout probability if the outputs are the right ones, some zeroed and the rest scaled up; or None."""
    exact = simulate([right])[0]
    if observed.outputs.shape != exact.shape or observed.known is not None:
        return None
    allowed = observed.tolerance if observed.by_place is None else observed.by_place
    dropped = (observed.outputs == 0) & (np.abs(exact) > allowed)
    stays = ~dropped & (np.abs(exact) > 0) & np.isfinite(allowed)
    if not dropped.any() or not stays.any():
        return None
    scale = float(np.sum(observed.outputs[stays] * exact[stays]) / np.sum(exact[stays] ** 2))
    used = np.max(np.abs(observed.outputs - scale * exact) / allowed, initial=0.0, where=~dropped)
    return 1 - 1 / scale if scale > 1.01 and used <= scale else None


def precisions_that_fit(port: SimulatedPort, observed: PortOutputs, names: Sequence[str]) -> list[tuple[str, float]]:
    """Find the arithmetics whose rounding errors are as large as the error that this port leaves, likeliest first.

    Returns:
        (name, factor) for each. The factor, at least 1, says how far the level of the error that is left is from the
        simulated level, up or down.
    """
    target = port.as_computed(observed.outputs)
    exact = simulate([port])[0]
    if target.shape != exact.shape:
        return []
    places = np.broadcast_to(compared_places(port, observed), exact.shape)
    stored = [name for name, dtype in _STORED.items() if _stored_in(target[places], dtype)]
    fits = []
    for name in [name for name in names if not stored or name in stored]:
        errors = simulate([port], precision=name)[0] - exact
        if not (held := places & _small(errors, exact, eps(_EPS_OF.get(name, name)))).any():
            continue
        seen, truth, simulated = (target - exact)[held], exact[held], errors[held]
        with np.errstate(over="ignore"):  # the squares of outputs beyond 1e154; no arithmetic explains these
            level, expected, size = (float(np.sqrt(np.mean(x**2))) for x in (seen, simulated, truth))
        if not expected or not np.isfinite(level):
            continue
        factor = max(level / expected, expected / max(level, np.finfo(float).tiny))
        # Rounding errors have no outliers and are not proportional to the outputs.
        outliers = np.max(np.abs(seen)) > 2 * _LEVEL * np.max(np.abs(simulated))
        along = abs(float(np.mean(seen * truth))) > _ALONG * level * size
        if factor <= _LEVEL and not outliers and not along:
            fits.append((name, factor))
    return sorted(fits, key=lambda fit: fit[1])


def precision_tolerance(port: SimulatedPort, name: str) -> float:
    """Return how far a right port in this arithmetic may be off: a multiple of the simulated error."""
    exact = simulate([port])[0]
    return ERRORS_ALLOWED * float(np.max(np.abs(simulate([port], precision=name)[0] - exact), initial=0.0))


def _small(errors: np.ndarray, exact: np.ndarray, unit: float) -> np.ndarray:
    """Return the steps at which rounding errors are still small; in a chaotic model they grow as large as outputs."""
    return np.abs(errors).max(axis=(1, 2), keepdims=True) <= np.sqrt(unit) * max(1.0, float(np.max(np.abs(exact))))


def _stored_in(values: np.ndarray, dtype: type) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(values.astype(dtype).astype(np.float64), values))
