"""Zip archives from anywhere: sizes are checked before memory is taken, and all that is read is checked by CRC."""

import io
import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager

from lstm_shared.errors import WeightsError
from lstm_shared.sizes import require_size

# The methods that NumPy and PyTorch use. Python's reader unpacks the zip format's other methods without a limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 2**20


@contextmanager
def open_archive(data: bytes) -> Generator[zipfile.ZipFile]:
    """Open the archive in these bytes once its headers have been checked. What is read from it is checked by CRC.

    Raises:
        WeightsError: its members would take too much memory, or are packed in a way that is not used for weights.
        zipfile.BadZipFile and others: it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if other := [member.filename for member in members if member.compress_type not in _METHODS]:
            raise WeightsError(f"{other[0]} is packed with another method than zip's own: save it without")
        _require_all(data, len(members))
        if archive.comment:  # it may hold a second directory, and readers differ in which one they take
            raise WeightsError("a comment at its end, which no program that saves weights writes: save it again")
        # No member unpacks to more than its header says: the reader stops there. Members may overlap in the
        # file, so the sum of their sizes counts, and not the size of the file.
        require_size(sum(member.file_size for member in members), len(data))
        yield archive


def _require_all(data: bytes, found: int) -> None:
    """Refuse a directory whose end says another number of entries: one damaged length hides those that follow."""
    end = data.rfind(b"PK\x05\x06")
    said = int.from_bytes(data[end + 10 : end + 12], "little")
    if said not in (found, 0xFFFF):  # 0xFFFF if there are more than fit
        raise WeightsError(f"damaged: its directory names {found} members, and its end says {said}")


def written_anew(archive: zipfile.ZipFile, *, may_lack_crc: bool = False) -> io.BytesIO:
    """Copy the members, unpacked and checked by CRC, to a new archive, for a reader that checks nothing itself.

    With a damaged directory two readers may find different bytes. The new archive can be read in one way only.

    Args:
        may_lack_crc: take an archive in which every CRC is zero for one that was written without them, as
            ``torch.save`` does after ``torch.serialization.set_crc32_options(False)``. Then there is nothing to check.

    Raises:
        WeightsError: a member is damaged, or is there twice.
    """
    members = archive.infolist()
    if may_lack_crc and not any(member.CRC for member in members):
        for member in members:
            del member.CRC  # without it the reader does not compare
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
