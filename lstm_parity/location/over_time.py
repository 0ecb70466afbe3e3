"""Measure how far apart two implementations are at each step, gate by gate if both show their gates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_parity.annotations import Weights
from lstm_parity.compare.tolerance import eps, factor, group_scale
from lstm_parity.sides import torch_backend
from lstm_parity.sides.case import Case, make_case
from lstm_parity.sides.gate_traces import trace_both
from lstm_parity.sides.port import Port, observe

_DTYPE = "float32"  # precision in which there is something to see: in float64 most differences are zero


def errors_over_time(
    weights: Weights, port: Port | None, options: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], float, str]:
    """Return the largest difference at each step in float32, the tolerance, and the sides and precision in words.

    The differences are name -> (time,).

    Args:
        weights: the weights of any model but a cell, which has no time axis.
        port: the port whose outputs are compared; None to compare our JAX backend, gate by gate.
        options: the options of ``check``; its inputs, states, lengths and resets are used.
    """
    known = ("inputs", "state", "batch_first", "lengths", "reset", "seed")
    given = {name: options[name] for name in known if name in options}
    case = make_case(weights, **given, steps=0, draw_state=True).astype(_DTYPE)
    if port is not None:
        case = case if port.takes("state") else case.without_state()
        ours, case = observe(case, port)
        fields = {"outputs": (ours["forward"], torch_backend.observe(case)["forward"])}
        fields = {name: (mine[key], theirs[key]) for name, (mine, theirs) in fields.items() for key in list(mine)[:1]}
        leading, by_step = 0, case.kind.says_each_step
    else:
        pairs = zip(*(trace._asdict().items() for trace in trace_both(case)), strict=True)
        fields = {name: (ours, theirs) for (name, ours), (_, theirs) in pairs if ours is not None}
        leading, by_step = case.kind.trace_axes, True
    tolerance = (
        factor(case.spec, case.time) * eps(_DTYPE) * group_scale({n: theirs for n, (_, theirs) in fields.items()})
    )
    errors = {name: _by_step(case, np.abs(a - b), leading, by_step=by_step) for name, (a, b) in fields.items()}
    return errors, tolerance, f"{'jax' if port is None else 'candidate'} against torch, {_DTYPE}"


def _by_step(case: Case, errors: np.ndarray, leading: int, *, by_step: bool) -> np.ndarray:
    """Return the largest error at each step.

    Args:
        case: the case that the errors are of.
        errors: the absolute differences of one array.
        leading: how many axes the array has before those of the inputs.
        by_step: False if there is no time axis, but one prediction for each sequence.
    """
    axis = leading + case.time_axis if by_step else 0
    return errors.max(axis=tuple(other for other in range(errors.ndim) if other != axis), initial=0.0)
