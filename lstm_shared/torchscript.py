"""TorchScript archives (``torch.jit.save``): their tensors are read, and none of the code in them is run.

``torch.jit.load`` would compile the archive's code and run its ``__setstate__`` methods. Its ``data.pkl`` is a
pickle, but of modules of the archive only; here every name in it stands for something of ours that does nothing but
keep what it is given, so that reading it imports nothing and calls nothing else.
"""

import io
import math
import pickle
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

from lstm_shared.contents import Contents, Unreadable, flattened
from lstm_shared.errors import WeightsError

_DTYPES = {
    "Double": np.float64, "Float": np.float32, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64, "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_,
}  # fmt: skip


def read_torchscript(path: str, data: bytes) -> Contents:
    """The tensors of an archive, by the names of the modules that hold them.

    Raises:
        WeightsError: it is damaged, or has no tensors.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            root = next(name for name in archive.namelist() if name.endswith("constants.pkl"))
            root = root.removesuffix("constants.pkl")
            if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") != b"little":
                raise WeightsError("a TorchScript archive of a big-endian machine is not read")
            content = _unpickler(archive, root).load()
            full, _ = flattened(content, (np.ndarray, Unreadable))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle or zip makes their readers raise many kinds
        raise WeightsError(f"{path}: damaged, or not a TorchScript archive") from error
    if not full:
        raise WeightsError(f"{path}: a TorchScript archive without tensors")
    return Contents(full)


def _unpickler(archive: zipfile.ZipFile, root: str) -> pickle.Unpickler:
    """Made anew for each file, because a pickle can set attributes on the classes and functions it is given."""

    class Module(dict):
        """A module, as the dictionary of its attributes."""

        def __new__(cls, *_: Any) -> "Module":
            return super().__new__(cls)

        def __init__(self, *_: Any) -> None:
            super().__init__()

        def __setstate__(self, state: Any) -> None:
            self.update(state if isinstance(state, dict) else {"state": state})

    def first(value: Any = None, *_: Any) -> Any:
        """The lists and dictionaries of TorchScript are the plain ones, with a type beside them."""
        return value

    def tensor(storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Any:
        if isinstance(storage, Unreadable):
            return storage
        if math.prod(shape) == 0:
            return np.empty(shape, storage.dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides)) < 0 or last >= len(storage):
            raise ValueError("a tensor that begins or ends outside its storage")
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()

    class Inert(pickle.Unpickler):
        """Every name stands for one of the three above; nothing is looked up or imported."""

        def find_class(self, module_name: str, global_name: str, /) -> Any:
            if module_name == "torch" and global_name.endswith("Storage"):
                return global_name.removesuffix("Storage")
            if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
                return tensor
            return first if module_name == "torch.jit._pickle" else Module

        def persistent_load(self, pid: Any, /) -> Any:
            _, kind, key, _, _ = pid
            if kind not in _DTYPES:
                return Unreadable(f"holds {kind}, which NumPy has not")
            return np.frombuffer(archive.read(f"{root}data/{key}"), _DTYPES[kind])

    return Inert(io.BytesIO(archive.read(root + "data.pkl")))
