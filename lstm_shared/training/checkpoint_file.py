"""The file of one checkpoint, the same for both backends: arrays by name, the run they belong to, and a checksum.

    lstm-parity checkpoint 1 <sha256 of all that follows this line> <bytes of the next line>
    {"epoch": …, "run": {…}, "arrays": [[name, dtype, shape], …]}
    <the arrays' bytes, in that order>

safetensors has no checksum and ``.npz`` one of 32 bits an entry, and both know fewer dtypes; orbax and Lightning do
not write a file whole or not at all, and add no checksum. Nothing in such a file is ever executed.
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

MAGIC = b"lstm-parity checkpoint 1 "  # what the file begins with
_FIRST_LINE = re.compile(MAGIC + rb"([0-9a-f]{64}) ([0-9]{1,9})\n")
_LONGEST_FIRST_LINE = 128
_BLOCK = 2**20  # bytes read at a time while the checksum is computed: memory does not grow with the file
_LITTLE_ENDIAN = "<"  # the byte order in the file, on every machine


class DamagedError(Exception):
    """The file is not a checkpoint, or is damaged; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was at the end of an epoch.

    Attributes:
        epoch: the number of epochs that were done.
        run: which run it belongs to, as ``lstm_shared.training.run_identity`` describes one.
        arrays: name -> array: the losses and predictions so far, and what the backend needs to go on.
    """

    epoch: int
    run: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole or not at all; it is on the disk when this returns.

    Raises:
        OSError: it could not be written.
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
    """Read a checkpoint, after comparing its checksum.

    Raises:
        DamagedError: the file is damaged, cut off, or no checkpoint.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        return parse_checkpoint(file)


def parse_checkpoint(file: io.BufferedIOBase) -> Checkpoint:
    """As ``read_checkpoint``, from an open file that can seek.

    Raises:
        DamagedError: as there.
    """
    match = _FIRST_LINE.fullmatch(_read(file.readline, _LONGEST_FIRST_LINE))
    if match is None:
        raise DamagedError("does not begin as a checkpoint does")
    start = file.tell()
    digest = hashlib.sha256()
    while block := _read(file.read, _BLOCK):
        digest.update(block)
    if digest.hexdigest() != match[1].decode():
        raise DamagedError("is damaged: its checksum does not fit its content")
    size = file.tell() - start
    file.seek(start)
    # From here on the content is as it was written, though perhaps not by this program.
    try:
        return _parse(file, int(match[2]), size)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError("is no checkpoint of this program, though its checksum fits") from error


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
        content = bytearray(size)  # and not bytes, so that the array can be written to
        file.readinto(content)
        stored = dtype.newbyteorder(_LITTLE_ENDIAN)
        arrays[name] = np.frombuffer(content, stored).reshape(shape).astype(dtype, copy=False)
    return Checkpoint(about["epoch"], about["run"], arrays)


def _read(how: Callable[[int], bytes], size: int) -> bytes:
    try:
        return how(size)
    except OSError as error:  # a bad place on the disk
        raise DamagedError(f"cannot be read: {error.strerror or error}") from error


def _in_file_order(array: Any) -> np.ndarray:
    array = np.asarray(array, order="C")
    return array.astype(array.dtype.newbyteorder(_LITTLE_ENDIAN), copy=False)
