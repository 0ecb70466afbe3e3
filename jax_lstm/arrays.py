"""Convert any framework's arrays to JAX, choose dtypes, and tell whether a call runs inside a caller's ``jit``."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import get_opaque_trace_state
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, PyTree

from lstm_shared.argument_kinds import native


def to_jax(array: ArrayLike) -> Array:
    """Convert a NumPy array in any byte order, a torch tensor (it may require a gradient) or a number to JAX."""
    if type(array).__module__.partition(".")[0] == "torch":
        from lstm_shared.tensors import to_array  # torch is installed: this is one of its tensors

        array = to_array(array)  # pyright: ignore[reportArgumentType]
    return jnp.asarray(native(array))


def accumulation_dtype(dtype: DTypeLike) -> np.dtype:
    """Return the dtype of cell states and sums for inputs of ``dtype``: at least float32.

    ``jnp.promote_types`` gives the same, but raises under ``jax_numpy_dtype_promotion="strict"``.
    """
    return np.dtype(dtype) if np.dtype(dtype) == np.float64 else np.dtype(np.float32)


def common_dtype(*arrays: ArrayLike) -> np.dtype:
    """Return the dtype that JAX's usual promotion gives, even under ``jax_numpy_dtype_promotion="strict"``."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*arrays)


def outside_jit(*trees: PyTree) -> bool:
    """Return whether a call with these arguments runs outside every ``jit`` and loop; ``grad`` and ``vmap`` are fine.

    Outside ``jit``, JAX compiles each loop by itself. It does so again at every call, because no two traces of a
    function are equal. For a small LSTM that takes 0.15 to 0.4 s, and 0.7 to 1.8 s for its gradient or under ``vmap``.
    One ``jit`` around the whole call compiles once. Inside a caller's ``jit`` it would only be in the way.
    """
    concrete = not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))
    if concrete and get_opaque_trace_state() == _OUTSIDE:
        return True
    # Under a caller's ``jit`` even a constant is traced. This one leaves no operation in the caller's program, and may
    # be made where implicit transfers are forbidden.
    with jax.transfer_guard("allow"):
        return not isinstance(jnp.asarray(np.float32(0)), Tracer)


with jax.ensure_compile_time_eval():
    _OUTSIDE = get_opaque_trace_state()
