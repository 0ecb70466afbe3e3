"""Arrays of any framework as JAX's, the dtypes of a computation, and whether it runs inside a caller's ``jit``."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import get_opaque_trace_state
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, PyTree

from lstm_shared.argument_kinds import native


def to_jax(array: ArrayLike) -> Array:
    """The array as JAX's: one of NumPy in any byte order, one of torch (it may require a gradient), or a number."""
    if type(array).__module__.partition(".")[0] == "torch":
        from lstm_shared.tensors import to_array  # torch is there: this is one of its tensors

        array = to_array(array)  # pyright: ignore[reportArgumentType]
    return jnp.asarray(native(array))


def accumulation_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of cell states and sums for inputs of ``dtype``: at least float32.

    ``jnp.promote_types`` says the same, but refuses to under ``jax_numpy_dtype_promotion="strict"``.
    """
    return np.dtype(dtype) if np.dtype(dtype) == np.float64 else np.dtype(np.float32)


def common_dtype(*arrays: ArrayLike) -> np.dtype:
    """What JAX's usual promotion makes of them, also under ``jax_numpy_dtype_promotion="strict"``."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*arrays)


def outside_jit(*trees: PyTree) -> bool:
    """Whether a call with these arguments runs outside every ``jit`` and every loop. ``grad`` and ``vmap`` are fine.

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
