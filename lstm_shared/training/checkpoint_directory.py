"""The checkpoint directory of one run. It is locked during the run, keeps a few checkpoints, and skips damaged ones."""

import errno
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from lstm_shared.errors import InputError
from lstm_shared.training.checkpoint_file import Checkpoint, DamagedError, read_checkpoint, write_checkpoint

try:
    import fcntl
except ImportError:  # on Windows nothing is locked
    fcntl = None

# With three, a run can still go on if a failing disk has truncated one and another is damaged, too.
KEPT = 3

_NAME = re.compile(r"epoch-(0|[1-9][0-9]{0,17})\.checkpoint")
_OF_ORBAX = "_CHECKPOINT_METADATA"  # a file in each checkpoint directory that orbax writes
_LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")  # temporary files that a killed process left


class CheckpointDirectory:
    """A checkpoint directory as a context manager: no other run can write to it inside the block.

    Attributes:
        path: the directory, as messages name it.
        notes: lines for the user about damaged checkpoints that were skipped.

    Raises:
        InputError: another run is using the directory.
        OSError: the directory cannot be created or written to.
    """

    def __init__(self, path: Path):
        self.path = path
        self._place = path.absolute()  # because the run may change its working directory
        self.notes: list[str] = []
        self._damaged: list[Path] = []
        self._lock: int | None = None

    def __enter__(self) -> Self:
        os.makedirs(self._place, exist_ok=True)
        self._lock = os.open(self._place / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            self._take_lock(self._lock)
            for leftover in filter(lambda file: _LEFTOVER.fullmatch(file.name), self._files()):
                leftover.unlink()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def require_fresh(self) -> None:
        """Refuse to start a new run in a directory that holds a checkpoint.

        Raises:
            InputError: there is a checkpoint, sound or damaged.
        """
        self._refuse_former()
        if epochs := self._epochs():
            raise InputError(
                f"{self.path}: holds a checkpoint at epoch {max(epochs)}: resume it, or choose another directory"
            )

    def newest(self) -> Checkpoint | None:
        """Return the newest sound checkpoint, or None if there are no checkpoints. Adds skipped ones to ``notes``.

        Raises:
            InputError: there are checkpoints, but none is sound.
            PermissionError: the user may not read a checkpoint.
        """
        self._refuse_former()
        damage: list[str] = []
        for epoch, path in sorted(self._epochs().items(), reverse=True):
            try:
                checkpoint = _read(path, epoch)
            except DamagedError as error:
                damage.append(f"{path.name} {error}")
                self._damaged.append(path)
                continue
            if damage:
                self.notes.append(f"{self.path}: {'; '.join(damage)}; continuing from {path.name}")
            return checkpoint
        if damage:
            raise InputError(f"{self.path}: no checkpoint is usable: {'; '.join(damage)}: choose another directory")
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and then remove those that are no longer needed.

        Raises:
            OSError: the checkpoint could not be written. Earlier ones are still there.
        """
        write_checkpoint(self._place / f"epoch-{checkpoint.epoch}.checkpoint", checkpoint)
        sound = [
            epoch for epoch, path in self._epochs().items() if path not in self._damaged and epoch <= checkpoint.epoch
        ]
        wanted = sorted({*sound, checkpoint.epoch})[-KEPT:]
        for epoch, path in self._epochs().items():
            if epoch not in wanted:
                path.unlink()
        self._damaged.clear()

    def _take_lock(self, lock: int) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(self.path)) from error
            raise InputError(
                f"{self.path}: another run is writing checkpoints here: wait until it ends, or choose another directory"
            ) from None

    def _release(self) -> None:
        if self._lock is not None:
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # otherwise a process that was forked meanwhile would keep it
            os.close(self._lock)
            self._lock = None

    def _files(self) -> list[Path]:
        return sorted(self._place.iterdir())

    def _epochs(self) -> dict[int, Path]:
        """Return epoch -> file, for everything that is named like a checkpoint."""
        return {int(match[1]): path for path in self._files() if (match := _NAME.fullmatch(path.name))}

    def _refuse_former(self) -> None:
        former = [path.name for path in self._files() if path.suffix == ".ckpt" or (path / _OF_ORBAX).exists()]
        if former:
            raise InputError(
                f"{self.path}: holds checkpoints of another program or of an earlier version ({former[0]}), "
                "which cannot be resumed: choose another directory"
            )


def _read(path: Path, epoch: int) -> Checkpoint:
    try:
        checkpoint = read_checkpoint(path)
    except PermissionError:
        raise
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror or error}") from error
    if checkpoint.epoch != epoch:
        raise DamagedError(f"holds epoch {checkpoint.epoch}")
    return checkpoint
