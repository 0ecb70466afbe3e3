"""Load the port that a command line names: a function in a module or a file, or an ONNX model."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from lstm_parity.sides.isolation import in_a_line, strangers_code
from lstm_parity.sides.port import Port
from lstm_shared.errors import InputError


def load_port(source: str, *, layout: str = "torch", framework: str | None = None) -> Port:
    """Load the port that a command line names: ``module:function``, ``path/to/file.py:function`` or ``model.onnx``.

    Args:
        source: the name on the command line.
        layout, framework: as in ``Port``.

    Raises:
        InputError: if there is no such module, function or model.
    """
    if source.endswith(".onnx"):
        return Port(_onnx(Path(source)), framework="numpy", dtypes=("float32",))
    module_name, colon, name = source.rpartition(":")
    if not colon:
        raise InputError(f"{source}: expected module:function, file.py:function or model.onnx")
    try:
        with strangers_code():
            module = _load_file(Path(module_name)) if module_name.endswith(".py") else _load_module(module_name)
    except InputError as error:  # anything that the stranger's module raises while it is imported
        said = str(error).removeprefix("the candidate failed: ")
        raise InputError(f"{source}: cannot import {module_name}: {said}") from error
    with strangers_code():  # a module may run code of its own to look up a name
        function = getattr(module, name, None)
    if function is None:
        file = f"; for the file here, write {module_name}.py:{name}" if Path(f"{module_name}.py").is_file() else ""
        raise InputError(f"{source}: {module_name} has no {name!r}{file}")
    return Port(function, layout, framework)  # pyright: ignore[reportArgumentType]


def _load_file(path: Path) -> ModuleType:
    # Load it under a name of its own: a port in a file named torch.py must not replace torch.
    name = f"_port_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before, folder = set(sys.modules), path.parent.resolve()
    sys.modules[name] = module
    sys.path.append(str(folder))  # it can import its neighbours; installed modules come first
    spec.loader.exec_module(module)
    for other in set(sys.modules) - before - {name}:
        # Forget its neighbours: the next port may have other modules with the same names.
        file = getattr(sys.modules[other], "__file__", None)
        if file is not None and Path(file).resolve().is_relative_to(folder):
            del sys.modules[other]
    return module


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, "")  # as `python -m` does: find modules in the current directory
    return importlib.import_module(name)


def _onnx(path: Path) -> Callable[[object, np.ndarray], np.ndarray]:
    """Return an ONNX model as a port. The model contains its weights, so ``params`` is ignored."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: running an ONNX model needs onnxruntime: pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(path)
    except Exception as error:
        raise InputError(f"{path}: onnxruntime cannot load this ONNX model: {in_a_line(error)}") from error
    names = [value.name for value in session.get_inputs()]

    def run(params: object, inputs: np.ndarray) -> np.ndarray:
        outputs = np.asarray(session.run(None, {names[0]: inputs})[0])
        if outputs.ndim != 4:
            return outputs
        # The output of a bare LSTM operator: (time, directions, batch, hidden_size) -> (time, batch, features)
        time, directions, batch, size = outputs.shape
        return outputs.transpose(0, 2, 1, 3).reshape(time, batch, directions * size)

    return run
