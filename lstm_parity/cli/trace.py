"""``lstm-parity trace``: show the LSTM by hand day by day, as the articles do."""

import math
from pathlib import Path
from typing import Annotated

import typer

from lstm_parity.cli.inputs import load_by_hand
from lstm_parity.cli.options import (
    Backend,
    BackendName,
    Dtype,
    DtypeName,
    JsonFile,
    PlotFile,
    refuse_options,
    require_finite_in,
)
from lstm_parity.cli.outputs import require_outputs, save_each, write_json
from lstm_parity.cli.screen import show
from lstm_shared.errors import InputError


def trace(
    context: typer.Context,
    weights_file: Annotated[
        Path | None, typer.Option("--weights", help="By-hand weight file. Default: the published trained weights.")
    ] = None,
    values: Annotated[str, typer.Option(help="Prices, one per day, separated by commas.")] = "0,0.5,0.25,1",
    long_memory: Annotated[float, typer.Option(help="Long memory before the first day.")] = 0.0,
    short_memory: Annotated[float, typer.Option(help="Short memory before the first day.")] = 0.0,
    example: Annotated[
        bool, typer.Option("--example", help="Show the worked example: one day, memories 2 and 1, its own weights.")
    ] = False,
    backend: Backend = BackendName.jax,
    dtype: Dtype = DtypeName.float64,
    plot: PlotFile = None,
    json_file: JsonFile = None,
) -> None:
    """Show the gates and memories of the LSTM by hand, one row per day."""
    require_outputs({"--plot": plot, "--json": json_file}, inputs={"--weights": weights_file})
    if example:
        own = "the worked example has its own: leave out either this or --example"
        refuse_options(context, own, "weights_file", "values", "long_memory", "short_memory")
    prices = _numbers(values)
    memories = {"--long-memory": long_memory, "--short-memory": short_memory}
    InputError.raise_any(
        [f"{name} is {value}, expected a number" for name, value in memories.items() if not math.isfinite(value)]
    )
    import numpy as np
    from rich.table import Table

    from lstm_parity.training.backends import trace as compute
    from lstm_shared import by_hand

    weights = load_by_hand(weights_file) if weights_file else by_hand.PUBLISHED_TRAINED
    if example:
        weights = by_hand.WORKED_EXAMPLE_WEIGHTS
        long_memory, short_memory = by_hand.WORKED_EXAMPLE_MEMORIES
        prices = [by_hand.WORKED_EXAMPLE_INPUT]
    numbers = {"--values": prices, "--long-memory": long_memory, "--short-memory": short_memory}
    require_finite_in(dtype, numbers)
    require_finite_in(dtype, {name: weights[name] for name in by_hand.BY_HAND}, f"{weights_file}: ")
    prices = np.asarray(prices, dtype)
    weights = {name: np.asarray(weights[name], dtype) for name in by_hand.BY_HAND}
    # NumPy floats, because torch rounds Python floats to float32.
    steps = compute(backend.value, weights, prices, np.float64(long_memory), np.float64(short_memory))
    record = {"prices": prices.tolist(), **{name: values.tolist() for name, values in steps._asdict().items()}}

    def draw(path: Path) -> None:
        from lstm_parity.report.plots import gates_and_memories, save_figure

        save_figure(gates_and_memories(steps, prices), path)

    unsaved = save_each([(json_file, write_json(record)), (plot, draw)])
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    titles = ("day", "price", "long\nremember %", "potential\nremember %", "potential\nmemory", "output %")
    for title in (*titles, "long\nmemory", "short\nmemory"):
        table.add_column(title, justify="right", no_wrap=True)
    # In float32 the sixth decimal differs from machine to machine.
    decimals, of_percent = (8, 4) if dtype is DtypeName.float64 else (5, 3)
    for day in range(len(prices)):
        table.add_row(
            str(day + 1),
            f"{prices[day]:g}",
            f"{100 * steps.long_remember_percent[day]:.{of_percent}f}",
            f"{100 * steps.potential_remember_percent[day]:.{of_percent}f}",
            f"{steps.potential_memory[day]:.{decimals}f}",
            f"{100 * steps.output_percent[day]:.{of_percent}f}",
            f"{steps.long_memory[day]:.{decimals}f}",
            f"{steps.short_memory[day]:.{decimals}f}",
        )
    show(table)
    InputError.raise_any(unsaved)


def _numbers(text: str) -> list[float]:
    problems, numbers = [], []
    for part in text.split(","):
        try:
            numbers.append(float(part))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            problems.append(f"--values: {part.strip()!r} is not a number, expected numbers separated by commas")
    InputError.raise_any(problems)
    return numbers
