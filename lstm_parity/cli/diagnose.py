"""``lstm-parity diagnose``: find the mistake in a port from its outputs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstm_parity.cli.inputs import INPUT_ARRAYS, load_model, read_inputs, read_named, unknown_names
from lstm_parity.cli.options import JsonFile, refuse_options, whole_numbers
from lstm_parity.cli.outputs import port_file, require_outputs, save_each, write_json
from lstm_parity.cli.screen import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from lstm_parity.annotations import Weights
    from lstm_parity.sides.port import Port

_READABLE = tuple(name for name in INPUT_ARRAYS if name != "reset")


def diagnose(
    context: typer.Context,
    weights_file: Annotated[Path, typer.Option("--weights", help="File with the correct weights.")],
    inputs: Annotated[
        Path | None,
        typer.Option(help=f"Inputs of the port: an .npy array, or an .npz with any of {', '.join(_READABLE)}."),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(help="Outputs of the port: an .npy array, or an .npz that holds outputs.")
    ] = None,
    outputs_again: Annotated[
        Path | None, typer.Option(help="Outputs of a second call, to find dropout that was left on.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Run this port, as in check, instead of reading its outputs."),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Layout of the port's params: torch, or one that convert --help lists.")
    ] = "torch",
    framework: Annotated[
        str | None, typer.Option(help="Arrays that the port takes: numpy, jax or torch. Detected by default.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Prefix of the model, when the file holds several.")] = None,
    batch_first: Annotated[
        bool, typer.Option("--batch-first", help="Inputs and outputs are (batch, time, features).")
    ] = False,
    lengths: Annotated[str | None, typer.Option(metavar="5,3,…", help="Length of each sequence.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Find the mistake in a port of an LSTM from its outputs, and say how to repair it.

    Exit code: 0 if the outputs are right, 1 if they are wrong, even if no known mistake explains them.
    """
    from lstm_shared.errors import InputError

    read = {"--weights": weights_file, "--inputs": inputs, "--outputs": outputs, "--outputs-again": outputs_again}
    require_outputs({"--json": json_file}, inputs=read | {"--against": port_file(against)})
    problems = []
    if against is None:
        refuse_options(context, "needs a port to run: add --against", "layout", "framework")
        problems += [
            f"{name} is required, unless --against is given"
            for name, path in (("--inputs", inputs), ("--outputs", outputs))
            if not path
        ]
    else:
        refuse_options(
            context,
            "cannot be combined with --against, which runs the port for its outputs",
            "outputs",
            "outputs_again",
        )
    InputError.raise_any(problems)
    arrays = {} if inputs is None else read_inputs(inputs)
    if inputs is not None and "inputs" not in arrays:
        problems.append(f"{inputs}: holds no array named inputs")
    if "reset" in arrays:
        problems.append(f"{inputs}: diagnose does not take reset: split the sequences where they are reset")
    InputError.raise_any(problems)
    if lengths is not None:
        arrays["lengths"] = whole_numbers(lengths)
    from rich.styled import Styled

    from lstm_parity.diagnosis.explain import diagnose as find
    from lstm_parity.report.tables import indented
    from lstm_parity.sides.load_port import load_port

    _, weights, _ = load_model(weights_file, prefix)
    state = (arrays["h"], arrays["c"]) if "h" in arrays else None
    given = {"state": state, "lengths": arrays.get("lengths"), "batch_first": batch_first}
    if against is None:
        calls = [_read_outputs(path) for path in (outputs, outputs_again) if path is not None]
    else:
        arrays["inputs"], given["state"], calls = _run_twice(
            load_port(against, layout=layout, framework=framework), weights, arrays.get("inputs"), given
        )
    found = find(weights, arrays["inputs"], tuple(calls) if len(calls) == 2 else calls[0], progress=True, **given)
    unsaved = save_each([(json_file, write_json(found.to_json()))])
    style = "green" if found.right else ""
    show(*(Styled(indented(line), style) for line in str(found).splitlines()))
    InputError.raise_any(unsaved)
    raise typer.Exit(0 if found.right else 1)


def _run_twice(
    candidate: "Port", weights: "Weights", inputs: "np.ndarray | None", given: "Mapping[str, Any]"
) -> "tuple[np.ndarray, tuple[np.ndarray, ...] | None, list[np.ndarray]]":
    """Run the port twice, to see whether its outputs change, as with dropout.

    Draws the inputs and the state that were not given. A port that takes no state runs without one.

    Returns:
        The inputs, the state (or None), and the outputs of both calls.
    """
    from lstm_parity.sides.case import make_case
    from lstm_parity.sides.port import find_out, outputs_of

    case = make_case(weights, inputs, **given, draw_state=True)
    if not candidate.takes("state"):
        case = case.without_state()
    candidate, _ = find_out(case, candidate)
    case = case.astype((candidate.dtypes or ("float64",))[0])
    state = (case.state["h"], case.state["c"]) if "h" in case.state else None
    return case.inputs, state, [outputs_of(case, candidate) for _ in range(2)]


def _read_outputs(path: Path) -> "np.ndarray":
    from lstm_shared.errors import InputError

    arrays = read_named(path, "outputs")
    problems = unknown_names(path, arrays, ("outputs",))
    InputError.raise_any(problems if "outputs" in arrays else [*problems, f"{path}: holds no array named outputs"])
    return arrays["outputs"]
