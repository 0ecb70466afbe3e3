"""Options that several commands take, and how outputs are checked before and written after the work."""

import enum
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_shared.files import require_writable, write_file

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write everything to this file as JSON.")]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw a picture into this .png, .svg or .pdf.")]


class BackendName(enum.StrEnum):
    """Which backend computes."""

    jax = "jax"
    torch = "torch"


class DtypeName(enum.StrEnum):
    """Floating-point precision."""

    float32 = "float32"
    float64 = "float64"


def require_outputs(*, plot: Path | None = None, files: Iterable[Path | None] = ()) -> None:
    """Say what is wrong with the output files before any work is done."""
    if plot is not None:
        from lstm_parity.plots import require_plot_name

        require_plot_name(plot)
    for path in (plot, *files):
        if path is not None:
            require_writable(path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; NaN and infinity become null."""
    from lstm_parity.report import finite

    write_file(path, (json.dumps(finite(content), indent=2, allow_nan=False) + "\n").encode())
