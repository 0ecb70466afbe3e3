"""``lstm-parity`` and ``python -m lstm_parity``: run the command line, turn whatever ends it into an exit code."""

import os
import sys

# No more at first: until main runs, Python itself answers signals, with a traceback.
from lstm_parity.process.stop_signals import StopSignals


def main() -> None:
    """Run the command line and exit.

    Exit code 0: done, or they agree; 1: they differ; 2: something is wrong with what was given, or the machine has no
    room for it; 3: it cannot be judged; 70: a fault of ours; 130: stopped by SIGINT; 143: by SIGTERM; 141: whoever read
    the output went away.
    """
    signals = StopSignals()
    try:
        code = _main(signals)
    except BaseException:  # a signal in the moment between the work and the end
        code = signals.exit_code or 70
    if signals.received is not None:
        os._exit(code)  # what was interrupted while it was imported may crash when it is torn down
    sys.exit(code)


def _main(signals: StopSignals) -> int:
    with signals:
        from lstm_parity.process.standard_streams import flush_output, give_up_unwritable, prepare_streams

        try:
            prepare_streams()
            code = _command(signals)
            flush_output()
            # Where a library swallowed the exception, what the command says may be half the truth.
            code = signals.exit_code or code
        except BaseException as error:
            signals.work_ends()
            code = signals.exit_code or _explain(error)
        signals.work_ends()
        give_up_unwritable()
    return code


def _command(signals: StopSignals) -> int:
    """Run the command that the arguments ask for; its exit code."""
    import importlib.util

    from lstm_parity.process.standard_streams import quiet_libraries

    os.environ["MPLBACKEND"] = "agg"  # pictures go into files: another value, even a wrong one, is for other programs
    for name in ("typer", "rich"):  # what --help needs; a command asks for more when it needs it
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with quiet_libraries():
        import typer

        from lstm_parity.cli import app

        command = typer.main.get_command(app)
        signals.work_begins()
        # Not command.main(): it turns a closed pipe into exit code 1.
        try:
            with command.make_context("lstm-parity", sys.argv[1:]) as context:
                command.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        return 0


def _explain(error: BaseException) -> int:
    """Say on standard error what ended the command; its exit code."""
    from lstm_parity.process.exit_codes import FAULT, explain
    from lstm_parity.process.standard_streams import debugging, print_errors
    from lstm_shared.errors import Terminated
    from lstm_shared.printable import printable

    if isinstance(error, KeyboardInterrupt | Terminated):
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    code, problems = explain(error)
    print_errors([f"error: {printable(problem)}" for problem in problems])
    if code == FAULT and debugging():
        import traceback

        traceback.print_exception(error)
    return code


if __name__ == "__main__":
    main()
