"""TensorBoard logs: each run has a directory of its own, or the curves of several runs would become one."""

import os
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger


def open_logger(log_dir: str | os.PathLike[str], former: str | None, first_step: int) -> TensorBoardLogger:
    """Return a logger that writes to ``version_0``, ``version_1``, … in ``log_dir``, whichever is the next.

    A resumed run continues in the directory that it wrote to before, if that is in ``log_dir``. TensorBoard then hides
    the steps that were logged after the checkpoint and that this run logs again.

    Args:
        log_dir: the directory of all runs; it is made if need be.
        former: what ``first_file`` returned for the run that is resumed, or None.
        first_step: the first step that this run takes.

    Raises:
        OSError: the directory cannot be made.
    """
    runs = Path(os.path.expandvars(log_dir)).expanduser().resolve()
    if former is not None and Path(former).parent.parent == runs and Path(former).is_file():
        return TensorBoardLogger(Path(former).parent, name="", version="", purge_step=first_step)
    return TensorBoardLogger(_make_directory(runs), name="", version="")


def first_file(logger: TensorBoardLogger) -> str | None:
    """Return the path of the first file in the logger's directory: no other run has a file of that name."""
    return min(map(str, Path(logger.log_dir).glob("events.out.tfevents.*")), default=None)


def _make_directory(runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        try:
            (directory := runs / f"version_{number}").mkdir()
        except FileExistsError:  # an earlier run has made it, or one that starts at this moment
            number += 1
        else:
            return directory
