"""Files written whole or not at all: the old content stays until the new one is on the disk."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write the bytes to a temporary file beside ``path``, flush it to the disk, and rename it into place.

    A file that was there keeps its permissions, and its owner if the system allows it; a new one gets those of the
    umask. A link stays and its target is replaced; a pipe or a device, such as ``/dev/stdout``, is written directly.

    Raises:
        OSError: it could not be written, or not safely: what was there is untouched, unless it was the last step that
            failed, the flush of the directory. Then the whole of the new content is there.
    """
    with _errors_name(path):
        if _is_stream(path):
            Path(path).write_bytes(data)
            return
        target = os.path.realpath(path)
        directory = os.path.dirname(target)
        temporary = os.path.join(directory, f".{secrets.token_hex(8)}.tmp")
        before = _status(target)
        try:
            _write_new(temporary, data, before)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _flush_directory(directory)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError that writing ``path`` would raise; to be called before a long computation."""
    with _errors_name(path):
        if not _is_stream(path):
            with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
                pass


def _write_new(path: str, data: bytes, like: os.stat_result | None) -> None:
    """Write these bytes to a new file, which is on the disk when this returns. Without Python's file objects, so that
    every system call that can fail, closing included, is made here."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # Nobody else may look into it before it has the permissions of the file it replaces.
    handle = os.open(path, flags, 0o666 if like is None else 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        if like is not None:
            _make_like(handle, path, like)
        os.fsync(handle)
    except BaseException:
        with suppress(OSError):
            os.close(handle)
        raise
    os.close(handle)


def _make_like(handle: int, path: str, like: os.stat_result) -> None:
    if hasattr(os, "fchown"):
        own = os.fstat(handle)
        if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
            with suppress(PermissionError):  # only the superuser may give files away
                os.fchown(handle, like.st_uid, like.st_gid)
    os.chmod(handle if os.chmod in os.supports_fd else path, stat.S_IMODE(like.st_mode))


def _flush_directory(directory: str) -> None:
    """The new name is on the disk only when its directory is."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot, and need not
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that do not support it
            raise
    finally:
        os.close(handle)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether this exists and is neither a file nor a directory."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextmanager
def _errors_name(path: str | os.PathLike[str]) -> Generator[None]:
    """Make system errors name the file that was asked for, not the temporary one beside it."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "this is a directory, a file name is needed")
        if not os.path.isdir(directory := os.path.dirname(os.path.realpath(path))):
            raise FileNotFoundError(errno.ENOENT, f"there is no directory {directory}")
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
