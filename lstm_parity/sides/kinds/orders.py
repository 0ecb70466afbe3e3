"""Reorder the hidden units and input features of an LSTM: the same model, with sums added in a different order."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_parity.sides.call import Call
from lstm_parity.sides.kinds.records import Orders
from lstm_shared.names import weight_name
from lstm_shared.specs import LSTMSpec


class LayerOrders(NamedTuple):
    """The orders of the inputs and weights, and the orders of h and of c for each layer and direction."""

    orders: Orders
    of_h: list[np.ndarray]
    of_c: list[np.ndarray]


def orders_of_weights(
    layers: LSTMSpec, call: Call, rng: np.random.Generator, *, prefix: str = "", suffix: str = ""
) -> LayerOrders:
    """Draw an order for every layer and direction.

    Args:
        layers: the LSTM that the weights belong to.
        call: the call whose inputs and weights are reordered.
        rng: the random generator.
        prefix, suffix: what the weight names have in front of torch's names, and what they lack at the end.
    """
    features = rng.permutation(layers.input_size)
    orders: Orders = {"inputs": flat(call.inputs.shape, {call.inputs.ndim - 1: features})}
    of_h: list[np.ndarray] = []
    of_c: list[np.ndarray] = []
    for number in range(layers.num_layers):
        columns = features if number == 0 else outputs_order(layers, of_h)
        for direction in layers.directions:
            of_c.append(rng.permutation(layers.hidden_size))
            of_h.append(rng.permutation(layers.proj_size) if layers.proj_size else of_c[-1])
            hidden, state = of_c[-1], of_h[-1]
            gates = np.concatenate([gate * layers.hidden_size + hidden for gate in range(4)])
            indices = {
                "weight_ih": {0: gates, 1: columns},
                "weight_hh": {0: gates, 1: state},
                "bias_ih": {0: gates},
                "bias_hh": {0: gates},
                "weight_hr": {0: state, 1: hidden},
            }
            for part, axes in indices.items():
                name = f"{prefix}{weight_name(part, number, direction)}".removesuffix(suffix)
                if name in call.weights:
                    orders[name] = flat(call.weights[name].shape, axes)
    return LayerOrders(orders, of_h, of_c)


def outputs_order(layers: LSTMSpec, of_h: list[np.ndarray]) -> np.ndarray:
    """Return the order of the outputs of the last layer in ``of_h``, with its directions side by side."""
    last = of_h[-len(layers.directions) :]
    return np.concatenate([place * len(order) + order for place, order in enumerate(last)])


def orders_of_states(layers: LSTMSpec, call: Call, found: LayerOrders) -> Orders:
    """Return the orders of the outputs and of the initial and final states."""
    shape = (*call.inputs.shape[:-1], layers.output_size)
    orders = {"outputs": flat(shape, {call.inputs.ndim - 1: outputs_order(layers, found.of_h)})}
    batch = call.inputs.shape[0 if call.batch_first else 1] if call.inputs.ndim == 3 else 1
    for names, by_row, size in (("h h_n", found.of_h, layers.state_size), ("c c_n", found.of_c, layers.hidden_size)):
        rows = [row * batch * size + flat((batch, size), {1: order}) for row, order in enumerate(by_row)]
        shape = (len(rows), batch, size) if call.inputs.ndim == 3 else (len(rows), size)
        orders |= dict.fromkeys(names.split(), np.stack(rows).reshape(shape))
    return orders


def flat(shape: tuple[int, ...], orders: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return the flat indices that put the axes of an array into these orders."""
    places = np.arange(int(np.prod(shape))).reshape(shape)
    for axis, order in orders.items():
        places = np.take(places, order, axis=axis)
    return places
