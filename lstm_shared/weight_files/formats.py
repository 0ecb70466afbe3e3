"""Find out the kind of a weight file from its content, and read it. The name decides only if the content does not."""

import io
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import ml_dtypes
import numpy as np
import safetensors

from lstm_shared.errors import InputError, WeightsError
from lstm_shared.training.checkpoint_file import MAGIC, DamagedError, parse_checkpoint
from lstm_shared.weight_files.contents import Contents, Unreadable
from lstm_shared.weight_files.numpy_files import first_line, read_npz
from lstm_shared.weight_files.torch_files import read_torch

Reader = Callable[[str, bytes], Contents]

# safetensors.numpy writes bfloat16 but cannot read it. This is its table, with bfloat16 added.
SAFETENSORS_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself

_HEAD = 512  # bytes needed to tell the kind: the mark of a tar archive ends at byte 262
_TORCH_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save began with this number, pickled

# Checkpoints of the JAX backend hold the weights as state[0], with a key per level: state[0]['lstm']['weight_ih_l0'].
_STATE = "state[0]"
_KEY = re.compile(r"\['([^']*)'\]|\[([0-9]+)\]|\.(\w+)")


def read_contents(path: str | os.PathLike[str]) -> Contents:
    """Return the tensors in a file of any kind. All code that reads weights calls this, once.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: the file type cannot be told from the content or the name.
        WeightsError: the file is empty, damaged, of a kind that we do not read, or holds objects that only their own
            code can create.
    """
    try:
        with Path(path).open("rb") as file:
            # Stop if the first bytes show that it is not a weight file, because a device may have no end.
            data = file.read(_HEAD)
            reader = _BY_NAME.get(Path(path).suffix.lower())
            if reader or _by_content(data) or data.startswith(b"PK"):
                data += file.read()
                reader = _by_content(data) or reader
        if reader is None:
            names = ", ".join(READABLE)
            raise InputError(
                f"{path}: its content is of no known kind; if it is a weight file, its name must end in one of {names}"
            )
        if not data:
            raise WeightsError(f"{path}: the file is empty")
        return reader(str(path), data)
    except MemoryError as error:
        raise WeightsError(f"{path}: there is not enough memory to read it") from error


def _by_content(data: bytes) -> Reader | None:
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < _LONGEST_HEADER:
        return _read_safetensors
    if data.startswith(_TORCH_BEFORE_1_6) or data[257:262] == b"ustar":
        return read_torch
    if data.startswith(b"\x80") and data[1:2] in b"\2\3\4\5":
        return _refuse_pickle
    if data.startswith(MAGIC):
        return _read_checkpoint
    if data.startswith(b"\x89HDF\r\n"):
        return _refuse_hdf5
    return _by_names_in_zip(data) if data.startswith(b"PK") else None


def _by_names_in_zip(data: bytes) -> Reader | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except Exception:  # it is damaged, and the reader chosen by its name will say so
        return None
    roots = [name.removesuffix("data.pkl") for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if roots and roots[0] + "constants.pkl" in names:
        return _read_torchscript
    if roots:
        return read_torch
    return read_npz if names and all(name.endswith(".npy") for name in names) else None


def _read_safetensors(path: str, data: bytes) -> Contents:
    try:
        tensors: dict[str, dict[str, Any]] = dict(safetensors.deserialize(data))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file: {first_line(error)}") from error
    arrays: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if dtype := SAFETENSORS_DTYPES.get(tensor["dtype"]):
            try:
                # safetensors has compared the shapes with the bytes, but NumPy allows no more than 64 axes.
                arrays[name] = np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])
            except ValueError as error:
                arrays[name] = Unreadable(f"cannot have the shape {_few(tensor['shape'])}: {first_line(error)}")
        else:
            arrays[name] = Unreadable(f"holds {tensor['dtype']}, which NumPy does not have: save it as float32")
    return Contents(arrays)


def _read_checkpoint(path: str, data: bytes) -> Contents:
    """Return the weights in a checkpoint that ``fit`` wrote, with either backend."""
    try:
        arrays = parse_checkpoint(io.BytesIO(data)).arrays
    except DamagedError as error:
        raise WeightsError(f"{path}: {error}") from error
    if "lightning" in arrays:
        return read_torch(path, arrays["lightning"].tobytes())
    keys = {name: _KEY.findall(name.removeprefix(_STATE)) for name in arrays if name.startswith(_STATE)}
    return Contents({".".join(map("".join, levels)): arrays[name] for name, levels in keys.items()})


def _few(shape: Sequence[int]) -> str:
    """Return a shape in few characters, however many axes it has."""
    sizes = ", ".join(map(str, shape[:6]))
    return f"({sizes}, … {len(shape)} axes)" if len(shape) > 6 else f"({sizes})"


def _read_torchscript(path: str, data: bytes) -> Contents:
    from lstm_shared.weight_files.torchscript import read_torchscript

    return read_torchscript(path, data)


def _refuse_pickle(path: str, data: bytes) -> NoReturn:
    raise WeightsError(
        f"{path}: refused, it is a pickle (unpickling it would run its code): if you trust it, load it in Python and "
        'save the arrays with lstm_shared.save("weights.safetensors", …)'
    )


def _refuse_hdf5(path: str, data: bytes) -> NoReturn:
    raise WeightsError(
        f"{path}: HDF5 is not supported: save a layer's arrays with "
        "numpy.savez(…, kernel=…, recurrent_kernel=…, bias=…), and pass that file to lstm-parity convert --from keras"
    )


def _refuse_onnx(path: str, data: bytes) -> NoReturn:
    raise WeightsError(
        f"{path}: ONNX is not supported: save an LSTM node's arrays with numpy.savez(…, W=…, R=…, B=…), and pass that "
        "file to lstm-parity convert --from onnx"
    )


READABLE = (".safetensors", ".npz", ".pt", ".pth", ".ckpt")
_BY_NAME: dict[str, Reader] = {
    ".safetensors": _read_safetensors,
    ".npz": read_npz,
    ".pt": read_torch,
    ".pth": read_torch,
    ".ckpt": read_torch,
    ".onnx": _refuse_onnx,
}
