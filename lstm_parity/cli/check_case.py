"""``lstm-parity check --case``: replay a case that ``lstm-parity fuzz`` has written."""

from dataclasses import replace
from pathlib import Path

import typer

from lstm_parity.cli.options import command_line, refuse_options
from lstm_parity.cli.outputs import save_each, write_json
from lstm_parity.cli.screen import say, show
from lstm_shared.errors import InputError


def check_case(context: typer.Context, path: Path, json_file: Path | None) -> int:
    """Print the report of the case in a file. Returns the exit code: 0 if the backends agree, 1 if they differ."""
    others = [option.name for option in context.command.params if option.name not in ("case", "json_file")]
    refuse_options(context, "--case has its own settings: leave this out", *(name for name in others if name))
    from lstm_parity.fuzz.search import replay
    from lstm_parity.sides.case_files import case_in_words, read_case

    case, compiled, implementation = read_case(path)
    how = {"compiled": compiled, "implementation": implementation}
    report = replace(replay(case, **how), command=command_line())
    unsaved = save_each([(json_file, write_json(report.to_json()))])
    say(f"{path}: {case_in_words(case)}{run_in_words(**how)}", "")
    show(report.screen())
    InputError.raise_any(unsaved)
    return report.exit_code


def run_in_words(*, compiled: bool, implementation: str) -> str:
    """Say what is special about how a case is run: another implementation, or operation by operation."""
    by_name = "" if implementation == "auto" else f'; implementation="{implementation}"'
    return by_name + ("" if compiled else "; run operation by operation")
