"""``lstm-parity`` and ``python -m lstm_parity``: run the command line, turn errors into lines and exit codes."""

import sys


def main() -> None:
    """Exit code 0: done, or they agree; 1: they differ; 2: something is wrong with what was given; 130: stopped."""
    try:
        import matplotlib  # noqa: F401
        import rich  # noqa: F401
        import typer
    except ImportError as error:
        sys.exit(_complain([_missing(error)]))

    from lstm_parity.cli import app
    from lstm_shared.errors import ReportedError

    try:
        code = app(standalone_mode=False)
    except ReportedError as error:
        code = _complain(list(error.problems))
    except typer.TyperException as error:  # wrong options and arguments; without a message when help was shown instead
        code = _complain(error.format_message().splitlines())
    except OSError as error:
        code = _complain([f"{error.filename}: {error.strerror}" if error.filename else str(error)])
    except ImportError as error:
        code = _complain([_missing(error)])
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code or 0)


def _missing(error: ImportError) -> str:
    return f"{error.name} is not installed: pip install 'lstm-parity[all]'" if error.name else str(error)


def _complain(problems: list[str]) -> int:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
