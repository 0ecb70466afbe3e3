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
    require_whole,
    whole_numbers,
)
from lstm_parity.cli.outputs import port_file, require_outputs, save_each, write_json
from lstm_parity.cli.screen import say, show
from lstm_shared.memory import require_memory

if TYPE_CHECKING:
    import numpy as np

    from lstm_shared.specs import Spec


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

    read = {"FILE": file, "--inputs": inputs, "--case": case, "--against": port_file(against)}
    require_outputs({"--json": json_file, "--plot": plot, "--html": html}, inputs=read)
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
    problems += [*require_whole("--steps", steps), *require_whole("--seed", seed)]
    InputError.raise_any(problems)
    arrays = {} if inputs is None else read_inputs(inputs)
    if lengths is not None:
        arrays["lengths"] = whole_numbers(lengths)

    devices: dict[str, Any] = {"jax_device": jax_device, "torch_device": torch_device}
    if all_devices:
        refuse_options(context, "--all-devices takes them all", "jax_device", "torch_device", "against", "plot", "html")
    if file is None and not all_devices:
        from lstm_parity.cli.by_hand_check import check_by_hand

        raise typer.Exit(check_by_hand(quick=quick, every_row=every_row, json_file=json_file, plot=plot, **devices))

    from lstm_shared.by_hand import PUBLISHED_INIT
    from lstm_shared.describe import describe
    from lstm_shared.specs import CellSpec, in_words

    weights: Mapping[str, Any] = PUBLISHED_INIT
    subject: tuple[str, ...] = ()
    if file is not None:
        prefix, weights, spec = load_model(file, prefix)
        subject = f"{file}: {prefix}{': ' if prefix else ''}{in_words(spec)}", ""
        if inputs is None and "lengths" in arrays:
            _require_memory(spec, arrays["lengths"])
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
    from lstm_parity.verdict.check import check as compare

    if all_devices:
        raise typer.Exit(_check_all_devices(subject, weights, options, json_file))
    port = None
    if against is not None:
        from lstm_parity.sides.load_port import load_port

        port = load_port(against, layout=layout, framework=framework)
    report = compare(weights, candidate=port, **options, **devices)
    report = replace(report, command=command_line())
    unsaved = save_each([(json_file, write_json(report.to_json()))])
    if plot or html:
        from lstm_parity.location.over_time import errors_over_time
        from lstm_parity.report.html import html_page
        from lstm_parity.report.plots import error_picture, save_figure
        from lstm_shared.files import write_file

        pictures = {}
        if has_steps:
            pictures["error over time"] = error_picture(*errors_over_time(weights, port, options))
        page = html_page(report, in_words(describe(weights)), pictures).encode() if html else b""
        unsaved += save_each(
            [
                (plot, lambda path: save_figure(pictures["error over time"], path)),
                (html, lambda path: write_file(path, page)),
            ]
        )
    say(*subject)
    show(report.screen(every_row=every_row))
    InputError.raise_any(unsaved)
    raise typer.Exit(report.exit_code)


def _require_memory(spec: "Spec", lengths: "np.ndarray") -> None:
    """Raise an InputError when inputs of these lengths, and what is computed of them, are more than this machine has.

    Of each step there are at least the inputs, both their gradients, and of each layer and direction four gates and two
    states, in float64 and for both sides.
    """
    from lstm_shared.specs import LSTMSpec, in_words

    if isinstance(spec, LSTMSpec):
        layers = len(spec.places)
        numbers = 2 * spec.input_size + 6 * layers * spec.hidden_size
        steps = int(lengths.max(initial=0)) * lengths.size
        require_memory(f"--lengths: {steps} steps of {in_words(spec)}", 2 * 8 * steps * numbers)


def _check_all_devices(
    subject: tuple[str, ...], weights: "Mapping[str, Any]", options: dict[str, Any], json_file: Path | None
) -> int:
    """Check every pair of devices, a line for each. Exit code 0: all agree; 1: one differs; 3: one is undecided."""
    from rich.table import Table
    from rich.text import Text

    from lstm_parity.sides.devices import jax_devices, torch_devices
    from lstm_parity.verdict.check import check as compare
    from lstm_shared.errors import InputError

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("jax", "torch", "verdict"):
        table.add_column(title)
    reports = {}
    for jax_device in jax_devices():
        for torch_device in torch_devices():
            report = compare(weights, jax_device=jax_device, torch_device=torch_device, **options)
            reports[f"{jax_device} {torch_device}"] = report
            verdict = Text(report.verdict(), style="" if report.ok else "bold red")
            table.add_row(jax_device, torch_device, verdict)
    record = {pair: json.loads(report.to_json()) for pair, report in reports.items()}
    unsaved = save_each([(json_file, write_json(record))])
    say(*subject)
    show(table)
    InputError.raise_any(unsaved)
    codes = {report.exit_code for report in reports.values()}
    return next((code for code in (1, 3) if code in codes), 0)
