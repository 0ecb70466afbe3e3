"""Weight dictionaries on disk: safetensors and npz both ways, PyTorch's files to read.

No pickle is ever executed, and a file is written whole or not at all.
"""

import errno
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from lstm_shared.contents import plain_arrays
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.read_files import READABLE, SAFETENSORS_DTYPES, read_contents

WRITABLE = (".safetensors", ".npz")


def load(path: str | os.PathLike[str], prefix: str = "") -> dict[str, np.ndarray]:
    """Read a weight dictionary.

    The file's kind is read off its content, so any name will do: ``.pth.tar``, ``.bin``, none. Nested dictionaries
    and lists are joined with dots; numbers, text and other objects that are no tensors are left out.

    Args:
        path: safetensors, ``.npz``, a PyTorch or Lightning checkpoint (these import torch, and read tensors only), or
            a TorchScript archive (whose code is not run).
        prefix: take only the names under this prefix and strip it; the dot at its end may be left out. Without one,
            what stands under ``state_dict``, ``model_state_dict`` or ``model`` is taken, else everything.

    Returns:
        name -> NumPy array in the file's dtype (bfloat16 as ``ml_dtypes.bfloat16``).

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: neither the content nor the name tells of which kind the file is.
        WeightsError: the file is damaged, of another kind, holds objects that only code of their own can make, has
            nothing under the prefix, or holds NaN or infinity.
    """
    contents = read_contents(path)
    _require_numbers(path, () if contents.full else contents.not_numbers)
    try:
        arrays = plain_arrays(contents.under(prefix))
        WeightsError.raise_any(not_finite(arrays))
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    return arrays


def save(path: str | os.PathLike[str], weights: Mapping[str, Any]) -> None:
    """Write a weight dictionary as ``.safetensors`` or ``.npz``, whole or not at all.

    Raises:
        InputError: another file kind, a dtype it cannot hold, or bfloat16 into ``.npz`` (which would keep raw bytes
            without the dtype).
        OSError: the place cannot be written; an existing file there is untouched.
    """
    kind = require_weights_name(path)
    # safetensors' NumPy writer corrupts arrays that are not C-contiguous and rejects scalars that are not arrays.
    arrays = {name: np.asarray(value, order="C") for name, value in weights.items()}
    arrays = {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}
    held = [np.dtype(dtype) for dtype in SAFETENSORS_DTYPES.values() if kind != ".npz" or dtype != ml_dtypes.bfloat16]
    if refused := [name for name, array in arrays.items() if array.dtype not in held]:
        instead = "; use .safetensors" if arrays[refused[0]].dtype.name == "bfloat16" else ""
        raise InputError(f"{path}: {kind} cannot hold {arrays[refused[0]].dtype} ({', '.join(refused)}){instead}")
    write_file(path, safetensors.numpy.save(arrays) if kind == ".safetensors" else _npz(arrays))


def require_weights_name(path: str | os.PathLike[str]) -> str:
    """The file kind that a name ends in; an InputError unless ``save`` can write it."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        why = " (PyTorch files are read only)" if suffix in READABLE else ""
        raise InputError(f"{path}: the file name must end in one of {', '.join(WRITABLE)}{why}")
    return suffix


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write the bytes to a temporary file beside ``path``, flush it to the disk, and rename it into place.

    A link stays and its target is replaced; a pipe or a device, such as ``/dev/stdout``, is written directly.
    """
    with _errors_name(path):
        if _is_stream(path):
            Path(path).write_bytes(data)
            return
        target = os.path.realpath(path)
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner may read
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError that writing ``path`` would end in; for use before a long computation."""
    with _errors_name(path):
        if not _is_stream(path):
            with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
                pass


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Everything in the file, as ``load`` reads it but with NaN and infinity; text is refused, not left out."""
    contents = read_contents(path)
    _require_numbers(path, contents.not_numbers)
    try:
        return plain_arrays(contents.named)
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error


def _require_numbers(path: str | os.PathLike[str], others: Sequence[str]) -> None:
    if others:
        raise WeightsError(f"{path}: not numbers: {', '.join(others)}")


def not_finite(arrays: Mapping[str, Any]) -> list[str]:
    """A line for each array that holds NaN or infinity."""
    problems = []
    for name, value in arrays.items():
        array = np.asarray(value)
        if "float" in array.dtype.name and (bad := int(np.sum(~np.isfinite(array.astype(np.float64))))):
            problems.append(f"{name} holds {bad} of {array.size} values that are NaN or infinite")
    return problems


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """As ``np.savez``, which takes the names as keywords and so refuses ``file``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return buffer.getvalue()


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether this is there and is neither a file nor a directory."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextmanager
def _errors_name(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the operating system name the file asked for, instead of a temporary one beside it."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "this is a directory, a file name is needed")
        if not os.path.isdir(directory := os.path.dirname(os.path.realpath(path))):
            raise FileNotFoundError(errno.ENOENT, f"there is no directory {directory}")
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def _umask() -> int:
    mask = os.umask(0)  # the mask can only be read by setting it
    os.umask(mask)
    return mask
