"""Checks for arguments of the wrong kind: not a dictionary of arrays, not an array, not a number, not True or False.

Both backends check their arguments here first. So None, text or a list in the wrong place gives one line that names
the argument, and not an exception from inside a framework.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import ml_dtypes
import numpy as np

from lstm_shared.errors import WeightsError

FLOATING = ("float64", "float32", "float16", "bfloat16")
LONGEST_TEXT = 40  # characters of a wrong argument that a message quotes


def is_text(value: Any) -> bool:
    """Return whether this is text, whatever its annotation says."""
    return isinstance(value, str)


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Return whether this is a dictionary or another mapping."""
    return isinstance(value, Mapping)


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    """Return whether this is a tuple or a list."""
    return isinstance(value, tuple | list)


def is_numpy(value: Any) -> TypeGuard[np.ndarray]:
    """Return whether this is a NumPy array or a NumPy number."""
    return isinstance(value, np.ndarray | np.generic)


def require_mapping(weights: Any) -> None:
    """Raise a WeightsError that says what the weights are, unless they are a dictionary."""
    if not is_mapping(weights):
        raise WeightsError(f"the weights are {in_words(weights)}, expected a dictionary of arrays by their names")


def wrong_kinds(weights: Mapping[Any, Any]) -> dict[Any, str]:
    """Return name -> problem, for each weight whose name is not text or whose value is not an array."""
    wrong: dict[Any, str] = {}
    for name, value in weights.items():
        problems: list[str] = []
        if not isinstance(name, str):
            problems.append(f"the name {in_words(name)} is of type {type(name).__name__}, expected text")
        elif as_array(name, value, problems) is None:
            problems = problems[:1]
        if problems:
            wrong[name] = problems[0]
    return wrong


def as_array(name: str, value: Any, problems: list[str]) -> Any:
    """Return the argument as an array in this machine's byte order, or add a line to ``problems`` and return None.

    Arrays of any framework stay as they are. Numbers and lists of numbers become NumPy arrays.
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return native(value)
    if value is None or isinstance(value, str | bytes | Mapping | set | frozenset):
        problems.append(f"{name} is {in_words(value)}, expected an array of numbers")
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        problems.append(f"{name} is not an array: it holds rows of different lengths")
        return None
    except Exception as error:  # NumPy calls methods of the object, and these may raise anything
        problems.append(f"{name} is {in_words(value)}, which cannot be read as an array ({type(error).__name__})")
        return None
    if array.dtype == object:
        problems.append(f"{name} is {in_words(value)}, expected an array of numbers")
        return None
    return array


def as_arrays(state: Any, names: tuple[str, str], problems: list[str]) -> Any:
    """Return a pair of states, both converted by ``as_array``. Return anything that is not a pair unchanged."""
    if not is_sequence(state) or len(state) != len(names):
        return state
    return tuple(as_array(name, part, problems) for name, part in zip(names, state, strict=True))


def native(array: Any) -> Any:
    """Return a NumPy array in this machine's byte order, the only one that JAX and torch know.

    Arrays of other frameworks are returned unchanged.
    """
    if is_numpy(array) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def dtype_name(dtype: Any) -> str:
    """Return the name of a NumPy, JAX or torch dtype, such as "float32", whatever its byte order."""
    return getattr(dtype, "name", None) or str(dtype).removeprefix("torch.")


def not_floating(name: str, dtype: Any) -> list[str]:
    """Return what is wrong with the dtype of an argument that must hold floating-point numbers."""
    found = dtype_name(dtype)
    if found in FLOATING:
        return []
    if found.startswith("float"):
        return [f"{name} holds {found}, expected one of {', '.join(FLOATING)}"]
    return [f"{name} holds {found}, expected floating-point numbers (write 1.0 for 1)"]


def not_real(name: str, dtype: Any) -> list[str]:
    """Return what is wrong with the dtype of an argument that must hold real numbers; integers are real, too."""
    found = dtype_name(dtype)
    return [] if found in FLOATING or "int" in found else [f"{name} holds {found}, expected real numbers"]


def wrong_switches(**switches: Any) -> list[str]:
    """Return what is wrong with arguments that must be True or False: text such as "no" would count as True."""
    return [
        f"{name} is {in_words(value)}, expected True or False"
        for name, value in switches.items()
        if not isinstance(value, bool | np.bool_)
    ]


def wrong_probability(name: str, value: Any) -> list[str]:
    """Return what is wrong with a probability. Its value must be known before anything runs."""
    expected = "expected a probability, 0 to 1"
    try:
        number = float("x" if isinstance(value, str | bytes | bool | np.bool_) else value)
    except Exception:  # a traced value raises an error of JAX, and any other object may raise anything
        return [f"{name} is {in_words(value)}, {expected}, known before anything runs"]
    return [] if 0 <= number <= 1 else [f"{name} is {number}, {expected}"]


def in_words(value: Any) -> str:
    """Describe a wrong argument for use in a sentence: "None", "'x'", "a list"."""
    if value is None or isinstance(value, str | bytes | bool | int | float | complex | np.generic):
        return _short(value)
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        return f"a number of {value.bit_length()} bits"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def is_floating(dtype: np.dtype) -> bool:
    """Return whether NumPy or ``ml_dtypes`` knows this dtype as a real floating-point type."""
    try:
        return dtype.kind != "c" and ml_dtypes.finfo(dtype) is not None
    except ValueError:
        return False
