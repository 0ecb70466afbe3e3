"""What to say when a package that one of ours needs is not installed."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from lstm_shared.words import listed


def install_command(extra: str) -> str:
    """Return the command that installs this extra of lstm-parity."""
    return f"pip install 'lstm-parity[{extra}]'"


def not_installed(package: str, extra: str = "all") -> str:
    """Say that a package is missing, and which extra brings it."""
    return f"{package} is not installed: {install_command(extra)}"


@contextmanager
def say_what_to_install(importer: str, packages: Mapping[str, str], extra: str) -> Generator[None]:
    """Reword the error of an import in the block if one of these packages is missing.

    Every other error passes through unchanged, also that of another missing module.

    Args:
        importer: the module of ours that needs the packages.
        packages: name of each package in an import -> its name in the message, such as ``{"torch": "PyTorch"}``.
        extra: the extra of lstm-parity that installs them.

    Raises:
        ModuleNotFoundError: one of the packages is missing. The message says what to install, and ``name`` is the
            missing package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        message = f"{importer} needs {listed(packages.values())}: {install_command(extra)}"
        raise ModuleNotFoundError(message, name=error.name, path=error.path) from error
