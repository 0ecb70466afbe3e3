"""Files that a command writes: checked before any work begins, and written before anything is printed."""

import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_shared.errors import InputError, ReportedError
from lstm_shared.finite import json_ready
from lstm_shared.requirements import install_command
from lstm_shared.safe_writing import require_writable, write_file
from lstm_shared.weight_files.load_save import require_weights_name

if TYPE_CHECKING:
    from lstm_parity.annotations import Json

Paths = Mapping[str, Path | None]


def require_outputs(outputs: Paths, *, inputs: Paths | None = None, directory: Path | None = None) -> None:
    """Check all output files before the work, and report every problem at once.

    Args:
        outputs: option -> file. ``--plot`` needs the name of a plot, and ``--out`` the name of a weight file.
        inputs: option or argument -> file that the command reads. No output may overwrite it.
        directory: directory of checkpoints. No output may overwrite one.

    Raises:
        InputError: a file has a wrong name or cannot be written, a package for it is missing, or two files are the same
            one (by another path, a link, or a name in other case).
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    read = {option: path for option, path in (inputs or {}).items() if path is not None}
    problems = []
    for option, path in given.items():
        try:
            _require_name(option, path)
            require_writable(path)
        except ReportedError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
    pairs = list(given.items())
    for k, (option, path) in enumerate(pairs):
        for other, there in pairs[:k]:
            if _are_one(path, there):
                problems.append(f"{option}: {other} writes to {path} too: give each its own file")
        for other, there in read.items():
            if _are_one(path, there):
                problems.append(
                    f"{option}: {path} is the file that {other} reads, and would be overwritten: choose another name"
                )
        if directory is not None and _may_be_checkpoint(path, directory):
            problems.append(f"{option}: {path} is reserved for checkpoints of the run: choose another name")
    InputError.raise_any(problems)


def save_each(writers: Iterable[tuple[Path | None, Callable[[Path], None]]]) -> list[str]:
    """Write every file that was asked for, even if one of them fails. Returns one line for each failure.

    Call this before anything is printed, and pass the lines to ``InputError.raise_any`` afterwards.
    """
    problems: list[str] = []
    for path, write in writers:
        try:
            if path is not None:
                write(path)
        except ReportedError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"{error.filename or path}: {error.strerror or error}")
    return problems


def write_json(content: "Json") -> Callable[[Path], None]:
    """Return a function that writes JSON text, or a value as JSON. NaN and infinity become null."""

    def write(path: Path) -> None:
        text = content if isinstance(content, str) else json.dumps(json_ready(content), indent=2, allow_nan=False)
        write_file(path, (text + "\n").encode())

    return write


def port_file(against: str | None) -> Path | None:
    """Return the file that ``--against`` names, or None for a module."""
    if against is None:
        return None
    named = against if against.endswith(".onnx") else against.rpartition(":")[0]
    return Path(named) if os.path.isfile(named) else None


def _require_name(option: str, path: Path) -> None:
    if option in ("--out", "OUT"):
        require_weights_name(path)
    if option in ("--plot", "--html") and importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"{option} needs matplotlib: {install_command('all')}")
    if option == "--plot":
        from lstm_parity.report.plots import require_plot_name

        require_plot_name(path)


def _are_one(one: Path, other: Path) -> bool:
    """Whether both paths are the same file, even if it does not exist yet. Devices and pipes may be shared."""
    there = [os.path.exists(path) for path in (one, other)]
    if any(there):
        return all(there) and os.path.samefile(one, other) and os.path.isfile(one)
    # Some file systems ignore case, and nobody means two files whose names differ in case only.
    first, second = (os.path.split(os.path.realpath(path)) for path in (one, other))
    return first[1].casefold() == second[1].casefold() and _is_same_directory(first[0], second[0])


def _is_same_directory(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _may_be_checkpoint(path: Path, directory: Path) -> bool:
    """Whether it is the directory itself, or a file in it with a name that a run may use or has used."""
    place, around = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    ours = place.name.startswith(".") or place.suffix.lower() in (".checkpoint", ".ckpt")
    return place == around or (ours and around in place.parents)
