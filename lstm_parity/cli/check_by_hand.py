"""``lstm-parity check`` without a file: check the built-in example."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from lstm_parity.cli.options import command_line
from lstm_parity.cli.outputs import save_each, write_json
from lstm_parity.cli.screen import show
from lstm_parity.report.report import Report
from lstm_parity.training.published_run import QUICK_EPOCHS, GoldenRun, golden_run
from lstm_parity.verdict.check import check
from lstm_shared.by_hand import COMPANY_LABELS, PUBLISHED_INIT, PUBLISHED_PREDICTIONS
from lstm_shared.errors import InputError


def check_by_hand(*, quick: bool, every_row: bool, json_file: Path | None, plot: Path | None, **devices: Any) -> int:
    """Print the verdict, the published figures and the report. Returns the exit code: 0, 1 or 3."""
    report = check(PUBLISHED_INIT, **devices)
    stages = (0, QUICK_EPOCHS) if quick else tuple(PUBLISHED_PREDICTIONS)
    run = golden_run("float64", stages=stages, progress=True)
    report = replace(report, rows=(*report.rows, *run.trajectory_rows()), command=command_line())
    departures = run.departures()
    ok = report.ok and not departures
    unsaved = _save(report, run, departures, ok, json_file, plot)
    published = "" if quick else f"; published figures {'reached' if not departures else 'NOT reached'} by both"
    style = "bold green" if ok else "bold red" if report.exit_code != 3 else "bold yellow"
    times = []
    steps = 2 * stages[-1]
    for backend, seconds in run.seconds.items():
        compiled = run.compile_seconds[backend]
        apart = f", and {compiled:.2f} s to compile" if compiled else ""
        times.append(f"{backend:5s} {steps} steps in {seconds:.3f} s, {1e6 * seconds / steps:.2f} µs a step{apart}")
    show(
        Text.assemble(("The LSTM by hand", "bold"), ", two companies, four days of prices, twelve weights"),
        Text(),
        Text(f"verdict: {report.verdict()}{published}", style=style),
        *(Text(line, style="" if ok else "red") for line in (*report.answer(), *departures)),
        Text(),
        Text.assemble(("Training", "bold"), " (Adam, learning rate 1e-3; an epoch is two steps, company A then B)"),
        run.table(),
        Text(),
        *map(Text, times),
        Text(),
        report.evidence(every_row=every_row),
    )
    InputError.raise_any(unsaved)
    return 1 if departures else report.exit_code


def _save(
    report: Report, run: GoldenRun, departures: list[str], ok: bool, json_file: Path | None, plot: Path | None
) -> list[str]:
    """Save the results before anything is printed, so that a closed terminal loses none. Returns the problems."""
    golden = {
        "predictions": run.predictions,
        "seconds": run.seconds,
        "compile_seconds": run.compile_seconds,
        "departures": departures,
    }
    record = {"ok": ok, "golden": golden, "report": json.loads(report.to_json())}
    results = {str(backend): result for backend, result in run.results.items()}

    def draw(path: Path) -> None:
        from lstm_parity.report.plots import save_figure, training_curves

        save_figure(training_curves(results, COMPANY_LABELS), path)

    return save_each([(json_file, write_json(record)), (plot, draw)])
