"""How both Flax modules draw new weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array


def uniform_initializer(hidden_size: int) -> Callable[..., Array]:
    """Return torch's ``initializer(key, shape, dtype)``: U(±1/√hidden_size) for every weight and bias."""
    bound = hidden_size**-0.5

    def initialize(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize
