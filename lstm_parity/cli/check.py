"""``lstm-parity check``: the verdict."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstm_parity.cli.options import (
    INPUT_ARRAYS,
    JsonFile,
    PlotFile,
    command_line,
    load_model,
    read_inputs,
    refuse_options,
    require_outputs,
    whole_numbers,
    write_json,
)

if TYPE_CHECKING:
    from rich.console import Console


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
        typer.Option(
            help=f"Inputs: an .npy array, or an .npz with any of {', '.join(INPUT_ARRAYS)}; drawn by default."
        ),
    ] = None,
    batch_first: Annotated[bool, typer.Option("--batch-first", help="The inputs are (batch, time, features).")] = False,
    lengths: Annotated[str | None, typer.Option(metavar="5,3,…", help="The sequences' own lengths.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Judge a port: module:function or file.py:function taking (params, inputs), or a model.onnx.",
        ),
    ] = None,
    layout: Annotated[str, typer.Option(help="How the port takes params: torch, or another framework's.")] = "torch",
    framework: Annotated[
        str | None, typer.Option(help="Arrays that the port takes: numpy, jax or torch; found out by default.")
    ] = None,
    dtypes: Annotated[str, typer.Option(help="Precisions to compare in, with commas between.")] = "float64,float32",
    steps: Annotated[int, typer.Option(help="Adam steps to compare.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the random cotangents, and of inputs that are drawn.")] = 0,
    jax_device: Annotated[str, typer.Option(help="cpu, gpu or tpu.")] = "cpu",
    torch_device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    all_devices: Annotated[
        bool, typer.Option("--all-devices", help="Every pair of devices that is here, in one table.")
    ] = False,
    truth: Annotated[
        str, typer.Option(help="float64, or extended: long double says which side is nearer; slow.")
    ] = "float64",
    every_row: Annotated[bool, typer.Option("--all", help="Show every comparison, not only the ten closest.")] = False,
    case: Annotated[Path | None, typer.Option(help="Replay a case that `lstm-parity fuzz` has written.")] = None,
    json_file: JsonFile = None,
    plot: PlotFile = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page with everything.")] = None,
) -> None:
    """Compare both backends: outputs, gradients, training. Exit code 0: they agree; 1: they differ; 3: undecided.

    Without FILE: the LSTM by hand. Both backends compute and train from the same twelve numbers, and the published
    results stand beside them. With FILE: any LSTM, LSTM cell, forecaster or by-hand model in it.
    """
    from lstm_shared.errors import InputError

    require_outputs(plot=plot, files=[json_file, html])
    if case is not None:
        from lstm_parity.cli.fuzz import replay_case

        raise typer.Exit(replay_case(context, case, json_file))
    if file is None:
        refuse_options(
            context, "needs a FILE", "prefix", "inputs", "batch_first", "lengths", "against", "html", "truth"
        )
        if not all_devices:
            refuse_options(context, "needs a FILE", "dtypes", "steps", "seed")
    else:
        refuse_options(context, "is for the embedded example: leave FILE out", "quick")
    if against is None:
        refuse_options(context, "is for a port: add --against", "layout", "framework")
    problems = []
    dtype_names = [dtype.strip() for dtype in dtypes.split(",")]
    known = ("float64", "float32", "bfloat16", "float16")
    problems += [f"--dtypes: {d!r} is none of {', '.join(known)}" for d in dtype_names if d not in known]
    if steps < 0:
        problems.append(f"--steps is {steps}, expected 0 or more")
    InputError.raise_any(problems)
    arrays = {} if inputs is None else read_inputs(inputs)
    if lengths is not None:
        arrays["lengths"] = whole_numbers(lengths)

    from rich.console import Console

    console = Console()
    devices: dict[str, Any] = {"jax_device": jax_device, "torch_device": torch_device}
    if all_devices:
        refuse_options(context, "--all-devices takes them all", "jax_device", "torch_device", "against", "plot", "html")
    if file is None and not all_devices:
        from lstm_parity.cli.by_hand_check import check_by_hand

        raise typer.Exit(
            check_by_hand(console, quick=quick, every_row=every_row, json_file=json_file, plot=plot, **devices)
        )

    from lstm_parity.verdict import check as compare
    from lstm_shared.by_hand import PUBLISHED_INIT
    from lstm_shared.describe import describe
    from lstm_shared.files import write_file
    from lstm_shared.specs import CellSpec, in_words

    weights: Mapping[str, Any] = PUBLISHED_INIT
    if file is not None:
        prefix, weights, spec = load_model(file, prefix)
        typer.echo(f"{file}: {prefix}{': ' if prefix else ''}{in_words(spec)}\n")
    has_steps = not isinstance(describe(weights), CellSpec)
    if plot and not has_steps:
        raise InputError("--plot: an LSTM cell has one step, there is no error over time to draw")
    options: dict[str, Any] = {
        "inputs": arrays.get("inputs"),
        "state": (arrays["h"], arrays["c"]) if "h" in arrays else None,
        "batch_first": batch_first,
        "lengths": arrays.get("lengths"),
        "reset": arrays.get("reset"),
        "dtypes": dtype_names,
        "steps": steps,
        "seed": seed,
        "truth": truth,
    }
    if all_devices:
        raise typer.Exit(_check_all_devices(console, weights, options, json_file))
    candidate = None
    if against is not None:
        from lstm_parity.load_candidate import load_candidate

        candidate = load_candidate(against, layout=layout, framework=framework)
    report = compare(weights, candidate=candidate, **options, **devices)
    report = replace(report, command=command_line())
    if json_file:
        write_file(json_file, (report.to_json() + "\n").encode())
    if plot or html:
        from lstm_parity.errors_over_time import errors_over_time
        from lstm_parity.html import html_page
        from lstm_parity.plots import error_picture, save_figure

        pictures = {}
        if has_steps:
            pictures["error over time"] = error_picture(*errors_over_time(weights, candidate, options))
        if plot:
            save_figure(pictures["error over time"], plot)
        if html:
            write_file(html, html_page(report, in_words(describe(weights)), pictures).encode())
    console.print(report.screen(every_row=every_row))  # last: what was computed is saved whatever becomes of the screen
    raise typer.Exit(report.exit_code)


def _check_all_devices(
    console: "Console", weights: "Mapping[str, Any]", options: dict[str, Any], json_file: Path | None
) -> int:
    """Check every pair of devices, a line for each. Exit code 0: all agree; 1: one differs; 3: one is undecided."""
    from rich.table import Table

    from lstm_parity.devices import jax_devices, torch_devices
    from lstm_parity.verdict import check as compare

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("jax", "torch", "verdict"):
        table.add_column(title)
    reports = {}
    for jax_device in jax_devices():
        for torch_device in torch_devices():
            report = compare(weights, jax_device=jax_device, torch_device=torch_device, **options)
            reports[f"{jax_device} {torch_device}"] = report
            table.add_row(jax_device, torch_device, report.verdict(), style="" if report.ok else "bold red")
    console.print(table)
    if json_file:
        write_json(json_file, {pair: json.loads(report.to_json()) for pair, report in reports.items()})
    codes = {report.exit_code for report in reports.values()}
    return next((code for code in (1, 3) if code in codes), 0)
