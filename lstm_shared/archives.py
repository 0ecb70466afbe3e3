"""Zip archives that anybody may have made: sizes before memory, and every byte that is read checked by its CRC."""

import io
import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager

from lstm_shared.errors import WeightsError
from lstm_shared.sizes import require_size

# The methods of NumPy and PyTorch. The others of the zip format unpack without a limit in Python's reader.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 2**20


@contextmanager
def open_archive(data: bytes) -> Generator[zipfile.ZipFile]:
    """The archive in these bytes, after its headers have been checked. What is read of it is checked by its CRC.

    Raises:
        WeightsError: its members would take too much, or are packed in a way that nobody packs weights.
        zipfile.BadZipFile and others: it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if other := [member.filename for member in members if member.compress_type not in _METHODS]:
            raise WeightsError(f"{other[0]} is packed with another method than zip's own: save it without")
        _require_all(data, len(members))
        if archive.comment:  # it may hold a second directory, and readers differ in which one they take
            raise WeightsError("a comment at its end, which no program that saves weights writes: save it again")
        # No member unpacks to more than its header says: the reader stops there. Members may lie over one another, so
        # their sum is what counts, and not what the file has room for.
        require_size(sum(member.file_size for member in members), len(data))
        yield archive


def _require_all(data: bytes, found: int) -> None:
    """Whether the directory has as many entries as its end says: a damaged length in it swallows those that follow."""
    end = data.rfind(b"PK\x05\x06")
    said = int.from_bytes(data[end + 10 : end + 12], "little")
    if said not in (found, 0xFFFF):  # the latter where there are more than fit
        raise WeightsError(f"damaged: its directory names {found} members, and its end says {said}")


def written_anew(archive: zipfile.ZipFile, *, may_lack_crc: bool = False) -> io.BytesIO:
    """The same members in a new archive, unpacked, each checked by its CRC: for a reader that checks nothing itself.

    A damaged directory may lead two readers to different bytes; of the new archive there is one reading only.

    Args:
        may_lack_crc: whether an archive whose every CRC is zero was written without any, as ``torch.save`` does after
            ``torch.serialization.set_crc32_options(False)``; there is nothing to check then.

    Raises:
        WeightsError: a member is not what was written, or there twice.
    """
    members = archive.infolist()
    if may_lack_crc and not any(member.CRC for member in members):
        for member in members:
            del member.CRC  # the reader compares it where there is one
    names: set[str] = set()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for member in members:
            if member.filename in names:
                raise WeightsError(f"damaged: {member.filename} is in it twice")
            names.add(member.filename)
            try:
                with archive.open(member) as old, new.open(member.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(old, copy, _CHUNK)
                whole = new.getinfo(member.filename).file_size == member.file_size
            except MemoryError:
                raise
            except Exception:  # zipfile and zlib raise many kinds
                whole = False
            if not whole:
                raise WeightsError(f"damaged: {member.filename} in it is not what was written (its CRC is another)")
    buffer.seek(0)
    return buffer
