"""``lstm-parity check``: the verdict."""

from typing import Annotated

import typer

from lstm_parity.cli.options import JsonFile, PlotFile, require_outputs


def check(
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare 400 training steps instead of the whole published run.")
    ] = False,
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Compare both backends: outputs, gradients, training. Exit code 0 when they agree, 1 when they differ.

    The model is the LSTM by hand on its embedded data: both backends compute and train from the same twelve numbers,
    and the published results stand beside them.
    """
    require_outputs(plot=plot, files=[json_file])
    from rich.console import Console

    from lstm_parity.cli.by_hand_check import check_by_hand

    raise typer.Exit(check_by_hand(Console(), quick=quick, json_file=json_file, plot=plot))
