"""The check of the embedded example, as the command prints it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from lstm_parity.cli.options import command_line, write_json
from lstm_parity.golden import QUICK_EPOCHS, golden_run
from lstm_parity.plots import save_figure, training_curves
from lstm_parity.verdict import check
from lstm_shared.by_hand import COMPANY_LABELS, PUBLISHED_INIT, PUBLISHED_PREDICTIONS


def check_by_hand(console: Console, *, quick: bool, json_file: Path | None, plot: Path | None, **devices: Any) -> int:
    """Print the parity report, the golden table and the verdict; 0 when the backends agree, else 1."""
    console.print("[bold]The LSTM by hand[/bold], two companies, four days of prices, twelve weights\n")
    report = check(PUBLISHED_INIT, **devices)
    stages = (0, QUICK_EPOCHS) if quick else tuple(PUBLISHED_PREDICTIONS)
    run = golden_run("float64", stages=stages, progress=True)
    report = replace(report, rows=(*report.rows, *run.trajectory_rows()), command=command_line())
    departures = run.departures()
    for table in report.tables():
        console.print(table)
        console.print()
    console.print("[bold]Training[/bold] (Adam, learning rate 1e-3; an epoch is two steps, company A then B)")
    console.print(run.table())
    console.print()
    steps = 2 * stages[-1]
    for backend, seconds in run.seconds.items():
        compiled = run.compile_seconds[backend]
        apart = f", and {compiled:.2f} s to compile" if compiled else ""
        console.print(f"{backend:5s} {steps} steps in {seconds:.3f} s, {1e6 * seconds / steps:.2f} µs a step{apart}")
    console.print()
    console.print(report.settings())
    for line in (*report.failures(), *departures):
        console.print(Text(line, style="red"))
    ok = report.ok and not departures
    published = "" if quick else f"; published figures {'reached' if not departures else 'NOT reached'} by both"
    console.print(Text(f"verdict: {report.verdict()}{published}", style="bold green" if ok else "bold red"))
    if json_file:
        golden = {
            "predictions": run.predictions,
            "seconds": run.seconds,
            "compile_seconds": run.compile_seconds,
            "departures": departures,
        }
        write_json(json_file, {"ok": ok, "golden": golden, "report": json.loads(report.to_json())})
    if plot:
        results = {str(backend): result for backend, result in run.results.items()}
        save_figure(training_curves(results, COMPANY_LABELS), plot)
    return 0 if ok else 1
