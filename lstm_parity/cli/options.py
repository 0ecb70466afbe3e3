"""Options that several commands take, and how they are read."""

import enum
import io
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_shared.contents import at, plain_arrays
from lstm_shared.describe import describe, possible_models, require_by_hand
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.files import load, not_finite, read_arrays
from lstm_shared.printable import printable
from lstm_shared.read_files import read_contents
from lstm_shared.specs import Spec

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write everything to this file as JSON.")]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw a picture into this .png, .svg or .pdf.")]

# What an .npz of inputs may hold.
INPUT_ARRAYS = ("inputs", "h", "c", "lengths", "reset")

# What both frameworks take as a seed, and more than any size may be.
_TOO_LARGE = 2**63


class BackendName(enum.StrEnum):
    """Which backend computes."""

    jax = "jax"
    torch = "torch"


class DtypeName(enum.StrEnum):
    """Floating-point precision."""

    float32 = "float32"
    float64 = "float64"


def refuse_options(context: typer.Context, why: str, *names: str) -> None:
    """Raise an InputError for each of these options that was given: ``why`` says what makes it useless."""
    given = [option for option in context.command.params if option.name in names and _given(context, option.name)]
    InputError.raise_any([f"{option.opts[0]}: {why}" for option in given])


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def load_by_hand(path: Path) -> Mapping[str, Any]:
    """The by-hand weights in a file; what is wrong with them is said with the file's name."""
    weights = load(path)
    try:
        require_by_hand(weights)
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    return weights


def load_model(path: Path, prefix: str | None) -> tuple[str, dict[str, Any], Spec]:
    """(prefix, weights, spec) of the model under a prefix, or of the only one that there is.

    Raises:
        OSError, InputError, WeightsError: as ``lstm_shared.load``; or there is no model, or there are several.
    """
    contents = read_contents(path)
    outer = f"{prefix.removesuffix('.')}." if prefix else ""
    try:
        values = contents.named if prefix is None else contents.under(prefix)
    except WeightsError as error:
        raise WeightsError(f"{path}: {problem}" for problem in error.problems) from error
    candidates = possible_models(values)
    if len(candidates) > 1 and (prefix is None or "" not in candidates):
        named = ", ".join(repr(outer + found) for found in candidates)
        raise InputError(f"{path}: holds {len(candidates)} models, choose one with --prefix: {named}")
    inner = "" if "" in candidates else next(iter(candidates), "")
    # Beside the model its parent module may hold other arrays, which are not this model's business.
    values = {name: values[inner + name] for name in candidates.get(inner, values)}
    try:
        weights = plain_arrays(values) if candidates else values
        spec = describe(weights)
        WeightsError.raise_any(not_finite(weights))
    except WeightsError as error:
        raise WeightsError(at(path, outer + inner, problem) for problem in error.problems) from error
    return outer + inner, weights, spec


def read_inputs(path: Path) -> dict[str, Any]:
    """The arrays of an .npy or .npz file by name, checked for what no model accepts."""
    import numpy as np

    arrays = read_named(path, "inputs")
    problems = unknown_names(path, arrays, INPUT_ARRAYS)
    if ("h" in arrays) != ("c" in arrays):
        problems.append(f"{path}: h and c go together")
    # With lengths, anything may stand in the padding.
    if "inputs" in arrays and "lengths" not in arrays and np.isnan(arrays["inputs"]).any():
        problems.append(f"{path}: inputs holds NaN")
    InputError.raise_any(problems)
    return arrays


def read_named(path: Path, name: str) -> dict[str, Any]:
    """An .npy array under this name, or the arrays of an .npz."""
    import numpy as np

    if path.suffix == ".npy":
        try:
            return {name: np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)}
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: damaged, or not an .npy of plain numbers") from error
    if path.suffix != ".npz":
        raise InputError(f"{path}: {name} are read from .npy or .npz")
    return read_arrays(path)


def unknown_names(path: Path, arrays: Iterable[str], known: Iterable[str]) -> list[str]:
    """A line for each array that nobody asked for."""
    return [f"{path}: unknown array {name!r}, expected {', '.join(known)}" for name in arrays if name not in known]


def require_whole(option: str, number: int, *, at_least: int = 0) -> list[str]:
    """A line, if the number is not one of this option's."""
    if number < at_least:
        return [f"{option} is {number}, expected a whole number, {at_least} or larger"]
    return [f"{option} is {number}, expected less than 2**63"] if number >= _TOO_LARGE else []


def require_finite_in(dtype: str, arrays: Mapping[str, Any], where: str = "") -> None:
    """Raise an InputError for each array that holds infinity once it is rounded to this dtype."""
    import numpy as np

    with np.errstate(over="ignore"):
        rounded = {name: np.asarray(array).astype(dtype) for name, array in arrays.items()}
    InputError.raise_any([f"{where}{problem} in {dtype}" for problem in not_finite(rounded)])


def whole_numbers(text: str) -> Any:
    """The lengths in the option of that name."""
    import numpy as np

    parts = [part.strip() for part in text.split(",")]
    problems = [f"--lengths: {p!r} is not a whole number" for p in parts if not re.fullmatch("[+-]?[0-9]{1,99}", p)]
    InputError.raise_any(problems)
    numbers = [int(part) for part in parts]
    InputError.raise_any([problem for number in numbers for problem in require_whole("--lengths", number)])
    return np.array(numbers)


def command_line() -> str:
    """The command as it was typed, for a reader who wants to repeat it in a shell."""
    return " ".join(["lstm-parity", *map(_quoted, sys.argv[1:])])


def _quoted(argument: str) -> str:
    """As the shell reads it; with $'…' where it holds what cannot be printed."""
    if argument.isprintable():
        return shlex.quote(argument)
    return "$'" + printable(argument.replace("\\", "\\\\").replace("'", "\\'")) + "'"
