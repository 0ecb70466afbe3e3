"""A progress bar for long runs, the same in both backends."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from lstm_shared.errors import InputError


@contextmanager
def progress_bar(
    description: str, total: int, *, done: int = 0, enabled: bool = True
) -> Generator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs. Yields ``show(done)``, which sets how much is done.

    Raises:
        InputError: the bar is enabled, but rich is not installed.
    """
    if not enabled:
        yield lambda done: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise InputError("progress needs rich: pip install rich, or leave progress=False") from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    nobody_sees = not (console.is_terminal or console.is_jupyter)  # in a log file the bar would be an empty line
    with Progress(*columns, console=console, transient=True, disable=nobody_sees) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda done: bar.update(task, completed=done)
