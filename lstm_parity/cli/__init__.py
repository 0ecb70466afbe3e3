"""The command line. A command imports what it needs when it runs, so that ``--help`` and ``inspect`` are fast."""

from typing import Annotated

import typer

from lstm_parity.cli.bench import bench
from lstm_parity.cli.check import check
from lstm_parity.cli.diagnose import diagnose
from lstm_parity.cli.files import convert, inspect
from lstm_parity.cli.fuzz import fuzz
from lstm_parity.cli.help import Command, Group
from lstm_parity.cli.trace import trace
from lstm_parity.cli.train import train

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from lstm_parity import __version__
        from lstm_parity.cli.screen import say

        say(f"lstm-parity {__version__}")
        raise typer.Exit


@app.callback(help="One dictionary of weights, two backends, one verdict.")
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None: ...


for command in (check, diagnose, fuzz, bench, train, trace, inspect, convert):
    app.command(cls=Command)(command)
