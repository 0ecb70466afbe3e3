"""Errors that are no mistake in the equations: coarse arithmetic, and dropout that was left on."""

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from lstm_parity.compare.tolerance import eps
from lstm_parity.diagnosis.differences import PortOutputs, compared_places
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate

# Errors of this level are taken for those of an arithmetic when they are within this factor of the simulated ones.
_LEVEL = 3.0
# So many times its simulated errors is a right port in some arithmetic allowed.
ERRORS_ALLOWED = 2 * _LEVEL
# Errors that are the outputs themselves times a number, to this cosine, come from a scaling, not from an arithmetic.
_ALONG = 0.8
_EPS_OF = {"tf32": "float16"}  # ten bits of mantissa
_STORED = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def dropout_in_one_call(right: SimulatedPort, observed: PortOutputs) -> float | None:
    """The probability of a dropout on the last outputs, if they are the right ones, some zeroed, the others larger."""
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
    """The arithmetics whose rounding errors are as large as what is left of the outputs, likeliest first.

    Returns:
        (name, factor by which what is left is larger or smaller than the simulated errors) each.
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
        with np.errstate(over="ignore"):  # of outputs beyond 1e154: no arithmetic explains these
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


def precision_tolerance(port: SimulatedPort, name: str) -> float:
    """How far a right port in this arithmetic may be off: some times what its simulation is."""
    exact = simulate([port])[0]
    return ERRORS_ALLOWED * float(np.max(np.abs(simulate([port], precision=name)[0] - exact), initial=0.0))


def _small(errors: np.ndarray, exact: np.ndarray, unit: float) -> np.ndarray:
    """Where rounding errors are in proportion to the unit; later, in a chaotic model, they are as large as outputs."""
    return np.abs(errors).max(axis=(1, 2), keepdims=True) <= np.sqrt(unit) * max(1.0, float(np.max(np.abs(exact))))


def _stored_in(values: np.ndarray, dtype: type) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(values.astype(dtype).astype(np.float64), values))
