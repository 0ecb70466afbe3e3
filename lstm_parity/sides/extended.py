"""The exact result of a case: forward, loss and gradients in NumPy long double, far below the rounding of float64.

Where two float64 implementations part by more than the rounding of a well-conditioned model, this says which of them
is nearer to the truth. Long double has 64 bits of mantissa on x86 (eps 1.1e-19, 2,048 times below float64's) and 113 on
64-bit ARM under Linux. NumPy's exp and tanh are the C library's ``expl`` and ``tanhl``: measured, at most 1.2 eps from
the truth.

How long it takes: BLAS has no long double, so a product and sum costs 4 ns on x86. 3 layers of hidden size 256 over 160
steps and 4 rows take 10 s on one core of an AMD EPYC; the time grows with layers · hidden² · steps · rows.
The loop goes over the steps only; the inputs' products and the weights' gradients are one product each.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.extended_recurrence import Parts, Unrolled, backpropagate, unroll
from lstm_shared.errors import InputError
from lstm_shared.names import BY_HAND_GATES, place_name, weight_name
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec

Arrays = dict[str, np.ndarray]
# By the derivatives of the loss by the forward arrays, those by the weights and by "inputs", "h" and "c".
Backward = Callable[[Arrays], Arrays]

EXTENDED: Any = np.longdouble

# torch's weights of the by-hand model as an LSTM of one unit: i, f, g, o are the articles' pr, lr, p, o.
_BY_HAND_PARTS = {
    part: tuple(form.format(gate) for gate in BY_HAND_GATES)
    for part, form in (("weight_ih", "w{}2"), ("weight_hh", "w{}1"), ("bias_ih", "b{}1"))
}


def observe(case: Case) -> Observation:
    """What the case's model computes exactly, in the form of ``observe_torch.observe``; every array is long double.

    Stages "forward", "loss" and "gradient"; no Adam steps. The weights, inputs and states are taken as the case has
    them: for the truth of what float32 was given, pass the case rounded to float32.

    Raises:
        InputError: long double is no wider than float64 on this machine.
    """
    require_extended()
    weights = {name: _extended(array) for name, array in case.weights.items()}
    state = {name: _extended(array) for name, array in case.state.items()}
    run = {ByHandSpec: _by_hand, LSTMSpec: _lstm, CellSpec: _cell, ForecasterSpec: _forecaster}[type(case.spec)]
    # A closed gate is exp(-z) = infinity and 1 / infinity = 0, which is right.
    with np.errstate(over="ignore", under="ignore"):
        forward, backward = run(case, weights, _extended(case.inputs), state)
        cotangents = {name: _extended(array) for name, array in case.cotangents.items()}
        loss = sum((np.sum(forward[name] * cotangents[name]) for name in cotangents), start=EXTENDED(0))
        missing = {name: np.zeros_like(array) for name, array in forward.items() if name not in cotangents}
        gradient = backward(cotangents | missing)
    named = {name: gradient[name] for name in case.spec.shapes} | {"inputs": gradient["inputs"]}
    named |= {f"{name}_0": gradient[name] for name in case.state}
    return {"forward": forward, "loss": {"loss": np.asarray(loss)}, "gradient": named}


def require_extended() -> None:
    """Refuse where long double is no wider than float64.

    Raises:
        InputError: it is not.
    """
    if not np.finfo(EXTENDED).eps < np.finfo(np.float64).eps:
        raise InputError(
            "NumPy's long double is no wider than float64 on this machine, so there is no extended-precision truth: "
            "use x86, or 64-bit ARM under Linux"
        )


def _extended(array: np.ndarray) -> np.ndarray:
    wide = np.asarray(array)
    return wide.astype(np.float64 if wide.dtype.itemsize < 8 else wide.dtype).astype(EXTENDED)


def _lstm(case: Case, weights: Arrays, inputs: np.ndarray, state: Arrays) -> tuple[Arrays, Backward]:
    assert isinstance(case.spec, LSTMSpec)
    batched, lengths = inputs.ndim == 3, case.lengths

    def time_first(array: np.ndarray) -> np.ndarray:
        """The caller's axes -> (time, batch, …)."""
        return array[:, None] if not batched else array.swapaxes(0, 1) if case.batch_first else array

    def as_given(array: np.ndarray) -> np.ndarray:
        return array[:, 0] if not batched else array.swapaxes(0, 1) if case.batch_first else array

    features = time_first(inputs)
    reset = None if case.reset is None else time_first(case.reset)
    rows = {name: array if batched else array[:, None] for name, array in state.items()}
    forward, stacked = _stack(case.spec, weights, features, rows, lengths, reset)
    forward = {"outputs": as_given(forward["outputs"]), **{n: _unbatched(forward[n], batched) for n in ("h_n", "c_n")}}

    def backward(by: Arrays) -> Arrays:
        by_states = {name: by[name] if batched else by[name][:, None] for name in ("h_n", "c_n")}
        gradient = stacked({"outputs": time_first(by["outputs"]), **by_states})
        states = {name: _unbatched(gradient[name], batched) for name in "hc"}
        return gradient | states | {"inputs": as_given(gradient["inputs"])}

    return forward, backward


def _unbatched(state: np.ndarray, batched: bool) -> np.ndarray:
    return state if batched else state[:, 0]


def _forecaster(case: Case, weights: Arrays, inputs: np.ndarray, state: Arrays) -> tuple[Arrays, Backward]:
    assert isinstance(case.spec, ForecasterSpec)
    lstm = {name.removeprefix("lstm."): array for name, array in weights.items() if name.startswith("lstm.")}
    forward, stacked = _stack(case.spec.lstm, lstm, inputs.swapaxes(0, 1), state, None, None)
    last = forward["outputs"][-1]

    def backward(by: Arrays) -> Arrays:
        by = {name: np.zeros_like(array) for name, array in forward.items()} | by
        by["outputs"][-1] = by["predictions"] @ weights["fc.weight"]
        gradient = stacked(by)
        return {
            **{f"lstm.{name}": array for name, array in gradient.items()},
            "fc.weight": by["predictions"].T @ last,
            "fc.bias": by["predictions"].sum(0),
            "inputs": gradient["inputs"].swapaxes(0, 1),
            **{name: gradient[name] for name in "hc"},
        }

    return {"predictions": last @ weights["fc.weight"].T + weights["fc.bias"]}, backward


def _stack(
    spec: LSTMSpec,
    weights: Arrays,
    features: np.ndarray,
    state: Arrays,
    lengths: np.ndarray | None,
    reset: np.ndarray | None,
) -> tuple[Arrays, Backward]:
    """Layers and directions: features (time, batch, input_size), states (layers·directions, batch, size).

    The forward arrays are outputs (time, batch, output_size), zero past each length, h_n and c_n.
    """
    time, batch, _ = features.shape
    valid = np.ones((time, batch), bool) if lengths is None else np.arange(time)[:, None] < np.reshape(lengths, (1, -1))
    reset = np.zeros((time, batch), bool) if reset is None else reset
    sizes = {"h": spec.state_size, "c": spec.hidden_size}
    state = state or {name: np.zeros((len(spec.places), batch, size), EXTENDED) for name, size in sizes.items()}
    turns = {"": slice(None), "_reverse": slice(None, None, -1)}  # how a direction reads the steps
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
            # What the padding of the outputs holds is zero whatever the state is.
            shares = np.split(np.where(valid[..., None], by_outputs, 0), len(spec.directions), axis=-1)
            by_outputs = np.zeros((), EXTENDED)
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


def _parts(weights: Arrays, ending: str) -> Parts:
    return {name.removesuffix(ending): array for name, array in weights.items() if name.endswith(ending)}


def _cell(case: Case, weights: Arrays, inputs: np.ndarray, state: Arrays) -> tuple[Arrays, Backward]:
    """A sequence of one step, of one row where there is no batch."""
    assert isinstance(case.spec, CellSpec)
    size = case.spec.hidden_size
    features = inputs.reshape(1, -1, inputs.shape[-1])
    h, c = (state[name].reshape(-1, size) if state else np.zeros((features.shape[1], size), EXTENDED) for name in "hc")
    always = np.ones(features.shape[:2], bool)
    run = unroll(weights, features, h, c, always, ~always)
    shape = (*inputs.shape[:-1], size)

    def backward(by: Arrays) -> Arrays:
        by_h, by_c = (np.stack([np.zeros_like(h), by[name].reshape(h.shape)]) for name in "hc")
        gradient, by_inputs, by_h_0, by_c_0 = backpropagate(run, by_h, by_c)
        states = {"h": by_h_0.reshape(shape), "c": by_c_0.reshape(shape)}
        return gradient | states | {"inputs": by_inputs.reshape(inputs.shape)}

    return {"h": run.h[1].reshape(shape), "c": run.c[1].reshape(shape)}, backward


def _by_hand(case: Case, weights: Arrays, inputs: np.ndarray, state: Arrays) -> tuple[Arrays, Backward]:
    """An LSTM of one unit whose rows are the series; the second bias is zero."""
    parts = {part: np.array([weights[name] for name in names]) for part, names in _BY_HAND_PARTS.items()}
    parts |= {part: parts[part][:, None] for part in ("weight_ih", "weight_hh")}
    parts["bias_hh"] = np.zeros_like(parts["bias_ih"])
    series, days = inputs.shape[:-1], inputs.shape[-1]
    rows = math.prod(series)
    features = inputs.reshape(rows, days).T[..., None]
    begin = {name: np.zeros((rows, 1), EXTENDED) for name in ("short_memory", "long_memory")}
    begin |= {name: array.reshape(rows, 1) for name, array in state.items()}
    always = np.ones((days, rows), bool)
    run = unroll(parts, features, begin["short_memory"], begin["long_memory"], always, ~always)

    def by_day(array: np.ndarray) -> np.ndarray:
        """(days, rows, 1) -> (*series, days)"""
        return array[..., 0].T.reshape(*series, days)

    def backward(by: Arrays) -> Arrays:
        by_h, by_c = np.zeros_like(run.h), np.zeros_like(run.c)
        by_h[1:], by_c[1:] = (by[n].reshape(rows, days).T[..., None] for n in ("short_memory", "long_memory"))
        of_parts, by_inputs, by_short, by_long = backpropagate(run, by_h, by_c)
        gradient = {
            name: np.asarray(of_parts[part].ravel()[gate])
            for part, names in _BY_HAND_PARTS.items()
            for gate, name in enumerate(names)
        }
        memories = {"short_memory": by_short.reshape(series), "long_memory": by_long.reshape(series)}
        return gradient | memories | {"inputs": by_day(by_inputs)}

    return {"long_memory": by_day(run.c[1:]), "short_memory": by_day(run.h[1:])}, backward
