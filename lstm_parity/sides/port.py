"""Run someone else's port, a function of (params, inputs), as one side of the comparison."""

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import torch

from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.isolation import strangers_code
from lstm_parity.sides.port_call import ARRAYS, FRAMEWORKS, Framework, Port, call_port
from lstm_parity.sides.port_sides import observe_jax, observe_numpy, observe_torch, to_numpy
from lstm_shared.errors import InputError
from lstm_shared.tensors import to_tensor

__all__ = ["ARRAYS", "FRAMEWORKS", "Framework", "Port", "find_out", "observe", "outputs_of"]


def find_out(case: Case, port: Port) -> tuple[Port, list[str]]:
    """Find out the framework and dtypes of a port by calling it.

    Args:
        case: what the port will be called with, in any dtype.
        port: the port, whose ``framework`` and ``dtypes`` may be None.

    Returns:
        The port with both filled in, and sentences on what that means for the check.

    Raises:
        InputError: if the port fails on every kind of array.
    """
    frameworks = FRAMEWORKS if port.framework is None else (port.framework,)
    first_failure: InputError | None = None
    failed_in: dict[str, InputError] = {}
    for dtype in port.dtypes or ("float64", "float32"):
        for framework in frameworks:
            trial = replace(port, framework=framework)
            try:
                returned = _forward_once(case.astype(dtype), trial)
            except InputError as error:
                first_failure = first_failure or error
                failed_in.setdefault(dtype, error)
                continue
            if port.framework is None:
                trial = replace(trial, framework=_framework_of(returned, framework))
            notes = []
            if dtype == "float32" and "float64" in failed_in:
                trial = replace(trial, dtypes=("float32",))
                said = str(failed_in["float64"]).removeprefix("the candidate failed: ")
                notes.append(
                    f"the port computes in float32 only, so it was judged in float32 only (in float64: {said})"
                )
            return trial, notes
    assert first_failure is not None
    raise first_failure


def _framework_of(returned: Mapping[str, object], given: Framework) -> Framework:
    """Return the framework of the arrays that came back."""
    first = next(iter(returned.values()))
    return "jax" if isinstance(first, jax.Array) else "torch" if isinstance(first, torch.Tensor) else given


def observe(case: Case, port: Port, notes: list[str] | None = None) -> tuple[Observation, Case]:
    """Return what the port computes, and the case with its loss restricted to the arrays that the port returns.

    Args:
        case: the case.
        port: the port.
        notes: a list to which a sentence is added for anything that could not be compared.

    Raises:
        InputError: if the port raises an exception, or returns something that is not outputs.
    """
    if case.kind.no_port:
        raise InputError(case.kind.no_port)
    if port.framework is None:
        port, _ = find_out(case, port)
    run = {"numpy": observe_numpy, "jax": observe_jax, "torch": observe_torch}[port.framework or "numpy"]
    with strangers_code():
        return run(case, port, [] if notes is None else notes)


def outputs_of(case: Case, port: Port) -> np.ndarray:
    """Return only the outputs of the port, whatever their shape. ``diagnose`` needs no more.

    Raises:
        InputError: if the port raises an exception.
    """
    if port.framework is None:
        port, _ = find_out(case, port)
    outputs = next(iter(_forward_once(case, port).values()))
    with strangers_code():  # may fail: a tensor without data, a deleted array
        return to_numpy(outputs)


def _forward_once(case: Case, port: Port) -> Mapping[str, object]:
    with strangers_code(), jax.enable_x64(case.inputs.dtype == np.float64):
        convert = {"numpy": np.array, "jax": jnp.asarray, "torch": _leaf}[port.framework or "numpy"]
        weights, state = ({name: convert(a) for name, a in group.items()} for group in (case.weights, case.state))
        return call_port(case, port, weights, convert(case.inputs), state)


def _leaf(array: np.ndarray) -> torch.Tensor:
    """Return a tensor that gradients flow through and that may be changed in place."""
    return to_tensor(array).requires_grad_().clone()
