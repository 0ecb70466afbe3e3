"""Write files completely or not at all: the old content stays until the new content is on the disk."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write the bytes to a temporary file next to ``path``, flush it to the disk, and rename it into place.

    An existing file keeps its permissions, and its owner if the system allows it. A new file gets the permissions of
    the umask. A link stays a link, and its target is replaced. A pipe or a device, such as ``/dev/stdout``, is written
    directly.

    Raises:
        OSError: the file could not be written, or not safely. The old content is untouched, unless only the last step
            failed: flushing the directory. In that case the complete new content is there.
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
    """Raise the OSError that writing ``path`` would raise. To be called before a long computation."""
    with _errors_name(path):
        if not _is_stream(path):
            with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
                pass


def _write_new(path: str, data: bytes, like: os.stat_result | None) -> None:
    """Write these bytes to a new file, and return when it is on the disk.

    This does not use Python's file objects, so that every system call that can fail, also the closing, is made here.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # Nobody else may read it before it has the permissions of the file that it replaces.
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
            with suppress(PermissionError):  # only root may change a file's owner
                os.fchown(handle, like.st_uid, like.st_gid)
    os.chmod(handle if os.chmod in os.supports_fd else path, stat.S_IMODE(like.st_mode))


def _flush_directory(directory: str) -> None:
    """Flush a directory to the disk: only then is a new name in it safe."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot do this, and need not
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # these two: the file system cannot do it
            raise
    finally:
        os.close(handle)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether the path exists and is neither a file nor a directory."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextmanager
def _errors_name(path: str | os.PathLike[str]) -> Generator[None]:
    """Make system errors name the file that the caller wants to write, not the temporary one."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "this is a directory, a file name is needed")
        if not os.path.isdir(directory := os.path.dirname(os.path.realpath(path))):
            raise FileNotFoundError(errno.ENOENT, f"there is no directory {directory}")
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
