"""``lstm-parity`` and ``python -m lstm_parity``: run the command line, turn errors into lines and exit codes."""

import sys


def main() -> None:
    """Exit code 0: done, or they agree; 1: they differ; 2: something is wrong with what was given."""
    try:
        import matplotlib  # noqa: F401
        import rich  # noqa: F401
        import typer
    except ImportError as error:
        sys.exit(_complain([f"lstm-parity: {error.name} is not installed: pip install 'lstm-parity[all]'"]))

    from lstm_parity.cli import app
    from lstm_shared.errors import ReportedError

    try:
        code = app(standalone_mode=False)
    except ReportedError as error:
        code = _complain(list(error.problems))
    except typer.TyperException as error:  # wrong options and arguments
        code = _complain([error.format_message()])
    except OSError as error:
        code = _complain([f"{error.filename}: {error.strerror}" if error.filename else str(error)])
    except ImportError as error:
        code = _complain([f"{error.name} is not installed: pip install 'lstm-parity[all]'"])
    except (KeyboardInterrupt, typer.Abort):
        code = _complain(["stopped"]) and 130
    sys.exit(code or 0)


def _complain(problems: list[str]) -> int:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
