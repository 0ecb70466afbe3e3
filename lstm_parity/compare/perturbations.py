"""The same case, moved by a rounding error: its numbers by one ulp, or its sums in another order.

A model's exact result for numbers that are off by a rounding error is as good an answer as the result for the numbers
themselves. What an implementation makes of these cases therefore shows how far a right answer may lie from its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np

from lstm_parity.sides.case import Case, Observation

# What a gradient is called after the array that it belongs to.
_STATE_OF_GRADIENT = {"h_0": "h", "c_0": "c"}


def one_ulp_away(case: Case, seed: int) -> Case:
    """The case with every weight, input and state moved to its neighbour above or below, by the toss of a coin."""
    rng = np.random.default_rng(seed)

    def moved(array: np.ndarray) -> np.ndarray:
        towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
        return np.nextafter(array, towards)

    def all_moved(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: moved(array) for name, array in arrays.items()}

    return replace(case, weights=all_moved(case.weights), inputs=moved(case.inputs), state=all_moved(case.state))


def reordered(case: Case, seed: int) -> tuple[Case, Callable[[Observation], Observation]] | None:
    """The case with its hidden units and input features in another order, and what puts a result back into this one.

    The same model: only the order in which its sums are added is another. None by hand, where there is one unit.
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
    """With the steps of an optimizer as leading axes, or not."""
    if order is None:  # the loss
        return array
    flat = array.reshape(-1, order.size)
    result = np.empty_like(flat)
    result[:, order.reshape(-1)] = flat
    return result.reshape(array.shape)
