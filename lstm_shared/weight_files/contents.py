"""What a weight file holds, at any depth: tensors by their full names, and the part that is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import is_mapping, is_numpy, is_sequence
from lstm_shared.errors import WeightsError
from lstm_shared.find_models import under_prefix
from lstm_shared.tensors import to_array

# Where training scripts commonly put the weights inside a checkpoint. These keys are left out of the names below.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# Real files stay far below these; a damaged or hostile one can refer to itself for ever.
_MOST_OBJECTS, _DEEPEST = 1_000_000, 64
_MOST_AXES = 64  # of a NumPy array


@dataclass(frozen=True)
class Unreadable:
    """Stands in for an array that cannot be read.

    Attributes:
        why: the end of a sentence that begins with the array's name.
    """

    why: str


@dataclass(frozen=True)
class Contents:
    """The tensors of a file, not yet converted: only what is asked for costs anything.

    Attributes:
        full: full name -> NumPy array, torch tensor or ``Unreadable``, nested names joined with dots.
        wrapper: the key (with its dot) under which the file keeps the model; names leave it out. Empty: there is
            none, or names would clash without it.
        not_numbers: names of arrays that hold text or the like, which are not weights.
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
        """Name -> value under a prefix, which is stripped. No prefix: the wrapper's, else everything.

        The prefix may be given with or without the wrapper's key.

        Raises:
            WeightsError: nothing is under it; the message lists the prefixes that hold models.
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
    """A problem with the file and the prefix that it was found in: "model.pt: rnn.: this is a GRU"."""
    return f"{path}: {prefix}: {problem}" if prefix else f"{path}: {problem}"


def plain_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values of ``Contents`` as NumPy arrays.

    Raises:
        WeightsError: a line for each that cannot be one.
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
    """The value as a NumPy array. A WeightsError's message continues a sentence that begins with the array's name."""
    if isinstance(value, Unreadable):
        raise WeightsError(value.why)
    if is_numpy(value):
        return value
    if "strided" not in str(value.layout):
        raise WeightsError("is a sparse tensor: save it dense, with .to_dense()")
    if value.dim() > _MOST_AXES:
        raise WeightsError(f"has {value.dim()} axes, and NumPy's arrays {_MOST_AXES} at most")
    if value.is_meta:
        raise WeightsError("has a shape but no numbers: it was saved from the device meta")
    try:
        return to_array(value)
    except (TypeError, RuntimeError) as error:  # quantized, or of a dtype that NumPy lacks
        if "can't allocate memory" in str(error):
            raise MemoryError(f"for an array of shape {tuple(value.shape)}") from error
        raise WeightsError(f"holds {value.dtype}, which NumPy has not: save it as float32") from error


def flattened(content: Any, is_tensor: type | tuple[type, ...]) -> tuple[dict[str, Any], str]:
    """(full name -> tensor, wrapper) of nested dictionaries and lists; anything else in them is left out.

    Raises:
        WeightsError: there are more than a million objects, as where something contains itself.
    """
    found: dict[str, Any] = {}
    counted = 0
    open_: list[tuple[str, Any, int]] = [("", content, 0)]
    while open_:
        name, value, depth = open_.pop()
        counted += 1
        if counted > _MOST_OBJECTS:
            raise WeightsError(f"more than {_MOST_OBJECTS} objects in it")
        if isinstance(value, is_tensor):
            found[name] = value
        elif depth < _DEEPEST:
            below = [(f"{name}.{key}" if depth else str(key), child, depth + 1) for key, child in _children(value)]
            open_ += reversed(below)  # they are popped from the end, so this keeps the file's order
    found.pop("", None)  # a tensor alone, outside any dictionary, has no name
    return found, _wrapper(content, found)


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if is_mapping(value):
        return value.items()
    return enumerate(value) if is_sequence(value) else ()


def _wrapper(content: Any, found: Mapping[str, Any]) -> str:
    """The keys that lead to the model, such as "model.state_dict."; each has tensors somewhere below it."""
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
