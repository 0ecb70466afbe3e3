"""Read text files in UTF-8, plain or gzipped. Files that unpack to far more than their size are refused."""

import gzip
import io
import os
import zlib
from pathlib import Path

from lstm_shared.errors import InputError, WeightsError
from lstm_shared.sizes import require_size

_CHUNK = 2**20


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a CSV file.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: the file is damaged, binary, not UTF-8, empty, or unpacks to far more than its size.
    """
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = _unpacked(path, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: not UTF-8 text (byte 0x{data[error.start]:02x} in line {line}), expected a CSV file: "
            "export the table as CSV in UTF-8"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: binary, expected a CSV file: export the table as CSV in UTF-8")
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected a header and rows of dates and prices")
    return text


def _unpacked(path: str | os.PathLike[str], data: bytes) -> bytes:
    """Unpack in pieces, because a gzip file does not say in advance how much it holds."""
    pieces: list[bytes] = []
    size = 0
    try:
        with gzip.open(io.BytesIO(data)) as file:
            while piece := file.read(_CHUNK):
                pieces.append(piece)
                size += len(piece)
                require_size(size, len(data), "what it unpacks to")
    except WeightsError as error:
        raise InputError(f"{path}: not a file of prices: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}): download it or create it again") from error
    return b"".join(pieces)
