"""Settings for all tests: strict shapes in JAX, float64 by context manager, run-time type checks of private modules."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
import torch
from jaxtyping import install_import_hook

# These private modules state their shapes, and the tests check them on every call. The hook must come before any import
# of the modules.
with install_import_hook(["jax_lstm.recurrences.step", "jax_lstm.recurrences.scan"], "beartype.beartype"):
    import jax_lstm.recurrences.scan  # noqa: F401

from lstm_cases import unoptimized_jit

import lstm_parity.__main__

jax.config.update("jax_numpy_rank_promotion", "raise")
# Workers share the cores. torch's threads would wait for each other by spinning, which costs more than they gain.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the commands and scripts that tests start
# A shell's background jobs ignore SIGINT, and their children inherit that, so tests that send it would wait forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Collect garbage less often, and not among what stays anyway: it took a quarter of the time of some tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture
def x64() -> Iterator[None]:
    """Run the test with float64 enabled in JAX by the context manager, as a user would."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unoptimized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without optimisation in ``jax.jit``, for tests that plant a mistake and only need to see it noticed."""
    monkeypatch.setattr("jax.jit", unoptimized_jit)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(text or bytes, name) writes a file and returns its path."""

    def write(content: str | bytes, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="session")
def stocks() -> str:
    """The path of a file of real monthly prices: five stocks, in the columns symbol, date and price."""
    from vega_datasets import data

    return data.stocks.filepath


class Ran(NamedTuple):
    """The result of a command line."""

    code: int
    out: str
    err: str

    @property
    def problems(self) -> list[str]:
        """The error messages on stderr; if the exit code is 2, every line is one."""
        lines = self.err.splitlines()
        assert all(line.startswith("error: ") for line in lines), self.err
        return [line.removeprefix("error: ") for line in lines]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """cli("train", "--epochs", 3) runs the command line in this process, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["lstm-parity", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            lstm_parity.__main__.main()
        out, err = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return Ran(exit_.value.code, out, err)

    return run
