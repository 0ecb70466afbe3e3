"""Options that several commands take, and functions that read them."""

import enum
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_shared.errors import InputError
from lstm_shared.finite import not_finite
from lstm_shared.printable import printable

if TYPE_CHECKING:
    import numpy as np

    from lstm_parity.annotations import Weights

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the whole result to this JSON file.")]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Save a plot to this .png, .svg or .pdf file.")]

# Both frameworks take smaller seeds only, and no size may be as large.
_TOO_LARGE = 2**63


class BackendName(enum.StrEnum):
    """Backend that computes."""

    jax = "jax"
    torch = "torch"


class DtypeName(enum.StrEnum):
    """Floating-point precision."""

    float32 = "float32"
    float64 = "float64"


Backend = Annotated[BackendName, typer.Option(help="Backend that computes.")]
Dtype = Annotated[DtypeName, typer.Option(help="Precision to compute in.")]


def refuse_options(context: typer.Context, why: str, *names: str) -> None:
    """Raise an InputError for each of these options that was given. ``why`` says why it cannot be used."""
    given = [option for option in context.command.params if option.name in names and _given(context, option.name)]
    InputError.raise_any([f"{option.opts[0]}: {why}" for option in given])


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def require_whole(option: str, number: int, *, at_least: int = 0) -> list[str]:
    """Return a line if the number is out of range for this option."""
    if number < at_least:
        return [f"{option} is {number}, expected a whole number, {at_least} or larger"]
    return [f"{option} is {number}, expected less than 2**63"] if number >= _TOO_LARGE else []


def require_finite_in(dtype: str, arrays: "Weights", where: str = "") -> None:
    """Raise an InputError for each array that holds infinity or NaN after rounding to this dtype."""
    import numpy as np

    with np.errstate(over="ignore"):
        rounded = {name: np.asarray(array).astype(dtype) for name, array in arrays.items()}
    InputError.raise_any([f"{where}{problem} in {dtype}" for problem in not_finite(rounded)])


def whole_numbers(text: str) -> "np.ndarray":
    """Parse the value of --lengths."""
    import numpy as np

    parts = [part.strip() for part in text.split(",")]
    problems = [f"--lengths: {p!r} is not a whole number" for p in parts if not re.fullmatch("[+-]?[0-9]{1,99}", p)]
    InputError.raise_any(problems)
    numbers = [int(part) for part in parts]
    InputError.raise_any([problem for number in numbers for problem in require_whole("--lengths", number)])
    return np.array(numbers)


def command_line() -> str:
    """Return the command as it was typed, ready to be repeated in a shell."""
    return " ".join(["lstm-parity", *map(_quoted, sys.argv[1:])])


def _quoted(argument: str) -> str:
    """Quote an argument for the shell; as $'…' if it holds characters that cannot be printed."""
    if argument.isprintable():
        return shlex.quote(argument)
    return "$'" + printable(argument.replace("\\", "\\\\").replace("'", "\\'")) + "'"
