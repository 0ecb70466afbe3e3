"""The file format of a checkpoint, the same for both backends: named arrays, the run they belong to, and a checksum.

    lstm-parity checkpoint 1 <sha256 of all that follows this line> <bytes of the next line>
    {"epoch": …, "run": {…}, "arrays": [[name, dtype, shape], …]}
    <the arrays' bytes, in that order>

Other formats would not do. safetensors has no checksum, ``.npz`` has only 32 bits per entry, and both know fewer
dtypes. orbax and Lightning may leave an incomplete file, and add no checksum. Nothing in our files is ever executed.
"""

import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # pyright: ignore[reportUnusedImport]  makes bfloat16 a name that NumPy knows
import numpy as np

from lstm_shared.safe_writing import write_file

MAGIC = b"lstm-parity checkpoint 1 "  # the first bytes of the file
_FIRST_LINE = re.compile(MAGIC + rb"([0-9a-f]{64}) ([0-9]{1,9})\n")
_LONGEST_FIRST_LINE = 128
_BLOCK = 2**20  # bytes to read at a time for the checksum, so that memory does not grow with the file
_LITTLE_ENDIAN = "<"  # the byte order in the file, on every machine


class DamagedError(Exception):
    """The file is not a checkpoint, or is damaged. The message gives the reason, as the end of a sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run at the end of an epoch.

    Attributes:
        epoch: number of epochs done.
        run: the run that it belongs to, as described by ``lstm_shared.training.run_identity``.
        arrays: name -> array: the losses and predictions so far, and what the backend needs to go on.
    """

    epoch: int
    run: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file completely or not at all. It is on the disk when this returns.

    Raises:
        OSError: the file could not be written.
    """
    arrays = {name: _in_file_order(array) for name, array in checkpoint.arrays.items()}
    about = {
        "epoch": checkpoint.epoch,
        "run": checkpoint.run,
        "arrays": [[name, array.dtype.name, array.shape] for name, array in arrays.items()],
    }
    header = json.dumps(about).encode() + b"\n"
    parts = [header, *(array.reshape(-1).view(np.uint8).data for array in arrays.values())]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    first = MAGIC + f"{digest.hexdigest()} {len(header)}\n".encode()
    write_file(path, b"".join([first, *parts]))


def read_checkpoint(path: Path) -> Checkpoint:
    """Check the checksum of a checkpoint, and read it.

    Raises:
        DamagedError: the file is damaged, truncated, or not a checkpoint.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        return parse_checkpoint(file)


def parse_checkpoint(file: io.BufferedIOBase) -> Checkpoint:
    """Read a checkpoint from an open file that can seek, as ``read_checkpoint`` does from a path.

    Raises:
        DamagedError: as in ``read_checkpoint``.
    """
    match = _FIRST_LINE.fullmatch(_read(file.readline, _LONGEST_FIRST_LINE))
    if match is None:
        raise DamagedError("does not begin like a checkpoint")
    start = file.tell()
    digest = hashlib.sha256()
    while block := _read(file.read, _BLOCK):
        digest.update(block)
    if digest.hexdigest() != match[1].decode():
        raise DamagedError("is damaged: its checksum does not match its content")
    size = file.tell() - start
    file.seek(start)
    # From here on the content is what was written, though perhaps not by this program.
    try:
        return _parse(file, int(match[2]), size)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError("is not a checkpoint of this program, though its checksum matches") from error


def _parse(file: io.BufferedIOBase, header_size: int, size: int) -> Checkpoint:
    header = file.read(header_size)
    about = json.loads(header)
    declared = [(name, np.dtype(dtype), tuple(map(int, shape))) for name, dtype, shape in about["arrays"]]
    sizes = [dtype.itemsize * math.prod(shape) for _, dtype, shape in declared]
    odd = any(dtype.hasobject or min(shape, default=0) < 0 for _, dtype, shape in declared)
    odd = odd or len(header) != header_size
    if odd or sum(sizes) != size - header_size or type(about["epoch"]) is not int or not isinstance(about["run"], dict):
        raise ValueError("sizes or kinds that no checkpoint has")
    arrays: dict[str, np.ndarray] = {}
    for (name, dtype, shape), size in zip(declared, sizes, strict=True):
        content = bytearray(size)  # not bytes, so that the array is writable
        file.readinto(content)
        stored = dtype.newbyteorder(_LITTLE_ENDIAN)
        arrays[name] = np.frombuffer(content, stored).reshape(shape).astype(dtype, copy=False)
    return Checkpoint(about["epoch"], about["run"], arrays)


def _read(how: Callable[[int], bytes], size: int) -> bytes:
    try:
        return how(size)
    except OSError as error:  # a bad block on the disk
        raise DamagedError(f"cannot be read: {error.strerror or error}") from error


def _in_file_order(array: Any) -> np.ndarray:
    array = np.asarray(array, order="C")
    return array.astype(array.dtype.newbyteorder(_LITTLE_ENDIAN), copy=False)
