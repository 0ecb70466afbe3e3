"""Standard output and standard error as a command needs them: always there, able to print any text, and quiet."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress

# With this in the environment, warnings and logs of libraries are shown, and tracebacks of our faults.
DEBUG = "LSTM_PARITY_DEBUG"

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCH_CPP_LOG_LEVEL": "ERROR", "GLOG_minloglevel": "2"}


def debugging() -> bool:
    """Whether the user wants to see what only helps to find a fault."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def prepare_streams() -> None:
    """Open what is closed, and print what the encoding has no sign for as its escape instead of failing.

    A closed standard stream's number would go to the next file that is opened, and what a library writes to standard
    error would end up in that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def quiet_libraries() -> Generator[None, None, None]:
    """Keep warnings and logs of libraries from standard error, which is for what the user can do something about."""
    if debugging():
        yield
        return
    for name, value in _QUIET.items():  # read when the frameworks are imported
        os.environ.setdefault(name, value)
    show, level = warnings.showwarning, logging.root.manager.disable
    # Not a filter, as libraries set their own; and a filter that makes errors of warnings still does.
    warnings.showwarning = lambda *_, **__: None  # pyright: ignore[reportUnknownLambdaType]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        warnings.showwarning = show
        logging.disable(level)


@contextmanager
def output_named() -> Generator[None, None, None]:
    """An error of the operating system while the block writes to standard output says where it was."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), "standard output") from error


def flush_output() -> None:
    """Write what is still to be written to standard output; an OSError when that cannot be."""
    with output_named():
        sys.stdout.flush()


def print_errors(lines: list[str]) -> None:
    """Print each line on standard error, if that can be written."""
    with suppress(OSError):
        for line in lines:
            print(line, file=sys.stderr)
        sys.stderr.flush()


def give_up_unwritable() -> None:
    """Let go of what cannot be written: else Python tries again when it ends, and answers with its own exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
                stream.flush()
