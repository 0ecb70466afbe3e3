"""What ``lstm-parity train`` says about a run: its lines, its record, its failure, and the held-out days."""

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_parity.cli.options import BackendName, DtypeName
from lstm_shared.printable import printable

if TYPE_CHECKING:
    from rich.console import Group

    from lstm_parity.annotations import JsonObject
    from lstm_shared.prices.windows import HeldOutScore
    from lstm_shared.training.plan import FitResult


def lines_of(backend: BackendName, dtype: DtypeName, result: "FitResult", resumed: Path | None) -> list[str]:
    """Return the lines about the run. ``resumed`` is the directory that it was to resume from."""
    lines = list(result.notes)
    if resumed is not None:
        from_there = f"resumed from epoch {result.resumed_from}"
        lines.append(
            f"{resumed}: {from_there if result.resumed_from else 'no checkpoint, so the run begins at the start'}"
        )
    compiled = f", and {result.compile_seconds:.2f} s to compile" if result.compile_seconds else ""
    run = f"{result.steps} steps in {result.epochs} epochs, {result.seconds:.3f} s{compiled}"
    return [*lines, f"{backend.value}, {dtype.value}: {run}; last loss {result.losses[-1]:.3g}"]


def record_of(result: "FitResult") -> "JsonObject":
    """Return the run as a JSON object."""
    return {
        "epochs": result.epochs,
        "steps": result.steps,
        "resumed_from": result.resumed_from,
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "weights": {name: value.tolist() for name, value in result.weights.items()},
        "losses": result.losses.tolist(),
        "predictions": result.predictions.tolist(),
        "examples": result.examples.tolist(),
    }


def what_failed(result: "FitResult", out: Path | None) -> list[str]:
    """Return a line if training ended in NaN or infinity. Such weights are not written over others."""
    import numpy as np

    bad = np.flatnonzero(~np.isfinite(result.losses))
    broken = [name for name, weight in result.weights.items() if not np.isfinite(weight).all()]
    if not bad.size and not broken:
        return []
    since = f"the loss is {result.losses.flat[bad[0]]} at step {bad[0] + 1} of {result.steps}" if bad.size else ""
    what = since or f"{', '.join(broken)} hold NaN or infinity"
    kept = "" if out is None else f"; {out} was not written"
    return [f"training failed: {what}{kept}: try a smaller --learning-rate, or --dtype float64"]


def score_table(score: "HeldOutScore", unit: str) -> "Group":
    """Return a table of the errors over the held-out days, one row per prediction."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    heading = Text(f"error over {score.days} held-out days, in the unit of {printable(unit)}", style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column()
    table.add_column("root mean square", justify="right")
    table.add_column("mean absolute", justify="right")
    for name in ("model", "tomorrow_is_today", "training_mean"):
        error = getattr(score, name)
        title = {"tomorrow_is_today": "tomorrow = today", "training_mean": "the training mean"}.get(name, "the model")
        table.add_row(title, f"{error.root_mean_square:.4g}", f"{error.mean_absolute:.4g}")
    return Group(heading, table)
