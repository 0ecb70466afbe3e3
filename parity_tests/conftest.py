"""Settings for every test: strict shapes in JAX, float64 as a context, run-time type checks of private modules."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Run the test with float64 switched on in JAX, as a user would: by the context manager."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(text or bytes, name) -> the path of that file."""

    def write(content: str | bytes, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="session")
def stocks() -> str:
    """A file of real prices: five stocks, month by month, in the columns symbol, date and price."""
    from vega_datasets import data

    return data.stocks.filepath
