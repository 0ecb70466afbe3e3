"""Weight dictionaries on disk: read and write safetensors and npz, and read PyTorch's files.

No pickle is ever executed. A file is written completely or not at all.
"""

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from lstm_shared.errors import InputError, WeightsError
from lstm_shared.finite import not_finite
from lstm_shared.safe_writing import write_file
from lstm_shared.weight_files.contents import plain_arrays
from lstm_shared.weight_files.formats import READABLE, SAFETENSORS_DTYPES, read_contents

WRITABLE = (".safetensors", ".npz")
_LONGEST_NAME = 65_000  # bytes, somewhat less than zip's own limit


def load(path: str | os.PathLike[str], prefix: str = "") -> dict[str, np.ndarray]:
    """Read a weight dictionary.

    The file type is detected from the content, so the file may have any suffix (``.pth.tar``, ``.bin``) or none. The
    names in nested dictionaries and lists are joined with dots. Numbers, text and other objects that are not tensors
    are left out.

    Args:
        path: safetensors, ``.npz``, a PyTorch or Lightning checkpoint (reading one imports torch, and reads only the
            tensors), or a TorchScript archive (its code is not run).
        prefix: take only the names under this prefix, and strip it. Its final dot is optional. Without a prefix, take
            what is under ``state_dict``, ``model_state_dict`` or ``model``, or else everything.

    Returns:
        name -> NumPy array in the file's dtype (bfloat16 as ``ml_dtypes.bfloat16``).

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: the file type cannot be told from the content or the name.
        WeightsError: the file is damaged, of an unsupported kind, holds objects that only their own code can create,
            has nothing under the prefix, or holds NaN or infinity.
    """
    contents = read_contents(path)
    _require_numbers(path, () if contents.full else contents.not_numbers)
    try:
        arrays = plain_arrays(contents.under(prefix))
        WeightsError.raise_any(not_finite(arrays))
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    except MemoryError as error:
        raise WeightsError(f"{path}: there is not enough memory for its arrays") from error
    return arrays


def save(path: str | os.PathLike[str], weights: Mapping[str, Any]) -> None:
    """Write a weight dictionary as ``.safetensors`` or ``.npz``, completely or not at all.

    Raises:
        InputError: the file is of an unsupported kind, or cannot hold a dtype (``.npz`` would keep bfloat16 as raw
            bytes without the dtype), or names would clash or change in it. Then nothing is written.
        OSError: the file cannot be written. An existing file is untouched.
    """
    kind = require_weights_name(path)
    problems = _names_refused(kind, weights)
    arrays: dict[str, np.ndarray] = {}
    for name, value in weights.items():
        try:
            # The NumPy writer of safetensors corrupts arrays that are not C-contiguous, and rejects Python scalars.
            array = np.asarray(value, order="C")
        except ValueError:
            problems.append(f"{name} is not an array: it holds rows of different lengths")
            continue
        arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    held = [np.dtype(dtype) for dtype in SAFETENSORS_DTYPES.values() if kind != ".npz" or dtype != ml_dtypes.bfloat16]
    if refused := [name for name, array in arrays.items() if array.dtype not in held]:
        instead = "; use .safetensors" if arrays[refused[0]].dtype.name == "bfloat16" else ""
        problems.append(f"{kind} cannot hold {arrays[refused[0]].dtype} ({', '.join(map(str, refused))}){instead}")
    InputError.raise_any([f"{path}: {problem}" for problem in problems])
    write_file(path, _safetensors_bytes(path, arrays) if kind == ".safetensors" else npz_bytes(arrays))


def _names_refused(kind: str, weights: Mapping[Any, Any]) -> list[str]:
    """Return a line for each name that would be read back differently, or that other programs would misread."""
    problems: list[str] = []
    for name in weights:
        if not isinstance(name, str):
            problems.append(f"the name {name!r} is of type {type(name).__name__}, expected a string")
        elif not _can_be_encoded(name):
            problems.append(f"the name {name!r} cannot be written as UTF-8: rename it")
        elif len(name.encode()) > _LONGEST_NAME:
            problems.append(
                f"the name {name[:40]!r}… has {len(name.encode())} bytes, expected at most {_LONGEST_NAME}: shorten it"
            )
        elif "\0" in name:
            problems.append(f"the name {name!r} holds a NUL, where other programs end a name: rename it")
        elif kind == ".safetensors" and name == "__metadata__":
            problems.append("the name '__metadata__' is reserved by safetensors: rename it, or use .npz")
        elif kind == ".npz" and name.endswith(".npy") and name.removesuffix(".npy") in weights:
            other = name.removesuffix(".npy")
            problems.append(
                f"{other!r} and {name!r} are one name to NumPy, which leaves out .npy: rename one, or use .safetensors"
            )
    return problems


def _can_be_encoded(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_weights_name(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file name, or raise an InputError if ``save`` cannot write such a file."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        why = " (PyTorch files are read only)" if suffix in READABLE else ""
        raise InputError(f"{path}: the file name must end in one of {', '.join(WRITABLE)}{why}")
    return suffix


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return everything in the file, as ``load`` does, but allow NaN and infinity. Refuse text, and do not skip it."""
    contents = read_contents(path)
    _require_numbers(path, contents.not_numbers)
    try:
        return plain_arrays(contents.named)
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    except MemoryError as error:
        raise WeightsError(f"{path}: there is not enough memory for its arrays") from error


def _require_numbers(path: str | os.PathLike[str], others: Sequence[str]) -> None:
    if others:
        raise WeightsError(f"{path}: not numbers: {', '.join(others)}")


def _safetensors_bytes(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> bytes:
    try:
        return safetensors.numpy.save(arrays)
    except safetensors.SafetensorError as error:  # there are more names than its header can hold
        raise InputError(f"{path}: {error}") from error


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an .npz as bytes. ``np.savez`` takes names as keywords, and so cannot write an array called ``file``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()
