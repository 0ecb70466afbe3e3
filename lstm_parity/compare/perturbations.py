"""Perturb a case by a rounding error: move its numbers by one ulp, or add up its sums in a different order.

The exact result for numbers that are off by a rounding error is as good an answer as the exact result for the numbers
themselves. So the results of an implementation for perturbed cases show how far a right answer may be from its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np

from lstm_parity.sides.case import Case, Observation

# The gradient of an initial state -> the name of that state in the case.
_STATE_OF_GRADIENT = {"h_0": "h", "c_0": "c"}


def one_ulp_away(case: Case, seed: int) -> Case:
    """Return the case with every weight, input and state moved to the next number above or below, at random."""
    rng = np.random.default_rng(seed)

    def moved(array: np.ndarray) -> np.ndarray:
        towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
        return np.nextafter(array, towards)

    def all_moved(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: moved(array) for name, array in arrays.items()}

    return replace(case, weights=all_moved(case.weights), inputs=moved(case.inputs), state=all_moved(case.state))


def reordered(case: Case, seed: int) -> tuple[Case, Callable[[Observation], Observation]] | None:
    """Return the case with its hidden units and input features reordered, and a function that undoes it in a result.

    The model is the same: only the order in which its sums are added up changes. Returns None for the by-hand model,
    which has a single unit.
    """
    orders = case.kind.orders(case, np.random.default_rng(seed))
    if orders is None:
        return None

    def sort(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array.reshape(-1)[orders[name]] for name, array in arrays.items()}

    def back(observed: Observation) -> Observation:
        return {
            stage: {
                name: _back(array, orders.get(_STATE_OF_GRADIENT.get(name, name))) for name, array in arrays.items()
            }
            for stage, arrays in observed.items()
        }

    other = replace(
        case,
        weights=sort(case.weights),
        inputs=sort({"inputs": case.inputs})["inputs"],
        state=sort(case.state),
        cotangents=sort(case.cotangents),
    )
    return other, back


def _back(array: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Undo ``order`` in an array, which may have an extra leading axis of optimizer steps."""
    if order is None:  # the loss
        return array
    flat = array.reshape(-1, order.size)
    result = np.empty_like(flat)
    result[:, order.reshape(-1)] = flat
    return result.reshape(array.shape)
