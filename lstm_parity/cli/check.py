"""``lstm-parity check``: the verdict."""

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_parity.cli.options import JsonFile, PlotFile, load_model, refuse_options, require_outputs

_ARRAYS = ("inputs", "h", "c", "lengths", "reset")


def check(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A weight file; the LSTM by hand on its embedded data when left out.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without FILE: 400 training steps instead of the whole published run.")
    ] = False,
    prefix: Annotated[str | None, typer.Option(help="Which model in FILE; needed when there are several.")] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help=f"Inputs: an .npy array, or an .npz with any of {', '.join(_ARRAYS)}; drawn by default."),
    ] = None,
    batch_first: Annotated[bool, typer.Option("--batch-first", help="The inputs are (batch, time, features).")] = False,
    lengths: Annotated[str | None, typer.Option(metavar="5,3,…", help="The sequences' own lengths.")] = None,
    dtypes: Annotated[str, typer.Option(help="Precisions to compare in, with commas between.")] = "float64,float32",
    steps: Annotated[int, typer.Option(help="Adam steps to compare.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the random cotangents, and of inputs that are drawn.")] = 0,
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Compare both backends: outputs, gradients, training. Exit code 0 when they agree, 1 when they differ.

    Without FILE: the LSTM by hand. Both backends compute and train from the same twelve numbers, and the published
    results stand beside them. With FILE: any LSTM, LSTM cell, forecaster or by-hand model in it.
    """
    from lstm_shared.errors import InputError

    require_outputs(plot=plot, files=[json_file])
    if file is None:
        refuse_options(context, "needs a FILE", "prefix", "inputs", "batch_first", "lengths", "dtypes", "steps", "seed")
    else:
        refuse_options(context, "is for the embedded example: leave FILE out", "quick", "plot")
    problems = []
    dtype_names = [dtype.strip() for dtype in dtypes.split(",")]
    known = ("float64", "float32", "bfloat16", "float16")
    problems += [f"--dtypes: {d!r} is none of {', '.join(known)}" for d in dtype_names if d not in known]
    if steps < 0:
        problems.append(f"--steps is {steps}, expected 0 or more")
    InputError.raise_any(problems)
    arrays = {} if inputs is None else _read_inputs(inputs)
    if lengths is not None:
        arrays["lengths"] = _whole_numbers(lengths)

    from rich.console import Console

    if file is None:
        from lstm_parity.cli.by_hand_check import check_by_hand

        raise typer.Exit(check_by_hand(Console(), quick=quick, json_file=json_file, plot=plot))

    from lstm_parity.verdict import check as compare
    from lstm_shared.describe import in_words
    from lstm_shared.files import write_file

    prefix, weights, spec = load_model(file, prefix)
    console = Console()
    typer.echo(f"{file}: {prefix}{': ' if prefix else ''}{in_words(spec)}\n")
    state = (arrays.pop("h"), arrays.pop("c")) if "h" in arrays else None
    report = compare(
        weights,
        arrays.get("inputs"),
        state=state,
        batch_first=batch_first,
        lengths=arrays.get("lengths"),
        reset=arrays.get("reset"),
        dtypes=dtype_names,
        steps=steps,
        seed=seed,
    )
    console.print(report)
    if json_file:
        write_file(json_file, (report.to_json() + "\n").encode())
    raise typer.Exit(0 if report.ok else 1)


def _read_inputs(path: Path) -> dict[str, Any]:
    """The arrays of an .npy or .npz file by name, checked for what no model accepts."""
    import numpy as np

    from lstm_shared.errors import InputError
    from lstm_shared.files import read_arrays

    if path.suffix == ".npy":
        try:
            arrays = {"inputs": np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)}
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: damaged, or not an .npy of plain numbers") from error
    elif path.suffix == ".npz":
        arrays = read_arrays(path)
    else:
        raise InputError(f"{path}: inputs are read from .npy or .npz")
    problems = [
        f"{path}: unknown array {name!r}, expected {', '.join(_ARRAYS)}" for name in arrays if name not in _ARRAYS
    ]
    if ("h" in arrays) != ("c" in arrays):
        problems.append(f"{path}: h and c go together")
    # With lengths, anything may stand in the padding.
    if "inputs" in arrays and "lengths" not in arrays and np.isnan(arrays["inputs"]).any():
        problems.append(f"{path}: inputs holds NaN")
    InputError.raise_any(problems)
    return arrays


def _whole_numbers(text: str) -> Any:
    import numpy as np

    from lstm_shared.errors import InputError

    wrong = [part for part in text.split(",") if not part.strip().lstrip("-").isdigit()]
    InputError.raise_any([f"--lengths: {part.strip()!r} is not a whole number" for part in wrong])
    return np.array([int(part) for part in text.split(",")])
