"""Run one layer of a simulated port in one direction, step by step, with the equations that ports get wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from lstm_shared.names import WITH_GATES

Rounding = Callable[[np.ndarray], np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * x) + 0.5  # this form cannot overflow


SIGMOIDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": _sigmoid,
    "hard-sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),  # torch.nn.Hardsigmoid, keras 3, jax.nn.hard_sigmoid
    "hard-sigmoid:0.2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),  # Keras 1 and 2, ONNX's default
}


def _to_tf32(x: np.ndarray) -> np.ndarray:
    """Round to TF32: ten bits of mantissa in float32's range, to nearest even."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return bits.view(np.float32).astype(np.float64)


def _through(dtype: DTypeLike) -> Rounding:
    return lambda x: x.astype(dtype).astype(np.float64)


# How each arithmetic rounds: the operands of the products, and everything else.
PRECISIONS: dict[str, tuple[Rounding, Rounding]] = {
    "float32": (_through(np.float32), _through(np.float32)),
    "tf32": (_to_tf32, _through(np.float32)),
    "float16": (_through(np.float16), _through(np.float16)),
    "bfloat16": (_through(ml_dtypes.bfloat16), _through(ml_dtypes.bfloat16)),
}


@dataclass(frozen=True)
class Equations:
    """How the equations of a step differ from those of an LSTM.

    Attributes:
        open: the gates that let everything through: "input", "forget" or "output".
        linear: what has no tanh: "candidate" or "cell".
        coupled: whether the input gate is 1 - f, where f is the forget gate.
        not_carried: the states that start every step from their initial values: "h" or "c".
    """

    open: frozenset[str] = frozenset()
    linear: frozenset[str] = frozenset()
    coupled: bool = False
    not_carried: frozenset[str] = frozenset()


EQUATIONS: dict[str, Equations] = {
    "lstm": Equations(),
    **{f"missing-gate:{gate}": Equations(open=frozenset({gate})) for gate in ("input", "forget", "output")},
    **{f"missing-tanh:{part}": Equations(linear=frozenset({part})) for part in ("candidate", "cell")},
    "coupled-gates": Equations(coupled=True),
    "state-not-carried": Equations(not_carried=frozenset("hc")),
    "state-not-carried:h": Equations(not_carried=frozenset("h")),
    "state-not-carried:c": Equations(not_carried=frozenset("c")),
}


def run_layer(
    weights: dict[str, np.ndarray],
    features: np.ndarray,
    h_0: np.ndarray,
    c_0: np.ndarray,
    valid: np.ndarray | None,
    *,
    backwards: bool,
    sigmoid: str,
    equations: str,
    returned: str,
    precision: str | None,
) -> np.ndarray:
    """Run one layer in one direction, and return h (or c) of every step, (ports, time, batch, state).

    Args:
        weights: part -> array. Like all arrays but ``valid``, each has a leading axis for the ports, of length 1 if the
            ports share the array.
        features: (ports, time, batch, size).
        h_0, c_0: (ports, batch, size).
        valid: (time, batch, 1); None without lengths.
        backwards: whether to run from the last step to the first.
        sigmoid: a name in ``SIGMOIDS``.
        equations: a name in ``EQUATIONS``.
        returned: "h" or "c".
        precision: a name in ``PRECISIONS``; None for float64.
    """
    operand, rounded = PRECISIONS[precision] if precision else (_as_it_is, _as_it_is)
    gate, changed = SIGMOIDS[sigmoid], EQUATIONS[equations]
    _, time, batch, size = features.shape
    hidden_size = c_0.shape[-1]
    to_gates, to_next = (operand(weights[part]).swapaxes(1, 2) for part in WITH_GATES[:2])
    flat = operand(features).reshape(len(features), time * batch, size)
    bias = rounded(weights["bias_ih"] + weights["bias_hh"])[:, None]
    from_inputs = rounded(_product(flat, to_gates) + bias)
    from_inputs = from_inputs.reshape(len(from_inputs), time, batch, 4 * hidden_size)
    projection = operand(weights["weight_hr"]).swapaxes(1, 2) if "weight_hr" in weights else None
    h, c = h_0, c_0 = rounded(h_0), rounded(c_0)
    wide = max(len(array) for array in (from_inputs, to_next, h, c, *([] if projection is None else [projection])))
    kept = np.zeros((wide, time, batch, (h if returned == "h" else c).shape[-1]))
    for t in reversed(range(time)) if backwards else range(time):
        h_before = h_0 if "h" in changed.not_carried else h
        c_before = c_0 if "c" in changed.not_carried else c
        gates = from_inputs[:, t]
        if h_before.any():
            gates = rounded(gates + _product(operand(h_before), to_next))
        i, f, g, o = (gates[..., k * hidden_size : (k + 1) * hidden_size] for k in range(4))
        i, f, o = (
            np.ones_like(x) if name in changed.open else rounded(gate(x))
            for name, x in (("input", i), ("forget", f), ("output", o))
        )
        if changed.coupled:
            i = rounded(1 - f)
        g = g if "candidate" in changed.linear else rounded(np.tanh(g))
        cell = rounded(f * c_before + i * g)
        new = rounded(o * (cell if "cell" in changed.linear else np.tanh(cell)))
        if projection is not None:
            new = rounded(operand(new) @ projection)
        if valid is None:
            h, c = new, cell
        else:
            h, c = np.where(valid[t], new, h), np.where(valid[t], cell, c)
        kept[:, t] = h if returned == "h" else c
    return kept


def _product(x: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Return ``x @ matrices``, computed as one product if all ports share one matrix."""
    if len(matrices) > 1 or len(x) == 1:
        return x @ matrices
    return (x.reshape(-1, x.shape[-1]) @ matrices[0]).reshape(*x.shape[:-1], matrices.shape[-1])


def _as_it_is(x: np.ndarray) -> np.ndarray:
    return x
