"""Weight dictionaries on disk: safetensors and npz both ways, PyTorch and Lightning checkpoints to read.

No pickle is ever executed, and a file is written whole or not at all.
"""

import errno
import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from lstm_shared.describe import under_prefix
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.tensors import to_array

WRITABLE = (".safetensors", ".npz")
READABLE = (*WRITABLE, ".pt", ".pth", ".ckpt")

# safetensors.numpy writes bfloat16 but does not read it; this table is its own, with bfloat16 added.
_SAFETENSORS_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip

# Where training scripts commonly put the weights inside a checkpoint.
_STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")


def load(path: str | os.PathLike[str], prefix: str = "") -> dict[str, np.ndarray]:
    """Read a weight dictionary.

    Args:
        path: ``.safetensors``, ``.npz``, or a PyTorch ``.pt``/``.pth``/Lightning ``.ckpt`` (these import torch, and
            read tensors only).
        prefix: take only the names under this prefix and strip it; the dot at its end may be left out.

    Returns:
        name -> NumPy array in the file's dtype (bfloat16 as ``ml_dtypes.bfloat16``).

    Raises:
        OSError: there is no such file, or it cannot be read.
        WeightsError: the file is damaged, of another kind, holds Python objects, has nothing under the prefix, or
            holds NaN or infinity.
    """
    arrays = read_arrays(path)
    if prefix:
        try:
            arrays = under_prefix(arrays, prefix)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
    WeightsError.raise_any([f"{path}: {problem}" for problem in not_finite(arrays)])
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
    held = [np.dtype(dtype) for dtype in _SAFETENSORS_DTYPES.values() if kind != ".npz" or dtype != ml_dtypes.bfloat16]
    if refused := [name for name, array in arrays.items() if array.dtype not in held]:
        instead = "; use .safetensors" if arrays[refused[0]].dtype.name == "bfloat16" else ""
        raise InputError(f"{path}: {kind} cannot hold {arrays[refused[0]].dtype} ({', '.join(refused)}){instead}")
    write_file(path, safetensors.numpy.save(arrays) if kind == ".safetensors" else _npz(arrays))


def require_weights_name(path: str | os.PathLike[str]) -> str:
    """The file kind that a name ends in; an InputError unless ``save`` can write it."""
    return _kind(path, WRITABLE)


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
    """Everything in the file, as ``load`` reads it but without its check for NaN and infinity."""
    kind = _kind(path, READABLE)
    data = Path(path).read_bytes()
    if not data:
        raise WeightsError(f"{path}: the file is empty")
    if kind == ".safetensors":
        return _read_safetensors(path, data)
    if kind == ".npz":
        return _read_npz(path, data)
    return _read_torch(path, data)


def not_finite(arrays: Mapping[str, Any]) -> list[str]:
    """A line for each array that holds NaN or infinity."""
    problems = []
    for name, value in arrays.items():
        array = np.asarray(value)
        if "float" in array.dtype.name and (bad := int(np.sum(~np.isfinite(array.astype(np.float64))))):
            problems.append(f"{name} holds {bad} of {array.size} values that are NaN or infinite")
    return problems


def _read_safetensors(path: str | os.PathLike[str], data: bytes) -> dict[str, np.ndarray]:
    try:
        tensors = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file: {_first_line(error)}") from error
    if unknown := [name for name, tensor in tensors.items() if tensor["dtype"] not in _SAFETENSORS_DTYPES]:
        raise WeightsError(f"{path}: no NumPy dtype for {tensors[unknown[0]]['dtype']} ({', '.join(unknown)})")
    return {
        name: np.frombuffer(tensor["data"], _SAFETENSORS_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        for name, tensor in tensors.items()
    }


def _read_npz(path: str | os.PathLike[str], data: bytes) -> dict[str, np.ndarray]:
    damaged = f"{path}: damaged, or not an .npz of plain arrays"
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise WeightsError(damaged)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive makes zipfile, zlib and NumPy raise many kinds
        if "allow_pickle" in str(error):
            raise WeightsError(f"{path}: refused, it holds Python objects (unpickling them would run code)") from error
        raise WeightsError(f"{damaged}: {_first_line(error)}") from error
    if others := [
        name for name, array in arrays.items() if not (hasattr(array, "dtype") and array.dtype.kind in "fiub")
    ]:
        raise WeightsError(f"{path}: not numbers: {', '.join(others)}")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """As ``np.savez``, which takes the names as keywords and so refuses ``file``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return buffer.getvalue()


def _read_torch(path: str | os.PathLike[str], data: bytes) -> dict[str, np.ndarray]:
    import pickle  # only for the name of the exception

    try:
        import torch
    except ImportError as error:
        raise InputError(f"{path}: reading a PyTorch file needs torch: pip install 'lstm-parity[torch]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, it holds more than tensors (unpickling it would run its code) or is damaged: "
            "save model.state_dict() instead"
        ) from error
    except Exception as error:  # a damaged file makes torch's readers raise many kinds, none of which says more
        raise WeightsError(f"{path}: damaged, or not a PyTorch file") from error
    for key in _STATE_DICT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: no state dict in it: save model.state_dict()")
    arrays, others = {}, []
    for name, value in content.items():
        try:
            arrays[str(name)] = to_array(value)
        except (AttributeError, TypeError, RuntimeError):  # no tensor; of a dtype NumPy has not; sparse; without data
            others.append(str(name))
    if others:
        raise WeightsError(f"{path}: not a state dict of plain tensors, because of {_some(others)}")
    return arrays


def _kind(path: str | os.PathLike[str], kinds: tuple[str, ...]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in kinds:
        why = " (PyTorch files are read only)" if suffix in READABLE else ""
        raise InputError(f"{path}: the file name must end in one of {', '.join(kinds)}{why}")
    return suffix


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


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _umask() -> int:
    mask = os.umask(0)  # the mask can only be read by setting it
    os.umask(mask)
    return mask
