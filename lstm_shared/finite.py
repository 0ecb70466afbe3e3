"""NaN and infinity: counting them, leaving them out of the largest magnitude, and writing them to JSON as null."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import is_mapping, is_sequence

_AT_ONCE = 2**16  # numbers that are copied at a time if an array is not contiguous


def count_not_finite(array: np.ndarray) -> int:
    """Count the values that are NaN or infinite. Memory use does not grow with the array; 0 if it holds no floats."""
    if "float" not in array.dtype.name:
        return 0
    pieces = np.nditer(array, ["external_loop", "buffered", "zerosize_ok"], order="K", buffersize=_AT_ONCE)
    with pieces:
        return sum(int(np.count_nonzero(~np.isfinite(piece))) for piece in pieces)


def not_finite(arrays: Mapping[str, Any]) -> list[str]:
    """Return a line for each array that holds NaN or infinity."""
    problems: list[str] = []
    for name, value in arrays.items():
        array = np.asarray(value)
        if bad := count_not_finite(array):
            problems.append(f"{name} holds {bad} of {array.size} values that are NaN or infinite")
    return problems


def largest_magnitude(array: Any) -> float:
    """Return the largest finite magnitude, or 0 if there is none. Padding may hold anything, so NaN must not count."""
    array = np.asarray(array)
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def json_ready(value: Any) -> Any:
    """Return a copy with None in place of NaN and infinity, which JSON cannot express."""
    if is_mapping(value):
        return {key: json_ready(item) for key, item in value.items()}
    if is_sequence(value):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
