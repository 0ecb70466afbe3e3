"""Turn the exception that ended a command into an exit code and error lines."""

import os
import sys
import traceback
from pathlib import Path

from lstm_parity.process.standard_streams import DEBUG

WRONG, FAULT, READER_GONE = 2, 70, 141

_OURS = tuple(Path(__file__).parents[2] / name for name in ("lstm_parity", "lstm_shared", "jax_lstm", "torch_lstm"))
_NO_MEMORY = ("can't allocate memory", "RESOURCE_EXHAUSTED", "out of memory", "Out of memory")


def explain(error: BaseException) -> tuple[int, list[str]]:
    """Return the exit code and one line per problem, for any exception but KeyboardInterrupt and Terminated."""
    from lstm_shared.errors import ReportedError
    from lstm_shared.requirements import not_installed

    if isinstance(error, ReportedError):
        return WRONG, list(error.problems)
    # On a closed pipe, rich raises SystemExit.
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return READER_GONE, []
    if isinstance(error, OSError):
        return WRONG, [in_a_line(error)]
    if (message := _usage(error)) is not None:
        return WRONG, [message] if message else []
    if isinstance(error, ModuleNotFoundError) and error.name and not _is_ours(error.name):
        return WRONG, [not_installed(error.name)]
    if isinstance(error, ImportError) and not (isinstance(error, ModuleNotFoundError) and error.name):
        return WRONG, [f"cannot import a required package: {in_a_line(error)}"]
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return WRONG, [f"there is not enough memory: {in_a_line(error)}"]
    if _comes_from_jax_start(error):
        return WRONG, [no_jax_device(error)]
    what = f"{type(error).__name__} at {_place(error)}: {in_a_line(error)}"
    why = f"a bug in lstm-parity, not in your input: {what}"
    return FAULT, [f"{why}; please report it with the command and the traceback that {DEBUG}=1 shows"]


def in_a_line(error: BaseException) -> str:
    """Return the first line of the message, else the exception's name; for an OSError, the file and the reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if _has_name(error) else error.strerror
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def no_jax_device(error: BaseException) -> str:
    """Say that JAX does not start, and which platform it was told to use."""
    asked = os.environ.get("JAX_PLATFORMS")
    why = f"; JAX_PLATFORMS is {asked!r}: unset it, and JAX uses what is there" if asked else ""
    said = f": {in_a_line(error)}" if str(error) else ""
    return f"JAX finds no such device{said}{why}"


def _comes_from_jax_start(error: BaseException) -> bool:
    """Whether JAX raised the error because it found no device. The message may be empty: a bare AssertionError."""
    jax = sys.modules.get("jax")
    places = traceback.extract_tb(error.__traceback__)
    if "Unable to initialize backend" in str(error):
        return True
    if jax is None or not any("jax" in Path(place.filename).parts for place in places):
        return False
    try:
        jax.devices()
    except Exception:  # RuntimeError or AssertionError
        return True
    return False


def _has_name(error: OSError) -> bool:
    return isinstance(error.filename, str | bytes | os.PathLike)


def _usage(error: BaseException) -> str | None:
    """Return typer's message about wrong arguments, empty if it showed help instead; None for any other error."""
    try:
        import typer
    except ImportError:
        return None
    if not isinstance(error, typer.TyperException):
        return None
    return error.format_message().replace(": Value error, ", ": ")  # pydantic's prefix, which tells a reader nothing


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {folder.name for folder in _OURS}


def _place(error: BaseException) -> str:
    """Return the innermost line of our own code in the traceback, else the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(folder in Path(frame.filename).parents for folder in _OURS)]
    for frame in (ours or frames)[-1:]:
        return "/".join(Path(frame.filename).parts[-2:]) + f":{frame.lineno}"
    return "an unknown place"
