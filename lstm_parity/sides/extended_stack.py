"""Stack an LSTM's layers and directions on ``extended_recurrence``, forward and backward, in NumPy long double."""

import numpy as np

from lstm_parity.sides.call import Arrays
from lstm_parity.sides.extended_recurrence import Unrolled, backpropagate, unroll
from lstm_parity.sides.kinds.records import Backward
from lstm_shared.names import place_name, weight_name
from lstm_shared.specs import LSTMSpec


def run_stack(
    spec: LSTMSpec,
    weights: Arrays,
    features: np.ndarray,
    state: Arrays,
    lengths: np.ndarray | None = None,
    reset: np.ndarray | None = None,
) -> tuple[Arrays, Backward]:
    """Run all layers and directions. Return the forward arrays, and the function that computes the gradients.

    ``features`` is (time, batch, input_size), each state is (layers·directions, batch, size). The forward arrays are
    outputs (time, batch, output_size), which are zero past each length, h_n and c_n.
    """
    time, batch, _ = features.shape
    wide = features.dtype
    valid = np.ones((time, batch), bool) if lengths is None else np.arange(time)[:, None] < np.reshape(lengths, (1, -1))
    reset = np.zeros((time, batch), bool) if reset is None else reset
    sizes = {"h": spec.state_size, "c": spec.hidden_size}
    state = state or {name: np.zeros((len(spec.places), batch, size), wide) for name, size in sizes.items()}
    turns = {"": slice(None), "_reverse": slice(None, None, -1)}  # the order in which a direction reads the steps
    runs: list[Unrolled] = []
    for row, (layer, suffix) in enumerate(spec.places):
        turn = turns[suffix]
        parts = _parts(weights, f"_{place_name(layer, suffix)}")
        runs.append(unroll(parts, features[turn], state["h"][row], state["c"][row], valid[turn], reset[turn]))
        if suffix == spec.directions[-1]:
            pairs = zip(runs[-len(spec.directions) :], spec.directions, strict=True)
            outputs = np.concatenate([run.h[1:][turns[name]] for run, name in pairs], axis=-1)
            features = np.where(valid[..., None], outputs, 0)

    def backward(by: Arrays) -> Arrays:
        gradient: Arrays = {name: np.zeros_like(array) for name, array in state.items()}
        by_outputs = by["outputs"]
        for layer in reversed(range(spec.num_layers)):
            # The outputs are zero in the padding, whatever the state is: no gradient passes there.
            shares = np.split(np.where(valid[..., None], by_outputs, 0), len(spec.directions), axis=-1)
            by_outputs = np.zeros((), wide)
            for direction, (suffix, share) in enumerate(zip(spec.directions, shares, strict=True)):
                row = layer * len(spec.directions) + direction
                by_h, by_c = np.zeros_like(runs[row].h), np.zeros_like(runs[row].c)
                by_h[1:] = share[turns[suffix]]
                by_h[-1] += by["h_n"][row]
                by_c[-1] += by["c_n"][row]
                of_parts, by_inputs, gradient["h"][row], gradient["c"][row] = backpropagate(runs[row], by_h, by_c)
                by_outputs = by_outputs + by_inputs[turns[suffix]]
                gradient |= {weight_name(part, layer, suffix): array for part, array in of_parts.items()}
        return gradient | {"inputs": by_outputs}

    last = {"h_n": np.stack([run.h[-1] for run in runs]), "c_n": np.stack([run.c[-1] for run in runs])}
    return {"outputs": features, **last}, backward


def _parts(weights: Arrays, ending: str) -> Arrays:
    return {name.removesuffix(ending): array for name, array in weights.items() if name.endswith(ending)}
