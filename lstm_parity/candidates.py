"""A stranger's port as a side of the comparison: a function of (params, inputs), or an ONNX model."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import torch

from lstm_parity.cases import Case, Observation
from lstm_parity.devices import full_precision
from lstm_shared.errors import InputError
from lstm_shared.layout_table import LAYOUTS
from lstm_shared.layouts import to_layout
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec, in_words
from lstm_shared.tensors import to_array, to_tensor

Framework = Literal["numpy", "jax", "torch"]
FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)


@dataclass(frozen=True)
class Candidate:
    """A port to judge.

    Attributes:
        function: ``function(params, inputs, **given)`` -> outputs, or (outputs, (h_n, c_n)). ``given`` holds ``state``,
            ``lengths``, ``reset`` and ``batch_first`` where the check was given them. A cell returns (h, c).
        layout: how params are handed over: "torch", the weight dictionary; else one of ``lstm_shared.LAYOUTS``, as
            {"l0": tree, "l0_reverse": tree, "l1": …}.
        framework: which arrays go in. From "numpy" outputs are compared; in "jax" and "torch" gradients of the inputs
            too, and of every weight when the layout is "torch".
        dtypes: the precisions it can compute in; None for any.
    """

    function: Callable[..., Any]
    layout: str = "torch"
    framework: Framework = "numpy"
    dtypes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.layout not in ("torch", *LAYOUTS):
            problems.append(f"layout is {self.layout!r}, expected one of torch, {', '.join(LAYOUTS)}")
        if self.framework not in FRAMEWORKS:
            problems.append(f"framework is {self.framework!r}, expected one of {', '.join(FRAMEWORKS)}")
        if not callable(self.function):
            problems.append(f"the candidate is a {type(self.function).__name__}, expected a function (params, inputs)")
        InputError.raise_any(problems)


def load_candidate(source: str, *, layout: str = "torch", framework: str = "numpy") -> Candidate:
    """The candidate that a command line names: ``module:function``, ``path/to/file.py:function`` or ``model.onnx``.

    Raises:
        InputError: there is no such module, function or model.
    """
    if source.endswith(".onnx"):
        return Candidate(_onnx(Path(source)), dtypes=("float32",))
    module_name, colon, name = source.rpartition(":")
    if not colon:
        raise InputError(f"{source}: expected module:function, file.py:function or a model.onnx")
    try:
        module = _load_file(Path(module_name)) if module_name.endswith(".py") else _load_module(module_name)
    except Exception as error:  # whatever the stranger's module raises when it is imported
        raise InputError(f"{source}: cannot import {module_name}: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise InputError(f"{source}: {module_name} has no {name!r}")
    return Candidate(getattr(module, name), layout, framework)  # pyright: ignore[reportArgumentType]


def observe(case: Case, candidate: Candidate) -> tuple[Observation, Case]:
    """What the candidate computes, and the case with the loss over just the arrays that it returns.

    Raises:
        InputError: the candidate raised an exception, or returned something that is not outputs.
    """
    if isinstance(case.spec, ByHandSpec):
        raise InputError("a port of the by-hand model is checked as an LSTM: by_hand_to_lstm makes its dictionary")
    run = {"numpy": _observe_numpy, "jax": _observe_jax, "torch": _observe_torch}[candidate.framework]
    with _strangers_code():
        return run(case, candidate)


def outputs_of(case: Case, candidate: Candidate) -> np.ndarray:
    """The candidate's outputs alone, whatever their shape: for ``diagnose``.

    Raises:
        InputError: the candidate raised an exception.
    """
    with _strangers_code(), jax.enable_x64(case.inputs.dtype == np.float64):
        convert = {"numpy": np.asarray, "jax": jnp.asarray, "torch": to_tensor}[candidate.framework]
        weights, state = ({name: convert(a) for name, a in group.items()} for group in (case.weights, case.state))
        outputs = next(iter(_call(case, candidate, weights, convert(case.inputs), state).values()))
        return to_array(outputs) if isinstance(outputs, torch.Tensor) else np.asarray(outputs)


@contextmanager
def _strangers_code() -> Iterator[None]:
    """Run a candidate at full precision; whatever it raises becomes an InputError that names it."""
    try:
        with full_precision():
            yield
    except InputError:  # ours: what it returned is not what it should be
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        raise InputError(f"the candidate failed: {said}") from error


def _observe_numpy(case: Case, candidate: Candidate) -> tuple[Observation, Case]:
    forward = _call(case, candidate, case.weights, case.inputs, case.state)
    arrays = {name: np.asarray(array) for name, array in forward.items()}
    return {"forward": arrays}, _returning(case, arrays)


def _observe_jax(case: Case, candidate: Candidate) -> tuple[Observation, Case]:
    with jax.enable_x64(case.inputs.dtype == np.float64):
        weights, inputs, state = jax.tree.map(jnp.asarray, (case.weights, case.inputs, case.state))
        forward = _call(case, candidate, weights, inputs, state)
        case = _returning(case, forward)

        def loss(weights: Any, inputs: Any) -> Any:
            outputs = _call(case, candidate, weights, inputs, state)
            return sum(jnp.sum(outputs[name] * case.cotangents[name]) for name in case.cotangents)

        which = (0, 1) if candidate.layout == "torch" else (1,)
        value, gradients = jax.value_and_grad(loss, argnums=which)(weights, inputs)
        by_weight = gradients[0] if candidate.layout == "torch" else {}
        observation = {
            "forward": forward,
            "loss": {"loss": value},
            "gradient": {**by_weight, "inputs": gradients[-1]},
        }
        return jax.tree.map(np.asarray, observation), case


def _observe_torch(case: Case, candidate: Candidate) -> tuple[Observation, Case]:
    weights = {name: to_tensor(array).requires_grad_() for name, array in case.weights.items()}
    inputs = to_tensor(case.inputs).requires_grad_()
    state = {name: to_tensor(array) for name, array in case.state.items()}
    forward = _call(case, candidate, weights, inputs, state)
    case = _returning(case, forward)
    observation: Observation = {"forward": {name: to_array(tensor) for name, tensor in forward.items()}}
    terms = [torch.sum(forward[name] * to_tensor(case.cotangents[name])) for name in case.cotangents]
    loss = torch.stack(terms).sum()
    observation["loss"] = {"loss": to_array(loss)}
    if loss.requires_grad:
        loss.backward()
        leaves = {**(weights if candidate.layout == "torch" else {}), "inputs": inputs}
        # A weight without a gradient was copied out of the graph: that is not comparable, and not a wrong gradient.
        observation["gradient"] = {n: to_array(leaf.grad) for n, leaf in leaves.items() if leaf.grad is not None}
    return observation, case


def _call(case: Case, candidate: Candidate, weights: Mapping[str, Any], inputs: Any, state: Any) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if any(array.any() for array in case.state.values()):
        given["state"] = (state["h"], state["c"])
    if case.lengths is not None:
        given["lengths"] = case.lengths if candidate.framework != "torch" else torch.tensor(case.lengths)
    if case.reset is not None:
        given["reset"] = case.reset if candidate.framework != "torch" else torch.tensor(case.reset)
    if case.batch_first and isinstance(case.spec, LSTMSpec):
        given["batch_first"] = True
    return _named(case, candidate.function(_in_layout(case, candidate.layout, weights), inputs, **given))


def _in_layout(case: Case, layout: str, weights: Mapping[str, Any]) -> Any:
    if layout == "torch":
        return dict(weights)
    if not isinstance(case.spec, LSTMSpec):
        raise InputError(f"layout {layout!r} is for LSTMs; these are the weights of {in_words(case.spec)}: use 'torch'")
    return {
        f"l{layer}{suffix}": to_layout(case.weights, layout, layer=layer, reverse=bool(suffix))
        for layer in range(case.spec.num_layers)
        for suffix in case.spec.directions
    }


def _named(case: Case, returned: Any) -> dict[str, Any]:
    """What the candidate returned, by the names of the case's forward arrays."""
    if isinstance(case.spec, CellSpec):
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise InputError(f"the candidate returned {type(returned).__name__}, expected (h, c)")
        return dict(zip("hc", returned, strict=True))
    if isinstance(case.spec, ForecasterSpec):
        return {"predictions": returned}
    if not isinstance(returned, tuple | list):
        return {"outputs": returned}
    if len(returned) == 2 and isinstance(returned[1], tuple | list) and len(returned[1]) == 2:
        return {"outputs": returned[0], "h_n": returned[1][0], "c_n": returned[1][1]}
    raise InputError(f"the candidate returned {len(returned)} things, expected outputs or (outputs, (h_n, c_n))")


def _returning(case: Case, forward: Mapping[str, Any]) -> Case:
    wrong = [
        f"the candidate's {name} has shape {tuple(np.shape(array))}, expected {case.cotangents[name].shape}"
        for name, array in forward.items()
        if tuple(np.shape(array)) != case.cotangents[name].shape
    ]
    InputError.raise_any(wrong)
    return replace(case, cotangents={name: case.cotangents[name] for name in forward}, steps=0)


def _onnx(path: Path) -> Callable[..., Any]:
    """An ONNX model as a candidate; it has its weights inside, so params are not looked at."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: running an ONNX model needs onnxruntime: pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(path)
    except Exception as error:
        raise InputError(f"{path}: not an ONNX model that onnxruntime runs: {str(error).splitlines()[0]}") from error
    names = [value.name for value in session.get_inputs()]

    def run(params: Any, inputs: np.ndarray) -> Any:
        outputs = np.asarray(session.run(None, {names[0]: inputs})[0])
        if outputs.ndim != 4:
            return outputs
        # The LSTM operator itself: (time, directions, batch, hidden_size) -> (time, batch, features)
        time, directions, batch, size = outputs.shape
        return outputs.transpose(0, 2, 1, 3).reshape(time, batch, directions * size)

    return run


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> Any:
    sys.path.insert(0, "")  # as `python -m` does: modules beside the reader are found
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove("")
