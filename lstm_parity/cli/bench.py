"""``lstm-parity bench``: time each implementation, once it has computed the same numbers."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_parity.cli.options import (
    JsonFile,
    PlotFile,
    command_line,
    refuse_options,
)
from lstm_parity.cli.outputs import require_outputs, save_each, write_json
from lstm_parity.cli.screen import say, show
from lstm_parity.process.standard_streams import print_errors
from lstm_shared.printable import printable

if TYPE_CHECKING:
    from lstm_parity.bench.record.record import Record


class DeviceName(enum.StrEnum):
    """Device to run on."""

    cpu = "cpu"
    gpu = "gpu"


def bench(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="A few cases and contenders, in under two minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="More rounds, and scaling curves over steps, batch size and hidden size.")
    ] = False,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this case (repeatable). A wrong name lists them all."),
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this mode (repeatable).")] = None,
    contender: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run only this contender (repeatable).")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Number of turns for each contender.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Approximate length of a turn in seconds.")] = None,
    device: Annotated[
        DeviceName, typer.Option(help="Device to run on. Everything runs at full precision.")
    ] = DeviceName.cpu,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Include the other JAX libraries that are installed.")
    ] = True,
    threads: Annotated[int, typer.Option(help="Number of cores and threads for each contender.")] = 1,
    json_file: JsonFile = None,
    plot: PlotFile = None,
    record_file: Annotated[
        Path | None,
        typer.Option("--show", help="Show this record instead of measuring. --case and --mode choose from it."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table with one row per case.")] = False,
) -> None:
    """Time PyTorch, our backend and other JAX libraries on the same LSTMs.

    The modes are forward, forward and backward, one Adam step, and a whole training. Each contender runs in its own
    process, pinned to the same cores, and the rounds are interleaved: ratios compare what ran in the same round.

    The default takes about an hour on one core, --quick under two minutes. Ratios need an idle machine.

    A contender whose outputs or gradients differ from torch's is not timed, and the exit code is 1.
    """
    from lstm_parity.bench.plan import make_plan
    from lstm_parity.bench.record.record import read_record
    from lstm_shared.errors import InputError

    second_plot = None if plot is None else plot.with_stem(f"{plot.stem}-scaling")
    outputs = {"--json": json_file, "--plot": plot, "the second plot of --plot": second_plot}
    require_outputs(outputs, inputs={"--show": record_file})
    if record_file is not None:
        options = [option.name for option in context.command.params if option.name]
        others = (name for name in options if name not in ("record_file", "markdown", "plot", "case", "mode"))
        refuse_options(context, "--show does not measure: leave this out", *others)
        record = read_record(record_file)
        if case or mode:
            record = record.only(case or (), mode or ())
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
        from lstm_parity.bench.timing.runner import run

        record = run(plan, command=command_line(), threads=threads, device=device.value, progress=True)
    unsaved = save_each([(json_file, write_json(record.to_dict()))])
    if plot and second_plot:
        unsaved += _draw(record, plot, second_plot)
    _print(record, markdown)
    InputError.raise_any(unsaved)
    raise typer.Exit(0 if record.ok else 1)


def _print(record: "Record", markdown: bool) -> None:
    if not markdown:
        from lstm_parity.bench.record.table import show as as_tables

        show(as_tables(record))
        return
    from lstm_parity.bench.record.table import MARKDOWN_HEADINGS
    from lstm_parity.bench.record.table import markdown as as_markdown

    say(*as_markdown(record).splitlines(), "", MARKDOWN_HEADINGS)
    print_errors([printable(f"{name}: left out: {why}") for name, why in record.missing.items()])


def _draw(record: "Record", plot: Path, second_plot: Path) -> list[str]:
    from lstm_parity.bench.record.plots import ratio_bars, scaling_curves
    from lstm_parity.report.plots import save_figure

    figures = {plot: ratio_bars(record), second_plot: scaling_curves(record)}
    drawn = {path: figure for path, figure in figures.items() if figure is not None}
    if not drawn:
        return ["--plot: there is nothing to plot: no contender was timed along with torch eager"]
    return save_each((path, lambda path: save_figure(drawn[path], path)) for path in drawn)
