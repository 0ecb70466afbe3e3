"""The same case, moved by a rounding error: its numbers by one ulp, or its sums in another order.

A model's exact result for numbers that are off by a rounding error is as good an answer as the result for the numbers
themselves. What an implementation makes of these cases therefore shows how far a right answer may lie from its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np

from lstm_parity.sides.case import Case, Observation
from lstm_shared.names import place_name
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec

# name of an array -> for each of its places, which one its number comes from, as a flat index
Orders = dict[str, np.ndarray]

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
    if isinstance(case.spec, ByHandSpec):
        return None
    orders = _orders(case, np.random.default_rng(seed))

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


def _orders(case: Case, rng: np.random.Generator) -> Orders:
    spec = case.spec
    if isinstance(spec, CellSpec):
        layer = LSTMSpec(spec.input_size, spec.hidden_size, bias=spec.bias)
        suffix, prefix = "_l0", ""
    else:
        assert isinstance(spec, LSTMSpec | ForecasterSpec)
        layer, suffix, prefix = (spec.lstm, "", "lstm.") if isinstance(spec, ForecasterSpec) else (spec, "", "")
    features = rng.permutation(layer.input_size)
    orders: Orders = {"inputs": _flat(case.inputs.shape, {case.inputs.ndim - 1: features})}
    of_h, of_c = [], []
    for place, columns in _places(layer, features, of_h, of_c, rng):
        hidden, state = of_c[-1], of_h[-1]
        gates = np.concatenate([gate * layer.hidden_size + hidden for gate in range(4)])
        indices = {
            "weight_ih": {0: gates, 1: columns},
            "weight_hh": {0: gates, 1: state},
            "bias_ih": {0: gates},
            "bias_hh": {0: gates},
            "weight_hr": {0: state, 1: hidden},
        }
        for part, axes in indices.items():
            name = f"{prefix}{part}_{place}".removesuffix(suffix)
            if name in case.weights:
                orders[name] = _flat(case.weights[name].shape, axes)
    outputs = _joined(of_h[-len(layer.directions) :])
    if isinstance(spec, ForecasterSpec):
        orders["fc.weight"] = _flat(case.weights["fc.weight"].shape, {1: outputs})
        orders["fc.bias"] = np.arange(spec.output_size)
        orders["predictions"] = _flat(case.cotangents["predictions"].shape, {})
    if isinstance(spec, CellSpec):
        shape = (*case.inputs.shape[:-1], spec.hidden_size)
        return orders | dict.fromkeys("hc", _flat(shape, {len(shape) - 1: of_c[0]}))
    orders["outputs"] = _flat((*case.inputs.shape[:-1], layer.output_size), {case.inputs.ndim - 1: outputs})
    batch = case.inputs.shape[0 if case.batch_first else 1] if case.inputs.ndim == 3 else 1
    for names, by_row, size in (("h h_n", of_h, layer.state_size), ("c c_n", of_c, layer.hidden_size)):
        rows = [row * batch * size + _flat((batch, size), {1: order}) for row, order in enumerate(by_row)]
        shape = (len(rows), batch, size) if case.inputs.ndim == 3 else (len(rows), size)
        orders |= dict.fromkeys(names.split(), np.stack(rows).reshape(shape))
    return orders


def _places(
    spec: LSTMSpec, features: np.ndarray, of_h: list[np.ndarray], of_c: list[np.ndarray], rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Each layer and direction with the order of the features that it reads; its own go into ``of_h`` and ``of_c``."""
    for number in range(spec.num_layers):
        columns = features if number == 0 else _joined(of_h[-len(spec.directions) :])
        for suffix in spec.directions:
            of_c.append(rng.permutation(spec.hidden_size))
            of_h.append(rng.permutation(spec.proj_size) if spec.proj_size else of_c[-1])
            yield place_name(number, suffix), columns


def _joined(orders: list[np.ndarray]) -> np.ndarray:
    """The order of features that lie side by side."""
    return np.concatenate([place * len(order) + order for place, order in enumerate(orders)])


def _flat(shape: tuple[int, ...], orders: Mapping[int, np.ndarray]) -> np.ndarray:
    """Flat indices of an array whose axes are put into these orders."""
    places = np.arange(int(np.prod(shape))).reshape(shape)
    for axis, order in orders.items():
        places = np.take(places, order, axis=axis)
    return places
