"""Read NumPy's files, ``.npz`` and ``.npy``: plain numbers in any byte order. No pickle is executed.

Before an array is made, its size is compared with the bytes in the file.
"""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from lstm_shared.errors import InputError, WeightsError
from lstm_shared.weight_files.archives import open_archive
from lstm_shared.weight_files.contents import Contents, Unreadable


def read_npz(path: str, data: bytes) -> Contents:
    """Return the arrays in an ``.npz``.

    Raises:
        WeightsError: the file is damaged, or would take too much memory.
    """
    damaged = f"{path}: damaged, or not an .npz of plain arrays"
    if not data.startswith(b"PK"):
        raise WeightsError(damaged)
    arrays: dict[str, Any] = {}
    others: list[str] = []
    try:
        with open_archive(data) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                content = archive.read(member)  # read it even if it is not an .npy, because its name may be damaged
                array = parse_npy(content) if member.filename.endswith(".npy") else None
                if name in arrays:
                    raise WeightsError(f"two arrays are called {name}")
                if array is None:
                    others.append(name)
                else:
                    arrays[name] = array
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors for a damaged archive
        raise WeightsError(f"{damaged}: {first_line(error)}") from error
    return Contents(arrays, not_numbers=tuple(others))


def read_npy(path: Path) -> np.ndarray:
    """Return the array of numbers in an ``.npy`` file.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: the file is damaged, is not an ``.npy`` file, or does not hold numbers.
    """
    try:
        array = parse_npy(path.read_bytes())
    except OSError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: there is not enough memory to read it") from error
    except Exception as error:  # NumPy raises many kinds of errors
        raise InputError(f"{path}: damaged, or not an .npy of plain numbers: {first_line(error)}") from error
    if array is None:
        raise InputError(f"{path}: holds text or dates, expected numbers")
    if isinstance(array, Unreadable):
        raise InputError(f"{path}: it {array.why}")
    return array


def parse_npy(data: bytes) -> np.ndarray | Unreadable | None:
    """Return an array of numbers in this machine's byte order, or None for text and dates.

    Raises:
        ValueError: the bytes are not an array, or do not match its header.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"unknown format version {version}")
    if version == (1, 0):
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    else:  # version 3.0 is 2.0 with field names in UTF-8
        shape, by_column, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        return Unreadable("is refused: it holds Python objects, and unpickling them would run their code")
    if dtype.kind in "USMm":
        return None
    if dtype.names is not None or dtype.subdtype is not None:
        return Unreadable("holds records of several fields, expected plain numbers")
    if dtype.kind == "V":
        return Unreadable("holds bytes without a dtype, as .npz keeps bfloat16: save it as .safetensors or as float32")
    if dtype.kind not in "fiub":
        return Unreadable(f"holds {dtype}: weights are floating-point numbers")
    there = len(data) - file.tell()
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != there:
        raise ValueError(f"its header says shape {shape} of {dtype}, {claimed} bytes, but there are {there}")
    array = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if by_column else "C")
    return array.astype(dtype.newbyteorder("="), copy=True)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class if there is none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
