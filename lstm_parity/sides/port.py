"""A stranger's port as a side of the comparison: a function of (params, inputs)."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import torch

from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.isolation import in_a_line, strangers_code
from lstm_parity.sides.port_returns import named, returning
from lstm_shared.errors import InputError
from lstm_shared.kinds import is_floating
from lstm_shared.layout_table import LAYOUTS
from lstm_shared.layouts import to_layout
from lstm_shared.names import place_name
from lstm_shared.specs import ByHandSpec, LSTMSpec, in_words
from lstm_shared.tensors import to_array, to_tensor

Framework = Literal["numpy", "jax", "torch"]
FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)

# What the arrays of a framework are called in a sentence.
ARRAYS = {"numpy": "NumPy arrays", "jax": "JAX arrays", "torch": "torch tensors"}


@dataclass(frozen=True)
class Port:
    """A port to judge.

    Attributes:
        function: ``function(params, inputs, **given)`` -> outputs, or (outputs, (h_n, c_n)). ``given`` holds ``state``
            if the function takes it, and ``lengths``, ``reset`` and ``batch_first`` where the check was given them. A
            cell returns (h, c). It gets copies of everything.
        layout: how params are handed over: "torch", the weight dictionary; else one of ``lstm_shared.LAYOUTS``, as
            {"l0": tree, "l0_reverse": tree, "l1": …}.
        framework: which arrays go in; None to find out from what comes back. From "numpy" outputs are compared; in
            "jax" and "torch" gradients of the inputs too, and of every weight when the layout is "torch".
        dtypes: the precisions it can compute in; None to find out.
    """

    function: Callable[..., Any]
    layout: str = "torch"
    framework: Framework | None = None
    dtypes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.layout not in ("torch", *LAYOUTS):
            problems.append(f"layout is {self.layout!r}, expected one of torch, {', '.join(LAYOUTS)}")
        if self.framework is not None and self.framework not in FRAMEWORKS:
            problems.append(f"framework is {self.framework!r}, expected one of {', '.join(FRAMEWORKS)}")
        if not callable(self.function):
            problems.append(f"the candidate is a {type(self.function).__name__}, expected a function (params, inputs)")
        InputError.raise_any(problems)

    def takes(self, name: str, *, optional: bool = False) -> bool:
        """Whether the function has an argument of this name; with ``optional``, one that may be left out."""
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # of C, without a signature
            return False
        if name not in parameters:
            return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        one = parameters[name]
        return one.kind is not one.POSITIONAL_ONLY and not (optional and one.default is one.empty)


def find_out(case: Case, port: Port) -> tuple[Port, list[str]]:
    """The port with its framework and dtypes filled in by calling it, and what that means for the check, in words.

    Args:
        case: what it will be called with, in any dtype.

    Raises:
        InputError: it fails on every kind of array.
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
                notes.append(f"the port computes in float32 only, so that is all it was judged in (float64: {said})")
            return trial, notes
    assert first_failure is not None
    raise first_failure


def _framework_of(returned: Mapping[str, Any], given: Framework) -> Framework:
    """Whose arrays came back."""
    first = next(iter(returned.values()))
    return "jax" if isinstance(first, jax.Array) else "torch" if isinstance(first, torch.Tensor) else given


def observe(case: Case, port: Port, notes: list[str] | None = None) -> tuple[Observation, Case]:
    """What the port computes, and the case with the loss over just the arrays that it returns.

    Args:
        notes: gets a sentence for what could not be looked at.

    Raises:
        InputError: the port raised an exception, or returned something that is not outputs.
    """
    if isinstance(case.spec, ByHandSpec):
        raise InputError("a port of the by-hand model is checked as an LSTM: by_hand_to_lstm makes its dictionary")
    if port.framework is None:
        port, _ = find_out(case, port)
    run = {"numpy": _observe_numpy, "jax": _observe_jax, "torch": _observe_torch}[port.framework or "numpy"]
    with strangers_code():
        return run(case, port, [] if notes is None else notes)


def outputs_of(case: Case, port: Port) -> np.ndarray:
    """The port's outputs alone, whatever their shape: for ``diagnose``.

    Raises:
        InputError: the port raised an exception.
    """
    if port.framework is None:
        port, _ = find_out(case, port)
    outputs = next(iter(_forward_once(case, port).values()))
    with strangers_code():  # a tensor without numbers, an array that was deleted
        return _to_numpy(outputs)


def _forward_once(case: Case, port: Port) -> dict[str, Any]:
    with strangers_code(), jax.enable_x64(case.inputs.dtype == np.float64):
        convert = {"numpy": np.array, "jax": jnp.asarray, "torch": _leaf}[port.framework or "numpy"]
        weights, state = ({name: convert(a) for name, a in group.items()} for group in (case.weights, case.state))
        return _call(case, port, weights, convert(case.inputs), state)


def _leaf(array: np.ndarray) -> torch.Tensor:
    """A tensor that gradients reach, and that may be changed in place."""
    return to_tensor(array).requires_grad_().clone()


def _observe_numpy(case: Case, port: Port, notes: list[str]) -> tuple[Observation, Case]:
    weights, state = ({name: np.array(a) for name, a in group.items()} for group in (case.weights, case.state))
    forward = _call(case, port, weights, np.array(case.inputs), state)
    arrays = {name: np.array(array) for name, array in forward.items()}  # a port may use its buffers again
    notes.append("gradients were not compared: NumPy arrays have none; a port in JAX or torch shows them")
    return {"forward": arrays}, returning(case, arrays)


def _observe_jax(case: Case, port: Port, notes: list[str]) -> tuple[Observation, Case]:
    with jax.enable_x64(case.inputs.dtype == np.float64):
        weights, inputs, state = jax.tree.map(jnp.asarray, (case.weights, case.inputs, case.state))
        forward = _call(case, port, weights, inputs, state)
        case = returning(case, forward)
        observation: Observation = {"forward": {name: np.array(array) for name, array in forward.items()}}
        if not _differentiable(observation["forward"]):
            return observation, case

        def loss(weights: Any, inputs: Any) -> Any:
            outputs = _call(case, port, weights, inputs, state)
            return sum(jnp.sum(outputs[name] * case.cotangents[name]) for name in case.cotangents)

        which = (0, 1) if port.layout == "torch" else (1,)
        try:
            value, gradients = jax.value_and_grad(loss, argnums=which)(weights, inputs)
        except Exception as error:
            notes.append(f"JAX cannot differentiate the port, so gradients were not compared ({in_a_line(error)})")
            return observation, case
        by_weight = gradients[0] if port.layout == "torch" else {}
        _note_layout(port, notes)
        observation["loss"] = {"loss": np.asarray(value)}
        observation["gradient"] = {n: np.asarray(g) for n, g in {**by_weight, "inputs": gradients[-1]}.items()}
        return observation, case


def _observe_torch(case: Case, port: Port, notes: list[str]) -> tuple[Observation, Case]:
    weights = {name: to_tensor(array).requires_grad_() for name, array in case.weights.items()}
    inputs = to_tensor(case.inputs).requires_grad_()
    state = {name: to_tensor(array) for name, array in case.state.items()}
    # Not the leaves themselves: a port may change what it is given in place.
    given = {name: leaf.clone() for name, leaf in weights.items()}
    forward = _call(case, port, given, inputs.clone(), state)
    case = returning(case, forward)
    observation: Observation = {"forward": {name: _to_numpy(array) for name, array in forward.items()}}
    if not _differentiable(observation["forward"]):
        return observation, case
    terms = [torch.sum(torch.as_tensor(forward[n]) * to_tensor(case.cotangents[n])) for n in case.cotangents]
    loss = torch.stack(terms).sum()
    if not loss.requires_grad:
        notes.append("the port detaches its outputs from its inputs, so gradients were not compared")
        return observation, case
    observation["loss"] = {"loss": to_array(loss)}
    loss.backward()
    leaves = {**(weights if port.layout == "torch" else {}), "inputs": inputs}
    # A weight without a gradient was copied out of the graph: that is not comparable, and not a wrong gradient.
    gradients = {name: to_array(leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None}
    _note_layout(port, notes)
    if missing := [name for name in leaves if name not in gradients]:
        some = f"{', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}"
        notes.append(f"the port copies weights out of torch's graph: gradients of {some} were not compared")
    observation["gradient"] = gradients
    return observation, case


def _note_layout(port: Port, notes: list[str]) -> None:
    if port.layout != "torch":
        notes.append(f"the port takes its weights in layout {port.layout}: of gradients only the inputs' compared")


def _differentiable(forward: Mapping[str, np.ndarray]) -> bool:
    return all(is_floating(array.dtype) for array in forward.values())


def _to_numpy(array: Any) -> np.ndarray:
    return to_array(array) if isinstance(array, torch.Tensor) else np.array(array)


def _call(case: Case, port: Port, weights: Mapping[str, Any], inputs: Any, state: Any) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if case.state and port.takes("state"):
        given["state"] = (state["h"], state["c"])
    copy = torch.tensor if port.framework == "torch" else np.array
    if case.lengths is not None:
        given["lengths"] = copy(case.lengths)
    if case.reset is not None:
        given["reset"] = copy(case.reset)
    if case.batch_first and isinstance(case.spec, LSTMSpec):
        given["batch_first"] = True
    return named(case, port.function(_in_layout(case, port.layout, weights), inputs, **given))


def _in_layout(case: Case, layout: str, weights: Mapping[str, Any]) -> Any:
    if layout == "torch":
        return dict(weights)
    if not isinstance(case.spec, LSTMSpec):
        raise InputError(f"layout {layout!r} is for LSTMs; these are the weights of {in_words(case.spec)}: use 'torch'")
    copies = {name: np.array(array) for name, array in case.weights.items()}
    return {
        place_name(layer, suffix): to_layout(copies, layout, layer=layer, reverse=bool(suffix))
        for layer, suffix in case.spec.places
    }
