"""Read the tensors in TorchScript archives (``torch.jit.save``) without running any of the code in them.

``torch.jit.load`` would compile the archive's code and run its ``__setstate__`` methods. The archive's ``data.pkl`` is
a pickle, but it names only modules of the archive. The reader here replaces every name by something from this file
that just keeps its arguments. So reading imports nothing and calls nothing else.
"""

import io
import math
import pickle
import pickletools
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

from lstm_shared.argument_kinds import is_mapping
from lstm_shared.errors import WeightsError
from lstm_shared.sizes import require_size
from lstm_shared.weight_files.archives import open_archive
from lstm_shared.weight_files.contents import Contents, Unreadable, flattened

_MOST_AXES = 64  # the limit of NumPy arrays
_DTYPES = {
    "Double": np.float64, "Float": np.float32, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64, "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_,
}  # fmt: skip


def read_torchscript(path: str, data: bytes) -> Contents:
    """Return the tensors of an archive. Their names include the modules that hold them.

    Raises:
        WeightsError: the archive is damaged, or has no tensors.
    """
    try:
        with open_archive(data) as archive:
            root = next(name for name in archive.namelist() if name.endswith("constants.pkl"))
            root = root.removesuffix("constants.pkl")
            big = root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") == b"big"
            content = _unpickler(archive, root, ">" if big else "<", len(data)).load()
            full, _ = flattened(content, (np.ndarray, Unreadable))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # the readers of pickle and zip raise many kinds of errors for damaged files
        raise WeightsError(f"{path}: damaged, or not a TorchScript archive") from error
    if not full:
        raise WeightsError(f"{path}: a TorchScript archive without tensors")
    return Contents(full)


def _unpickler(archive: zipfile.ZipFile, root: str, byte_order: str, file_size: int) -> pickle.Unpickler:
    """Return an unpickler for one file. A pickle can set attributes on our classes and functions, so make new ones."""
    storages: dict[str, np.ndarray] = {}
    taken = 0

    class Module(dict[str, Any]):
        """A module as a dictionary of its attributes."""

        def __new__(cls, *_: Any) -> "Module":
            return super().__new__(cls)

        def __init__(self, *_: Any) -> None:
            super().__init__()

        def __setstate__(self, state: Any) -> None:
            self.update(state if is_mapping(state) else {"state": state})

    def first(value: Any = None, *_: Any) -> Any:
        """Return the first argument: TorchScript wraps plain lists and dictionaries in a call with their type."""
        return value

    def tensor(storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Any:
        if isinstance(storage, Unreadable):
            return storage
        nonlocal taken
        if len(shape) > _MOST_AXES:
            return Unreadable(f"has {len(shape)} axes, but NumPy arrays have at most {_MOST_AXES}")
        if math.prod(shape) == 0:
            return np.empty(shape, storage.dtype)
        taken += math.prod(shape) * storage.itemsize
        require_size(taken, file_size, "its tensors")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides)) < 0 or last >= len(storage):
            raise ValueError("a tensor begins or ends outside its storage")
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()

    class Inert(pickle.Unpickler):
        """An unpickler that looks up and imports nothing.

        Every name becomes ``tensor``, ``first``, ``Module`` or, for a storage, a string with its type.
        """

        def find_class(self, module_name: str, global_name: str, /) -> Any:
            if module_name == "torch" and global_name.endswith("Storage"):
                return global_name.removesuffix("Storage")
            if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
                return tensor
            return first if module_name == "torch.jit._pickle" else Module

        def persistent_load(self, pid: Any, /) -> Any:
            _, kind, key, _, _ = pid
            if kind not in _DTYPES:
                return Unreadable(f"holds {kind}, which NumPy does not have")
            if key not in storages:  # read it once, however often it is named
                dtype = np.dtype(_DTYPES[kind])
                bits = np.frombuffer(archive.read(f"{root}data/{key}"), f"{byte_order}u{dtype.itemsize}")
                storages[key] = bits.astype(f"=u{dtype.itemsize}", copy=False).view(dtype)
            return storages[key]

    pickled = archive.read(root + "data.pkl")
    _require_sound_memo(pickled)
    return Inert(io.BytesIO(pickled))


def _require_sound_memo(pickled: bytes) -> None:
    """Refuse a pickle with an absurd memo index.

    A pickle numbers the objects that it may need again, and Python allocates memory up to the highest number. In a
    damaged pickle that may be billions.

    Raises:
        ValueError: a number is higher than a pickle of this length can need.
    """
    for opcode, argument, _ in pickletools.genops(pickled):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > len(pickled):
            raise ValueError(f"the number {argument} in a pickle of {len(pickled)} bytes")
