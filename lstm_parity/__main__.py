"""``lstm-parity`` and ``python -m lstm_parity``: run the command line and turn however it ends into an exit code."""

import os
import sys

# Import no more than this up front: until main runs, Python itself handles signals, with a traceback.
from lstm_parity.process.stop_signals import StopSignals


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 done, or both sides agree; 1 they differ; 2 the input is wrong, or the machine lacks the memory for
    it; 3 undecided; 70 a bug in lstm-parity; 130 stopped by SIGINT; 143 stopped by SIGTERM; 141 the reader of the
    output closed it.
    """
    signals = StopSignals()
    try:
        code = _main(signals)
    except BaseException:  # a signal between the end of the work and the exit
        code = signals.exit_code or 70
    if signals.received is not None:
        os._exit(code)  # a module whose import was interrupted may crash in its teardown
    sys.exit(code)


def _main(signals: StopSignals) -> int:
    with signals:
        from lstm_parity.process.standard_streams import flush_output, give_up_unwritable, prepare_streams

        try:
            prepare_streams()
            code = _command(signals)
            flush_output()
            # If a library swallowed the exception, the command's own code may not be true.
            code = signals.exit_code or code
        except BaseException as error:
            signals.work_ends()
            code = signals.exit_code or _explain(error)
        signals.work_ends()
        give_up_unwritable()
    return code


def _command(signals: StopSignals) -> int:
    """Run the command that the arguments name, and return its exit code."""
    import importlib.util

    from lstm_parity.process.standard_streams import quiet_libraries

    os.environ["MPLBACKEND"] = (
        "agg"  # plots go to files; any other value, even a wrong one, is meant for other programs
    )
    for name in ("typer", "rich"):  # all that --help needs; a command asks for more when it needs it
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with quiet_libraries():
        import typer

        from lstm_parity.cli import app

        command = typer.main.get_command(app)
        signals.work_begins()
        # command.main() would turn a closed pipe into exit code 1.
        try:
            with command.make_context("lstm-parity", sys.argv[1:]) as context:
                command.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        return 0


def _explain(error: BaseException) -> int:
    """Print on standard error what ended the command, and return its exit code."""
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
