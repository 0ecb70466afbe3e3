"""Read the files that several commands take: models, inputs, outputs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_shared.describe import describe, require_by_hand
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.finite import not_finite
from lstm_shared.possible_models import possible_models
from lstm_shared.specs import Spec
from lstm_shared.weight_files.contents import at, plain_arrays
from lstm_shared.weight_files.formats import read_contents
from lstm_shared.weight_files.load_save import load, read_arrays
from lstm_shared.weight_files.numpy_files import read_npy

if TYPE_CHECKING:
    import numpy as np

# Names of the arrays that an .npz of inputs may hold.
INPUT_ARRAYS = ("inputs", "h", "c", "lengths", "reset")


def load_by_hand(path: Path) -> "Mapping[str, np.ndarray]":
    """Load by-hand weights from a file. Every error names the file."""
    weights = load(path)
    try:
        require_by_hand(weights)
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    return weights


def load_model(path: Path, prefix: str | None) -> "tuple[str, dict[str, np.ndarray], Spec]":
    """Return (prefix, weights, spec) of the model under a prefix, or of the only model in the file.

    Raises:
        OSError, InputError, WeightsError: as in ``lstm_shared.load``, or there is no model, or there are several.
    """
    contents = read_contents(path)
    outer = f"{prefix.removesuffix('.')}." if prefix else ""
    try:
        values = contents.named if prefix is None else contents.under(prefix)
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    possible = possible_models(values)
    if len(possible) > 1 and (prefix is None or "" not in possible):
        named = ", ".join(repr(outer + found) for found in possible)
        raise InputError(f"{path}: holds {len(possible)} models, choose one with --prefix: {named}")
    inner = "" if "" in possible else next(iter(possible), "")
    # The parent module may hold other arrays next to the model. Leave them out.
    values = {name: values[inner + name] for name in possible.get(inner, values)}
    try:
        weights = plain_arrays(values) if possible else values
        spec = describe(weights)
        WeightsError.raise_any(not_finite(weights))
    except WeightsError as error:
        raise WeightsError(at(path, outer + inner, problem) for problem in error.problems) from error
    return outer + inner, weights, spec


def read_inputs(path: Path) -> "dict[str, np.ndarray]":
    """Read the arrays of an .npy or .npz file by name, and refuse what no model accepts."""
    import numpy as np

    arrays = read_named(path, "inputs")
    problems = unknown_names(path, arrays, INPUT_ARRAYS)
    if ("h" in arrays) != ("c" in arrays):
        problems.append(f"{path}: holds only one of h and c: give both or neither")
    # With lengths, the padding may hold anything.
    if "inputs" in arrays and "lengths" not in arrays and np.isnan(arrays["inputs"]).any():
        problems.append(f"{path}: inputs holds NaN")
    InputError.raise_any(problems)
    return arrays


def read_named(path: Path, name: str) -> "dict[str, np.ndarray]":
    """Read an .npy array under this name, or the arrays of an .npz."""
    if path.suffix == ".npy":
        return {name: read_npy(path)}
    if path.suffix != ".npz":
        raise InputError(f"{path}: {name} must be an .npy or .npz file")
    return read_arrays(path)


def unknown_names(path: Path, arrays: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a line for each array with an unknown name."""
    return [f"{path}: unknown array {name!r}, expected {', '.join(known)}" for name in arrays if name not in known]
