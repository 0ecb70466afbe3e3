"""The contents of a weight file, at any depth: tensors by their full names, and the part that the caller wants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import is_mapping, is_numpy, is_sequence
from lstm_shared.errors import WeightsError
from lstm_shared.find_models import under_prefix
from lstm_shared.tensors import to_array

# The keys under which training scripts commonly put the weights in a checkpoint. The names below leave these out.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# Real files stay far below these limits. A damaged or hostile file can contain itself, and so have no end.
_MOST_OBJECTS, _DEEPEST = 1_000_000, 64
_MOST_AXES = 64  # the limit of NumPy arrays


@dataclass(frozen=True)
class Unreadable:
    """A placeholder for an array that cannot be read.

    Attributes:
        why: the reason, as the end of a sentence that begins with the array's name.
    """

    why: str


@dataclass(frozen=True)
class Contents:
    """The tensors of a file, not yet converted, so that only those that the caller wants cost anything.

    Attributes:
        full: full name -> NumPy array, torch tensor or ``Unreadable``. Nested names are joined with dots.
        wrapper: the key (with its dot) under which the file keeps the model. Names leave it out. It is empty if there
            is none, or if names would clash without it.
        not_numbers: names of arrays that hold text or the like, and so are not weights.
    """

    full: Mapping[str, Any]
    wrapper: str = ""
    not_numbers: tuple[str, ...] = ()
    named: Mapping[str, Any] = field(init=False)  # name -> value, without the wrapper

    def __post_init__(self) -> None:
        named = {name.removeprefix(self.wrapper): value for name, value in self.full.items()}
        if len(named) < len(self.full):
            object.__setattr__(self, "wrapper", "")
            named = dict(self.full)
        object.__setattr__(self, "named", named)

    def under(self, prefix: str) -> dict[str, Any]:
        """Return name -> value for the names under a prefix, with the prefix stripped.

        With an empty prefix, return what is under the wrapper, or everything if there is no wrapper. The prefix may
        include the wrapper's key or not.

        Raises:
            WeightsError: no name has this prefix. The message lists the prefixes that hold models.
        """
        if not prefix:
            return {
                name.removeprefix(self.wrapper): value
                for name, value in self.full.items()
                if name.startswith(self.wrapper)
            }
        try:
            return under_prefix(self.named, prefix)
        except WeightsError as error:
            try:
                return under_prefix(self.full, prefix)
            except WeightsError:
                raise error from None


def at(path: Any, prefix: str, problem: str) -> str:
    """Put the file and the prefix before a problem: "model.pt: rnn.: this is a GRU"."""
    return f"{path}: {prefix}: {problem}" if prefix else f"{path}: {problem}"


def plain_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return values of ``Contents`` as NumPy arrays.

    Raises:
        WeightsError: some cannot be converted. The message has a line for each.
    """
    arrays: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for name, value in values.items():
        try:
            arrays[name] = _plain_array(value)
        except WeightsError as error:
            problems.append(f"{name} {error}")
    WeightsError.raise_any(problems)
    return arrays


def _plain_array(value: Any) -> np.ndarray:
    """Return a value as a NumPy array. The message of a WeightsError continues from the array's name."""
    if isinstance(value, Unreadable):
        raise WeightsError(value.why)
    if is_numpy(value):
        return value
    if "strided" not in str(value.layout):
        raise WeightsError("is a sparse tensor: save it dense, with .to_dense()")
    if value.dim() > _MOST_AXES:
        raise WeightsError(f"has {value.dim()} axes, but NumPy arrays have at most {_MOST_AXES}")
    if value.is_meta:
        raise WeightsError("has a shape but no numbers: it was saved from the device meta")
    try:
        return to_array(value)
    except (TypeError, RuntimeError) as error:  # the tensor is quantized, or NumPy does not have its dtype
        if "can't allocate memory" in str(error):
            raise MemoryError(f"for an array of shape {tuple(value.shape)}") from error
        raise WeightsError(f"holds {value.dtype}, which NumPy does not have: save it as float32") from error


def flattened(content: Any, is_tensor: type | tuple[type, ...]) -> tuple[dict[str, Any], str]:
    """Return (full name -> tensor, wrapper) for nested dictionaries and lists. Anything else in them is left out.

    Raises:
        WeightsError: there are more than a million objects, for example because an object contains itself.
    """
    found: dict[str, Any] = {}
    counted = 0
    open_: list[tuple[str, Any, int]] = [("", content, 0)]
    while open_:
        name, value, depth = open_.pop()
        counted += 1
        if counted > _MOST_OBJECTS:
            raise WeightsError(f"it holds more than {_MOST_OBJECTS} objects")
        if isinstance(value, is_tensor):
            found[name] = value
        elif depth < _DEEPEST:
            below = [(f"{name}.{key}" if depth else str(key), child, depth + 1) for key, child in _children(value)]
            open_ += reversed(below)  # objects are popped from the end, so this keeps the file's order
    found.pop("", None)  # a tensor outside any dictionary has no name
    return found, _wrapper(content, found)


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if is_mapping(value):
        return value.items()
    return enumerate(value) if is_sequence(value) else ()


def _wrapper(content: Any, found: Mapping[str, Any]) -> str:
    """Return the keys that lead to the model, such as "model.state_dict.". Each has tensors somewhere below it."""
    wrapper = ""
    while is_mapping(content):
        for key in _WRAPPERS:
            below = f"{wrapper}{key}."
            if is_mapping(content.get(key)) and any(name.startswith(below) for name in found):
                content, wrapper = content[key], below
                break
        else:
            return wrapper
        if wrapper.count(".") > _DEEPEST:
            return wrapper
    return wrapper
