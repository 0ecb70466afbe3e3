"""Make standard output and standard error fit for a command: always open, able to print any text, and quiet."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress

# This environment variable shows libraries' warnings and logs, and tracebacks of our own bugs.
DEBUG = "LSTM_PARITY_DEBUG"

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCH_CPP_LOG_LEVEL": "ERROR", "GLOG_minloglevel": "2"}


def debugging() -> bool:
    """Whether the user asked for output that only helps to find a bug."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def prepare_streams() -> None:
    """Open closed standard streams, and print characters that the encoding lacks as escapes.

    If a standard stream is closed, the next file to be opened gets its number, and whatever a library writes to
    standard error ends up in that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open takes the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  open as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def quiet_libraries() -> Generator[None, None, None]:
    """Keep libraries' warnings and logs off standard error, which is for problems that the user can solve."""
    if debugging():
        yield
        return
    for name, value in _QUIET.items():  # the frameworks read them on import
        os.environ.setdefault(name, value)
    show, level = warnings.showwarning, logging.root.manager.disable
    # Not a filter: libraries set their own, and a filter that turns warnings into errors must keep working.
    warnings.showwarning = lambda *_, **__: None  # pyright: ignore[reportUnknownLambdaType]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        warnings.showwarning = show
        logging.disable(level)


@contextmanager
def output_named() -> Generator[None, None, None]:
    """Name standard output in any OSError that the block raises while it writes there."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), "standard output") from error


def flush_output() -> None:
    """Flush standard output. Raises OSError if that fails."""
    with output_named():
        sys.stdout.flush()


def print_errors(lines: list[str]) -> None:
    """Print each line on standard error, or nothing if that cannot be written."""
    with suppress(OSError):
        for line in lines:
            print(line, file=sys.stderr)
        sys.stderr.flush()


def give_up_unwritable() -> None:
    """Drop output that cannot be written. Python would try again on exit and return an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
                stream.flush()
