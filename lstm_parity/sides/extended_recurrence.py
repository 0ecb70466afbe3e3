"""One layer of an LSTM in one direction, with backpropagation through time, in NumPy long double.

This is written out by hand from the equations. It shares no line with the code of either backend on purpose, because
both are judged by it. The forward pass follows the equations of the ``torch.nn.LSTM`` documentation:

    i, f, o = σ(W_i· x_t + b_i· + W_h· h_{t-1} + b_h·)    g = tanh(likewise)
    c_t = f c_{t-1} + i g        m_t = o tanh(c_t)        h_t = W_hr m_t with a projection, else m_t

The backward pass takes their derivatives by the chain rule (Hochreiter and Schmidhuber 1997 with the forget gate of
Gers, Schmidhuber and Cummins 2000; Graves 2012, *Supervised Sequence Labelling*, section 4.6, gives backpropagation
through time in full). Here δx is the derivative of the loss with respect to x:

    δm = W_hrᵀ δh    δo = δm tanh(c_t)    δc += δm o / cosh²(c_t)    δi = δc g    δf = δc c_{t-1}    δg = δc i
    δz = δi i(1-i), δf f(1-f), δg / cosh², δo o(1-o)    δx_t = W_ihᵀ δz    δh_{t-1} = W_hhᵀ δz    δc_{t-1} = δc f
    δW_ih = Σ δz x_tᵀ    δW_hh = Σ δz h_{t-1}ᵀ    δb_ih = δb_hh = Σ δz    δW_hr = Σ δh m_tᵀ
"""

import math
from dataclasses import dataclass

import numpy as np

# "weight_ih", "weight_hh", and "bias_ih", "bias_hh", "weight_hr" if the model has them -> array.
Parts = dict[str, np.ndarray]


@dataclass(frozen=True)
class Unrolled:
    """Everything that the forward pass computed, in the order of computation.

    Attributes:
        parts, inputs: the weights and inputs. The inputs are (time, batch, features), zero where ``valid`` is False.
        valid: (time, batch); where False, the step is not computed and the state stays.
        reset: (time, batch); where True, the step starts from a state of zeros.
        h, c: (time + 1, batch, size), the initial state first.
        gates: (4, time, batch, hidden), i, f, g and o.
        slopes: the derivatives of the gates with respect to their pre-activations, in the same shape.
        slope_c: (time, batch, hidden), the derivative of tanh(c).
        c_before, h_before: (time, batch, size), the state that each step started from.
    """

    parts: Parts
    inputs: np.ndarray
    valid: np.ndarray
    reset: np.ndarray
    h: np.ndarray
    c: np.ndarray
    gates: np.ndarray
    slopes: np.ndarray
    slope_c: np.ndarray
    h_before: np.ndarray
    c_before: np.ndarray


def unroll(
    parts: Parts, inputs: np.ndarray, h_0: np.ndarray, c_0: np.ndarray, valid: np.ndarray, reset: np.ndarray
) -> Unrolled:
    """Run the forward pass.

    The inputs are (time, batch, features), h_0 and c_0 are (batch, size), valid and reset are (time, batch).
    """
    time, batch, _ = inputs.shape
    hidden = c_0.shape[-1]
    inputs = np.where(valid[..., None], inputs, 0)  # the padding may hold anything, even NaN
    from_inputs = _by_row(inputs, parts["weight_ih"])
    if "bias_ih" in parts:
        from_inputs = from_inputs + (parts["bias_ih"] + parts["bias_hh"])
    run = Unrolled(
        parts,
        inputs,
        valid,
        reset,
        h=np.concatenate([h_0[None], np.zeros((time, *h_0.shape), h_0.dtype)]),
        c=np.concatenate([c_0[None], np.zeros((time, *c_0.shape), c_0.dtype)]),
        gates=np.zeros((4, time, batch, hidden), c_0.dtype),
        slopes=np.zeros((4, time, batch, hidden), c_0.dtype),
        slope_c=np.zeros((time, batch, hidden), c_0.dtype),
        h_before=np.zeros((time, *h_0.shape), h_0.dtype),
        c_before=np.zeros((time, *c_0.shape), c_0.dtype),
    )
    for t in range(time):
        begins_anew, here = run.reset[t][:, None], valid[t][:, None]
        h, c = np.where(begins_anew, 0, run.h[t]), np.where(begins_anew, 0, run.c[t])
        z = np.split(from_inputs[t] + _by_row(h, parts["weight_hh"]), 4, axis=-1)
        i, f, o = (_sigmoid(z[gate]) for gate in (0, 1, 3))
        g = np.tanh(z[2])
        cell = f * c + i * g
        m = o * np.tanh(cell)
        run.gates[:, t] = i, f, g, o
        run.slopes[:, t] = (*(_sigmoid_slope(z[gate]) for gate in (0, 1)), _tanh_slope(z[2]), _sigmoid_slope(z[3]))
        run.slope_c[t] = _tanh_slope(cell)
        run.h_before[t], run.c_before[t] = h, c
        run.h[t + 1] = np.where(here, _by_row(m, parts["weight_hr"]) if "weight_hr" in parts else m, run.h[t])
        run.c[t + 1] = np.where(here, cell, run.c[t])
    return run


def backpropagate(
    run: Unrolled, by_h: np.ndarray, by_c: np.ndarray
) -> tuple[Parts, np.ndarray, np.ndarray, np.ndarray]:
    """Run backpropagation through time.

    Args:
        run: what ``unroll`` computed.
        by_h, by_c: the direct derivatives of the loss with respect to ``run.h`` and ``run.c``, (time + 1, batch, size).
            They leave out the effect of each state on later ones.

    Returns:
        The derivatives of the loss with respect to the parts, the inputs (time, batch, features), h_0 and c_0.
    """
    parts, time = run.parts, len(run.inputs)
    i, f, g, o = run.gates
    m, tanh_c = o * np.tanh(run.c[1:]), np.tanh(run.c[1:])
    columns = {name: np.ascontiguousarray(parts[name].T) for name in ("weight_hh", "weight_hr") if name in parts}
    by_z = np.zeros((*run.inputs.shape[:2], len(parts["weight_ih"])), run.c.dtype)
    by_new = np.zeros_like(run.h_before)
    h, c = by_h[time], by_c[time]  # from here on, with the effect on later states
    for t in reversed(range(time)):
        begins_anew, here = run.reset[t][:, None], run.valid[t][:, None]
        by_new[t] = np.where(here, h, 0)
        by_m = _by_row(by_new[t], columns["weight_hr"]) if "weight_hr" in parts else by_new[t]
        by_cell = np.where(here, c, 0) + by_m * o[t] * run.slope_c[t]
        by_gates = by_cell * g[t], by_cell * run.c_before[t], by_cell * i[t], by_m * tanh_c[t]
        by_z[t] = np.concatenate([by * slope for by, slope in zip(by_gates, run.slopes[:, t], strict=True)], axis=-1)
        h_before, c_before = _by_row(by_z[t], columns["weight_hh"]), by_cell * f[t]
        h = by_h[t] + np.where(here, np.where(begins_anew, 0, h_before), h)
        c = by_c[t] + np.where(here, np.where(begins_anew, 0, c_before), c)
    gradient = {"weight_ih": _by_column(by_z, run.inputs), "weight_hh": _by_column(by_z, run.h_before)}
    if "bias_ih" in parts:
        gradient["bias_ih"] = by_z.sum((0, 1))
        gradient["bias_hh"] = gradient["bias_ih"].copy()
    if "weight_hr" in parts:
        gradient["weight_hr"] = _by_column(by_new, m)
    return gradient, _by_row(by_z, parts["weight_ih"].T), h, c


def _by_row(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return x (…, columns) times the transpose of weight (rows, columns): (…, rows).

    BLAS has no long double, so NumPy loops. A product takes 4 ns if both arrays are contiguous along the sum, and twice
    as long if they are not.
    """
    return (np.ascontiguousarray(_flat(x)) @ np.ascontiguousarray(weight).T).reshape(*x.shape[:-1], len(weight))


def _by_column(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Σ x yᵀ over the leading axes: (…, rows) and (…, columns) -> (rows, columns)."""
    return _by_row(_flat(x).T, _flat(y).T)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # NumPy cannot infer -1 if there are no rows


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _sigmoid_slope(x: np.ndarray) -> np.ndarray:
    """Return σ(x) σ(-x). With 1 - σ(x) instead, digits would be lost when the gate is open."""
    return _sigmoid(x) * _sigmoid(-x)


def _tanh_slope(x: np.ndarray) -> np.ndarray:
    """Return 1 / cosh²(x) as 4 σ(2x) σ(-2x), which cannot overflow and keeps the digits that 1 - tanh²(x) loses."""
    return 4 * _sigmoid_slope(2 * x)
