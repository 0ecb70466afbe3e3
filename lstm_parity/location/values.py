"""Arrays of any framework as float64, and where two are apart."""

from typing import Any

import numpy as np

from lstm_shared.tensors import to_array


def as_double(value: Any) -> np.ndarray:
    """An array of NumPy, JAX or torch in float64; NaN for None."""
    array = to_array(value) if hasattr(value, "detach") else np.asarray(np.nan if value is None else value)
    return array.astype(np.float64)


def apart_by(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """Where the two differ by more than the tolerance, or either is NaN."""
    with np.errstate(invalid="ignore"):
        return ~(np.abs(a - b) <= tolerance)  # so that NaN is apart
