"""Checks of the arguments of a new model: sizes, seed and dtype. Used for dictionaries and for modules."""

from typing import Any

import numpy as np

from lstm_shared.argument_kinds import FLOATING, dtype_name, in_words, wrong_switches
from lstm_shared.inputs import is_whole

MOST_LAYERS = 1_000_000  # weight names end in _l0 to _l999999


def wrong_sizes(
    input_size: Any,
    hidden_size: Any,
    num_layers: Any = 1,
    bias: Any = True,
    bidirectional: Any = False,
    proj_size: Any = 0,
) -> list[str]:
    """Return what is wrong with the sizes of an LSTM, which have torch's names."""
    problems = [
        f"{name} is {in_words(value)}, expected a positive whole number"
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers))
        if not is_whole(value)
    ]
    if is_whole(num_layers, at_least=MOST_LAYERS + 1):
        problems.append(f"num_layers is {in_words(num_layers)}, expected at most {MOST_LAYERS}")
    problems += wrong_switches(bias=bias, bidirectional=bidirectional)
    if not is_whole(proj_size, at_least=0):
        problems.append(f"proj_size is {in_words(proj_size)}, expected a whole number, 0 for none")
    elif is_whole(hidden_size) and proj_size >= hidden_size:
        problems.append(f"proj_size is {proj_size}, expected less than hidden_size, which is {hidden_size}")
    return problems


def wrong_output_size(output_size: Any) -> list[str]:
    """Return what is wrong with the number of features that a head returns."""
    if is_whole(output_size):
        return []
    return [f"output_size is {in_words(output_size)}, expected a positive whole number"]


def wrong_seed(seed: Any) -> list[str]:
    """Return what is wrong with the seed of a random stream."""
    return [] if is_whole(seed, at_least=0) else [f"seed is {in_words(seed)}, expected a whole number, 0 or larger"]


def wrong_dtype(dtype: Any, name: str = "dtype") -> list[str]:
    """Return what is wrong with the dtype of new weights."""
    try:
        found = in_words(dtype) if dtype is None else dtype_name(np.dtype(dtype))
    except (TypeError, ValueError):  # NumPy raises one of these if it is not a dtype
        found = in_words(dtype)
    return [] if found in FLOATING else [f"{name} is {found}, expected a floating-point one, such as float32"]
