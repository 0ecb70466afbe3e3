"""Convert arrays of any framework to float64, and find where two differ."""

from typing import Any

import numpy as np

from lstm_shared.tensors import to_array


def as_double(value: Any) -> np.ndarray:
    """Return a NumPy, JAX or torch array in float64; NaN for None."""
    array = to_array(value) if hasattr(value, "detach") else np.asarray(np.nan if value is None else value)
    return array.astype(np.float64)


def apart_by(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """Return where the two differ by more than the tolerance, or either is NaN."""
    with np.errstate(invalid="ignore"):
        return ~(np.abs(a - b) <= tolerance)  # not >, which is False for NaN
