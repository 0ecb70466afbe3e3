"""Read zip archives from anywhere: check sizes before allocating memory, and the CRC of everything that is read."""

import io
import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager

from lstm_shared.errors import WeightsError
from lstm_shared.sizes import require_size

# The methods that NumPy and PyTorch use. Python's reader has no size limit for the zip format's other methods.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 2**20


@contextmanager
def open_archive(data: bytes) -> Generator[zipfile.ZipFile]:
    """Check the headers of the archive in these bytes, and open it. Reading a member then checks its CRC.

    Raises:
        WeightsError: its members would take too much memory, or are compressed in a way that is not used for weights.
        zipfile.BadZipFile and others: it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if other := [member.filename for member in members if member.compress_type not in _METHODS]:
            raise WeightsError(f"{other[0]} uses a compression other than zip's usual one: save it uncompressed")
        _require_all(data, len(members))
        if archive.comment:  # it may hold a second directory, and readers differ in which one they use
            raise WeightsError("it ends in a comment, which no program that saves weights writes: save it again")
        # No member unpacks to more than its header says, because the reader stops there. Members may overlap in the
        # file, so check the sum of their sizes.
        require_size(sum(member.file_size for member in members), len(data))
        yield archive


def _require_all(data: bytes, found: int) -> None:
    """Refuse a directory whose end gives another number of entries: a damaged length hides the entries after it."""
    end = data.rfind(b"PK\x05\x06")
    said = int.from_bytes(data[end + 10 : end + 12], "little")
    if said not in (found, 0xFFFF):  # 0xFFFF stands for any larger number
        raise WeightsError(f"damaged: its directory names {found} members, but its end says {said}")


def written_anew(archive: zipfile.ZipFile, *, may_lack_crc: bool = False) -> io.BytesIO:
    """Unpack the members, check their CRCs, and copy them to a new archive, for a reader that checks nothing itself.

    If the directory is damaged, two readers may find different bytes. The new archive can be read in only one way.

    Args:
        may_lack_crc: whether every CRC may be zero. ``torch.save`` writes such archives, without CRCs, after
            ``torch.serialization.set_crc32_options(False)``. Then there is nothing to check.

    Raises:
        WeightsError: a member is damaged, or occurs twice.
    """
    members = archive.infolist()
    if may_lack_crc and not any(member.CRC for member in members):
        for member in members:
            del member.CRC  # without it the reader does not check
    names: set[str] = set()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for member in members:
            if member.filename in names:
                raise WeightsError(f"damaged: it contains {member.filename} twice")
            names.add(member.filename)
            try:
                with archive.open(member) as old, new.open(member.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(old, copy, _CHUNK)
                whole = new.getinfo(member.filename).file_size == member.file_size
            except MemoryError:
                raise
            except Exception:  # zipfile and zlib raise many kinds of errors
                whole = False
            if not whole:
                raise WeightsError(f"damaged: {member.filename} in it is not what was written (its CRC does not match)")
    buffer.seek(0)
    return buffer
