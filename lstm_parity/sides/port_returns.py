"""Check and name what someone else's port returned, which may be anything."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import torch
from numpy.typing import ArrayLike

from lstm_parity.sides.case import Case
from lstm_shared.errors import InputError

_ARRAYS = (np.ndarray, np.generic, jax.Array, torch.Tensor)


def named(case: Case, returned: object) -> dict[str, Any]:
    """Return what the candidate returned as arrays, by the names of the case's forward arrays.

    Raises:
        InputError: if the candidate returned something else.
    """
    if inspect.iscoroutine(returned):
        returned.close()  # otherwise Python warns that it was never awaited
    arrays = case.kind.named(returned)
    if arrays is None:
        raise InputError(f"the candidate returned {_in_words(returned)}, expected {case.kind.returns}")
    return _arrays(arrays)


def returning(case: Case, forward: Mapping[str, ArrayLike]) -> Case:
    """Return the case with its loss restricted to the arrays that came back, and without Adam's steps.

    Raises:
        InputError: if one of them has the wrong shape.
    """
    wrong = [
        f"the candidate's {name} has shape {tuple(np.shape(array))}, expected {case.cotangents[name].shape}"
        for name, array in forward.items()
        if tuple(np.shape(array)) != case.cotangents[name].shape
    ]
    InputError.raise_any(wrong)
    return replace(case, cotangents={name: case.cotangents[name] for name in forward}, steps=0)


def _arrays(values: Mapping[str, object]) -> dict[str, Any]:
    """Turn nested lists of numbers into NumPy arrays; leave arrays as they are."""
    problems, arrays = [], {}
    for name, value in values.items():
        arrays[name] = value
        if isinstance(value, list | tuple):
            try:
                arrays[name] = np.asarray(value)
            except (TypeError, ValueError):  # rows of different lengths, arrays that NumPy cannot read
                arrays[name] = None
        if not isinstance(arrays[name], _ARRAYS):
            problems.append(f"the candidate's {name} is {_in_words(value)}, expected an array")
    InputError.raise_any(problems)
    return arrays


def _in_words(value: object) -> str:
    """Describe a value by its type and, for a tuple or list, its length."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} item{'' if len(value) == 1 else 's'}"
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
