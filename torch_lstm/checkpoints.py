"""Checkpoints of a PyTorch training run: what Lightning saves, in our own file, and what identifies the run."""

import hashlib
import inspect
import io
import platform
import types
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.io import CheckpointIO

from lstm_shared.errors import InputError
from lstm_shared.training.run_identity import Run

# Prefixes of methods that the loss cannot depend on.
_NOT_OF_THE_LOSS = ("on_", "configure_", "validation_", "test_", "predict_", "val_")


class InMemory(CheckpointIO):
    """Make Lightning save and load its checkpoints as bytes in memory, which we write to our own file.

    Attributes:
        content: the bytes that Lightning wrote last, or will read next.
    """

    def __init__(self, content: bytes | None = None):
        self.content = content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        self.content = buffer.getvalue()

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        assert self.content is not None
        return read(self.content, str(path))

    def remove_checkpoint(self, path: Any) -> None:
        pass


def read(content: bytes, place: str) -> dict[str, Any]:
    """Read Lightning's dictionary from its bytes. Nothing in them is executed.

    Raises:
        InputError: the bytes hold an object that only code can create, or come from another version.
    """
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors
        raise InputError(
            f"{place}: what Lightning saves of this module cannot be read without running code: "
            "save only tensors, numbers and text, also in its hyper-parameters"
        ) from error


def as_array(content: bytes) -> np.ndarray:
    """Return Lightning's bytes as an array (bytes,) that our checkpoint can hold."""
    return np.frombuffer(content, np.uint8)


def describe_module(module: L.LightningModule) -> Run:
    """Describe what a loss depends on: the module's structure, the code of its methods, and the software it runs on."""
    names = ("torch", "lightning")
    device = next(module.parameters()).device
    return {
        "loss": hashlib.sha256("\n".join(_code_of_module(module)).encode()).hexdigest(),
        "loss_is": "the module's structure or code",
        "software": {name: version(name) for name in names}
        | {"Python": platform.python_version().rpartition(".")[0], "device": device.type},
    }


def describe_optimizers(optimizers: Sequence[Any], schedulers: Sequence[Any] = ()) -> Run:
    """Describe optimizers and schedulers that have not run yet: their kinds and all their settings."""
    settings: dict[str, Any] = {}
    for number, optimizer in enumerate(optimizers):
        optimizer = getattr(optimizer, "optimizer", optimizer)
        place = f"{number}." if len(optimizers) > 1 else ""
        settings[f"{place}kind"] = type(optimizer).__qualname__
        groups = optimizer.state_dict()["param_groups"]
        for which, group in enumerate(groups):
            where = f"{place}group {which}." if len(groups) > 1 else place
            settings |= {f"{where}{name}": _plain(value) for name, value in group.items()}
    for number, scheduler in enumerate(schedulers):
        place = f"scheduler {number}"
        settings[f"{place}.kind"] = type(scheduler).__qualname__
        kept = {name: value for name, value in scheduler.state_dict().items() if not name.startswith("_")}
        settings |= {f"{place}.{name}": _plain(value) for name, value in kept.items()}
    return {"optimizer": {"settings": settings, "program": ""}}


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of the random generators, on the CPU and on the module's device, that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Restore what ``random_state`` returned, so that the run draws the same numbers as the straight run."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _code_of_module(module: L.LightningModule) -> Iterator[str]:
    yield repr(module)
    for kind in type(module).__mro__:
        if kind.__module__.partition(".")[0] in ("torch", "lightning", "builtins", "abc", "typing"):
            continue  # instead of their code, their versions are compared
        yield kind.__qualname__
        for name, value in sorted(vars(kind).items()):
            function = inspect.unwrap(value) if callable(value) else value
            if isinstance(function, types.FunctionType) and not name.startswith(_NOT_OF_THE_LOSS):
                yield from _code(function.__code__, function.__doc__)


def _code(code: types.CodeType, doc: str | None = None) -> Iterator[str]:
    """Yield the code of a function, without its name, its place and its docstring."""
    yield f"{code.co_code.hex()} {code.co_names} {code.co_freevars}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        elif isinstance(constant, frozenset):  # its order differs between processes
            yield repr(sorted(map(repr, constant)))
        elif doc is None or constant != doc:
            yield repr(constant)


def _plain(value: Any) -> Any:
    """Return a setting in a form that JSON can hold."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return type(value).__qualname__
