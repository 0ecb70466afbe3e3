"""``lstm-parity check``: read the options, and run the kind of check that they ask for."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_parity.cli.inputs import INPUT_ARRAYS, read_inputs
from lstm_parity.cli.options import JsonFile, PlotFile, refuse_options, require_whole, whole_numbers
from lstm_parity.cli.outputs import port_file, require_outputs
from lstm_shared.errors import InputError

_DTYPES = ("float64", "float32", "bfloat16", "float16")


def check(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Weight file. Without it, the LSTM by hand is checked on its own data."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without FILE: train for 400 steps instead of the whole published run.")
    ] = False,
    prefix: Annotated[str | None, typer.Option(help="Prefix of the model, when FILE holds several.")] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help=f"Inputs: an .npy array, or an .npz with any of {', '.join(INPUT_ARRAYS)}. Random by default."
        ),
    ] = None,
    batch_first: Annotated[bool, typer.Option("--batch-first", help="Inputs are (batch, time, features).")] = False,
    lengths: Annotated[str | None, typer.Option(metavar="5,3,…", help="Length of each sequence.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Judge a port: module:function or file.py:function that takes (params, inputs), or a model.onnx.",
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Layout of the port's params: torch, or one that convert --help lists.")
    ] = "torch",
    framework: Annotated[
        str | None, typer.Option(help="Arrays that the port takes: numpy, jax or torch. Detected by default.")
    ] = None,
    dtypes: Annotated[str, typer.Option(help="Precisions to compare in, separated by commas.")] = "float64,float32",
    steps: Annotated[int, typer.Option(help="Number of Adam steps to compare.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed for the random cotangents and random inputs.")] = 0,
    jax_device: Annotated[str, typer.Option(help="JAX device: cpu, gpu or tpu.")] = "cpu",
    torch_device: Annotated[str, typer.Option(help="PyTorch device: cpu, cuda or mps.")] = "cpu",
    all_devices: Annotated[
        bool, typer.Option("--all-devices", help="Check every pair of devices of this machine, in one table.")
    ] = False,
    truth: Annotated[
        str,
        typer.Option(help="Where each side's error is measured from: float64, or extended for long double (slow)."),
    ] = "float64",
    every_row: Annotated[
        bool, typer.Option("--all", help="Show every comparison, not only the ten closest to their limits.")
    ] = False,
    case: Annotated[Path | None, typer.Option(help="Replay a case that lstm-parity fuzz has written.")] = None,
    json_file: JsonFile = None,
    plot: PlotFile = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the whole report to this HTML file, which needs no other file.")
    ] = None,
) -> None:
    """Compare both backends: outputs, gradients and training.

    Without FILE, both backends compute and train the LSTM by hand from the same twelve numbers, and the published
    results are shown next to theirs. FILE may hold an LSTM, an LSTM cell, a forecaster or a by-hand model.

    Exit code: 0 if they agree, 1 if they differ, 3 if that cannot be decided.
    """
    read = {"FILE": file, "--inputs": inputs, "--case": case, "--against": port_file(against)}
    require_outputs({"--json": json_file, "--plot": plot, "--html": html}, inputs=read)
    if case is not None:
        from lstm_parity.cli.check_case import check_case

        raise typer.Exit(check_case(context, case, json_file))
    _refuse_what_goes_with_something_else(context, file is not None, against is not None, all_devices)
    dtype_names = [dtype.strip() for dtype in dtypes.split(",")]
    problems = [f"--dtypes: {d!r} is none of {', '.join(_DTYPES)}" for d in dtype_names if d not in _DTYPES]
    InputError.raise_any([*problems, *require_whole("--steps", steps), *require_whole("--seed", seed)])
    arrays = {} if inputs is None else read_inputs(inputs)
    if lengths is not None:
        arrays["lengths"] = whole_numbers(lengths)
    if file is None and not all_devices:
        from lstm_parity.cli.check_by_hand import check_by_hand

        devices = {"jax_device": jax_device, "torch_device": torch_device}
        raise typer.Exit(check_by_hand(quick=quick, every_row=every_row, json_file=json_file, plot=plot, **devices))

    from lstm_parity.cli.check_devices import check_devices
    from lstm_parity.cli.check_file import Subject, check_file

    subject = Subject.of(file, prefix, drawn_lengths=arrays.get("lengths") if inputs is None else None)
    options = {
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
        raise typer.Exit(check_devices(subject, options, json_file))
    options |= {"jax_device": jax_device, "torch_device": torch_device}
    port = None
    if against is not None:
        from lstm_parity.sides.load_port import load_port

        port = load_port(against, layout=layout, framework=framework)
    raise typer.Exit(check_file(subject, options, port, every_row=every_row, json_file=json_file, plot=plot, html=html))


def _refuse_what_goes_with_something_else(context: typer.Context, file: bool, against: bool, all_devices: bool) -> None:
    """Raise an InputError for each option that the check would ignore."""
    if file:
        refuse_options(context, "works with the built-in example only: leave FILE out", "quick")
    else:
        of_a_file = ("prefix", "inputs", "batch_first", "lengths", "against", "html", "truth")
        refuse_options(context, "needs a FILE", *of_a_file)
        if not all_devices:
            refuse_options(context, "needs a FILE", "dtypes", "steps", "seed")
    if not against:
        refuse_options(context, "needs a port: add --against", "layout", "framework")
    if all_devices:
        refuse_options(
            context, "cannot be combined with --all-devices", "jax_device", "torch_device", "against", "plot", "html"
        )
