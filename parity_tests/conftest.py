"""Settings for every test: strict shapes in JAX, float64 as a context, run-time type checks of private modules."""

from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Run the test with float64 switched on in JAX, as a user would: by the context manager."""
    with jax.enable_x64(True):
        yield
