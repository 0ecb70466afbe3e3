"""What a stranger's port returned, checked and named: anybody may return anything."""

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
    """What the candidate returned, as arrays by the names of the case's forward arrays.

    Raises:
        InputError: it is something else.
    """
    if inspect.iscoroutine(returned):
        returned.close()  # else Python warns that nobody waited for it
    arrays = case.kind.named(returned)
    if arrays is None:
        raise InputError(f"the candidate returned {_in_words(returned)}, expected {case.kind.returns}")
    return _arrays(arrays)


def returning(case: Case, forward: Mapping[str, ArrayLike]) -> Case:
    """The case with the loss over just the arrays that came back, and without Adam's steps.

    Raises:
        InputError: one of them has another shape than it should.
    """
    wrong = [
        f"the candidate's {name} has shape {tuple(np.shape(array))}, expected {case.cotangents[name].shape}"
        for name, array in forward.items()
        if tuple(np.shape(array)) != case.cotangents[name].shape
    ]
    InputError.raise_any(wrong)
    return replace(case, cotangents={name: case.cotangents[name] for name in forward}, steps=0)


def _arrays(values: Mapping[str, object]) -> dict[str, Any]:
    """Nested lists of numbers become NumPy arrays, arrays stay as they are."""
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
    """The type of a value, with the number of things in it."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} thing{'' if len(value) == 1 else 's'}"
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
