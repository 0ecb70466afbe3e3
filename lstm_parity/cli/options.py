"""Options that several commands take, and how outputs are checked before and written after the work."""

import enum
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_shared.describe import Spec, describe, model_candidates, require_by_hand
from lstm_shared.errors import InputError, ReportedError, WeightsError
from lstm_shared.files import load, read_arrays, require_weights_name, require_writable, write_file

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write everything to this file as JSON.")]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw a picture into this .png, .svg or .pdf.")]


class BackendName(enum.StrEnum):
    """Which backend computes."""

    jax = "jax"
    torch = "torch"


class DtypeName(enum.StrEnum):
    """Floating-point precision."""

    float32 = "float32"
    float64 = "float64"


def require_outputs(
    *, weights: Path | None = None, plot: Path | None = None, files: Iterable[Path | None] = ()
) -> None:
    """Say everything that is wrong with the output files before any work is done."""
    problems = []
    for path in (weights, plot, *files):
        if path is None:
            continue
        try:
            if path is weights:
                require_weights_name(path)
            if path is plot:
                from lstm_parity.plots import require_plot_name

                require_plot_name(path)
            require_writable(path)
        except ReportedError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
    InputError.raise_any(problems)


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
    """(prefix, weights, spec) of the model under a prefix, or of the only one that there is."""
    if prefix is None:
        prefixes = list(model_candidates(read_arrays(path)))
        if len(prefixes) > 1:
            named = ", ".join(repr(found) for found in prefixes)
            raise InputError(f"{path}: holds {len(prefixes)} models, choose one with --prefix: {named}")
        prefix = prefixes[0] if prefixes else ""
    weights = load(path, prefix)
    # Beside the model its parent module may hold other arrays, which are not this model's business.
    names = model_candidates(weights).get("", tuple(weights))
    weights = {name: weights[name] for name in names}
    try:
        return prefix, weights, describe(weights)
    except WeightsError as error:
        raise WeightsError(f"{path}: {prefix}{problem}" for problem in error.problems) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; NaN and infinity become null."""
    from lstm_parity.report import finite

    write_file(path, (json.dumps(finite(content), indent=2, allow_nan=False) + "\n").encode())
