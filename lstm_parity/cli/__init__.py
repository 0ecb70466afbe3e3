"""The command line. Each command imports what it needs when it runs, so that ``--help`` and ``inspect`` are quick."""

import typer

from lstm_parity.cli.bench import bench
from lstm_parity.cli.check import check
from lstm_parity.cli.diagnose import diagnose
from lstm_parity.cli.files import convert, inspect
from lstm_parity.cli.fuzz import fuzz
from lstm_parity.cli.trace import trace
from lstm_parity.cli.train import train

app = typer.Typer(
    help="One dictionary of weights, two backends, one verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (check, diagnose, fuzz, bench, train, trace, inspect, convert):
    app.command()(command)
