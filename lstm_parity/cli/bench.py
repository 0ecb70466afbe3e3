"""``lstm-parity bench``: how fast each implementation is, once it has computed the same numbers."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_parity.cli.options import (
    JsonFile,
    PlotFile,
    command_line,
    refuse_options,
    require_outputs,
    write_json,
)

if TYPE_CHECKING:
    from lstm_parity.benchmark.record import Record


class DeviceName(enum.StrEnum):
    """What computes."""

    cpu = "cpu"
    gpu = "gpu"


def bench(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="A few cases and contenders, in under two minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="More rounds, and scaling curves over steps, batch and hidden size.")
    ] = False,
    case: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this case; repeatable; a wrong name lists them.")
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this mode; likewise.")] = None,
    contender: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this contender; likewise.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How often each contender takes its turn.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long a turn is, about.")] = None,
    device: Annotated[DeviceName, typer.Option(help="What computes; everything at full precision.")] = DeviceName.cpu,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Other JAX libraries too, if installed.")] = True,
    threads: Annotated[int, typer.Option(help="Cores, and threads, of each contender.")] = 1,
    json_file: JsonFile = None,
    plot: PlotFile = None,
    show: Annotated[Path | None, typer.Option(help="Read this record instead of measuring.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table, a row for each case.")] = False,
) -> None:
    """Time PyTorch, ours and other JAX libraries on the same LSTMs: forward, gradient, Adam step, whole training.

    Each contender has a process of its own, pinned to the same cores, and the rounds are interleaved: ratios compare
    what ran in the same round. One whose outputs or gradients are not torch's is not timed, and the exit code is 1.
    The default takes about an hour on one core, --quick under two minutes; ratios need an idle machine.
    """
    from lstm_parity.benchmark.plan import make_plan
    from lstm_parity.benchmark.record import read_record

    second_plot = None if plot is None else plot.with_stem(f"{plot.stem}-scaling")
    require_outputs(plot=plot, files=[json_file, second_plot])
    if show is not None:
        options = [option.name for option in context.command.params if option.name]
        others = (name for name in options if name not in ("show", "markdown", "plot"))
        refuse_options(context, "--show measures nothing: leave this out", *others)
        record = read_record(show)
    else:
        plan = make_plan(
            quick=quick,
            full=full,
            cases=case or (),
            modes=mode or (),
            contenders=contender or (),
            peers=peers,
            rounds=rounds,
            seconds=seconds,
        )
        from lstm_parity.benchmark.runner import run

        record = run(plan, command=command_line(), threads=threads, device=device.value, progress=True)
    if json_file:
        write_json(json_file, record.to_dict())
    _print(record, markdown)
    if plot and second_plot:
        _draw(record, plot, second_plot)
    raise typer.Exit(0 if record.ok else 1)


def _print(record: "Record", markdown: bool) -> None:
    if markdown:
        from lstm_parity.benchmark.table import markdown as as_markdown

        typer.echo(as_markdown(record))
        for name, why in record.missing.items():
            typer.echo(f"{name}: left out: {why}", err=True)
        return
    from rich.console import Console

    from lstm_parity.benchmark.table import WIDTH
    from lstm_parity.benchmark.table import show as as_tables

    # A narrow terminal breaks the lines; it does not get fewer figures.
    Console(width=max(WIDTH, Console().width)).print(as_tables(record))


def _draw(record: "Record", plot: Path, second_plot: Path) -> None:
    from lstm_parity.benchmark.plots import ratio_bars, scaling_curves
    from lstm_parity.plots import save_figure
    from lstm_shared.errors import InputError

    bars, curves = ratio_bars(record), scaling_curves(record)
    if bars is None and curves is None:
        raise InputError("--plot: there is nothing to draw: no contender was timed beside torch eager")
    for figure, path in ((bars, plot), (curves, second_plot)):
        if figure is not None:
            save_figure(figure, path)
