"""``lstm-parity check --all-devices``: one verdict for each pair of devices of this machine."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lstm_parity.cli.check_file import Subject
from lstm_parity.cli.outputs import save_each, write_json
from lstm_parity.cli.screen import say, show
from lstm_parity.sides.devices import jax_devices, torch_devices
from lstm_parity.verdict.check import check
from lstm_shared.errors import InputError


def check_devices(subject: Subject, options: dict[str, Any], json_file: Path | None) -> int:
    """Check every pair of devices and print one line each. Returns 0 if all agree, 1 if any differs, else 3."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("jax", "torch", "verdict"):
        table.add_column(title)
    reports = {}
    for jax_device in jax_devices():
        for torch_device in torch_devices():
            report = check(subject.weights, jax_device=jax_device, torch_device=torch_device, **options)
            reports[f"{jax_device} {torch_device}"] = report
            verdict = Text(report.verdict(), style="" if report.ok else "bold red")
            table.add_row(jax_device, torch_device, verdict)
    record = {pair: json.loads(report.to_json()) for pair, report in reports.items()}
    unsaved = save_each([(json_file, write_json(record))])
    say(*subject.lines)
    show(table)
    InputError.raise_any(unsaved)
    codes = {report.exit_code for report in reports.values()}
    return next((code for code in (1, 3) if code in codes), 0)
