"""Check the arguments of ``lstm`` and bring them into one form: time-major arrays with a batch axis."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.lax import PrecisionLike
from jaxtyping import Array, ArrayLike

from jax_lstm.arrays import accumulation_dtype, to_jax
from jax_lstm.recurrences.choose import IMPLEMENTATIONS, Sizes
from jax_lstm.recurrences.step import Masks, Product
from lstm_shared.argument_kinds import as_array, as_arrays, in_words, native
from lstm_shared.describe import describe_as
from lstm_shared.inputs import is_whole, require_sequence
from lstm_shared.specs import LSTMSpec


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("params", "inputs", "h_0", "c_0", "lengths", "masks"),
    meta_fields=("spec", "batched", "batch_first"),
)
@dataclass(frozen=True)
class Call:
    """The checked arguments, time-major and with a batch axis. A pytree of their arrays."""

    spec: LSTMSpec
    params: dict[str, Array]
    inputs: Array
    h_0: Array
    c_0: Array
    lengths: Array | None
    masks: Masks
    batched: bool
    batch_first: bool

    @property
    def sizes(self) -> Sizes:
        steps, batch, inputs = self.inputs.shape
        return Sizes(steps, batch, inputs, self.spec.hidden_size, self.inputs.dtype)

    def product(self, precision: PrecisionLike) -> Product:
        return Product(self.inputs.dtype, self.c_0.dtype, precision)

    def restore(self, array: Array) -> Array:
        """Give an array (…, time, batch, size) the axes of the caller's inputs."""
        if not self.batched:
            return jnp.squeeze(array, axis=-2)
        return jnp.swapaxes(array, -3, -2) if self.batch_first else array

    def restore_state(self, array: Array) -> Array:
        return array if self.batched else jnp.squeeze(array, axis=-2)


def prepare(
    params: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None,
    *,
    batch_first: bool,
    lengths: ArrayLike | None,
    reset: ArrayLike | None,
    precision: PrecisionLike,
    implementation: str = "auto",
    dropout: float = 0.0,
    key: Array | None = None,
    recompute: int | None = None,
) -> Call:
    """Check the arguments of ``lstm``, which documents them, and bring them into one form.

    Raises:
        WeightsError, InputError: an argument is wrong. The message names everything that is wrong.
    """
    spec = describe_as(params, LSTMSpec)
    problems = wrong_options(implementation, recompute) + wrong_precision(precision) + _wrong_key(key)
    # Check them before they become JAX arrays: moving an array to a device may already compile something.
    checked: Any = as_array("inputs", inputs, problems)
    ends: Any = None if lengths is None else as_array("lengths", lengths, problems)
    resets: Any = None if reset is None else as_array("reset", reset, problems)
    state = as_arrays(state, ("h_0", "c_0"), problems)
    known_lengths = None if ends is None or isinstance(ends, Tracer) else np.asarray(ends)
    if known_lengths is not None and known_lengths.dtype.kind in "iu":
        # JAX warns about int64 constants in a program that is traced with x64 and then runs without it.
        ends = known_lengths.clip(-1, np.iinfo(np.int32).max).astype(np.int32)
    require_sequence(
        spec,
        checked,
        state,
        batch_first=batch_first,
        lengths=ends,
        known_lengths=known_lengths,
        reset=resets,
        dropout=dropout,
        has_key=key is not None,
        others=problems,
    )
    ends, resets = (x if x is None else to_jax(x) for x in (ends, resets))
    batched = np.ndim(checked) == 3
    valid = None
    if ends is None:
        sequence = to_jax(checked)
    else:
        ends = jnp.atleast_1d(ends)
        if jnp.iinfo(ends.dtype).bits < 32:
            ends = ends.astype(jnp.int32)  # int8 cannot count the steps
        sequence, valid = _without_padding(checked, ends, batched, batch_first)

    def time_major(array: Array) -> Array:
        if not batched:
            return array[:, None]
        return jnp.swapaxes(array, 0, 1) if batch_first else array

    sequence, resets = time_major(sequence), None if resets is None else time_major(resets)
    accumulate = accumulation_dtype(sequence.dtype)
    rows = (len(spec.places), sequence.shape[1])
    if state is None:
        h_0 = jnp.zeros((*rows, spec.state_size), sequence.dtype)
        c_0 = jnp.zeros((*rows, spec.hidden_size), accumulate)
    else:
        h_0, c_0 = (part.reshape(*rows, part.shape[-1]) for part in map(to_jax, state))
        h_0, c_0 = h_0.astype(sequence.dtype), c_0.astype(accumulate)
    params = {name: to_jax(params[name]).astype(accumulate) for name in spec.shapes}
    return Call(spec, params, sequence, h_0, c_0, ends, Masks(valid, resets), batched, bool(batch_first))


def wrong_options(implementation: object, recompute: object) -> list[str]:
    """Return what is wrong with the options that say how to compute."""
    problems = []
    if not isinstance(implementation, str) or implementation not in IMPLEMENTATIONS:
        problems.append(f"implementation is {in_words(implementation)}, expected one of {', '.join(IMPLEMENTATIONS)}")
    if recompute is not None and not is_whole(recompute):
        problems.append(f"recompute is {in_words(recompute)}, expected a number of steps, 1 or more, or None")
    return problems


def wrong_precision(precision: PrecisionLike) -> list[str]:
    """Return what is wrong with the precision of the matrix products."""
    if precision is None:
        return []
    row = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    try:
        jax.eval_shape(lambda a, b: jnp.matmul(a, b, precision=precision), row, row)
    except (TypeError, ValueError):
        words = 'None, "default", "high", "highest" or another that jax.numpy.matmul takes'
        return [f"precision is {in_words(precision)}, expected {words}"]
    return []


def hashable(precision: PrecisionLike) -> PrecisionLike:
    """Return the precision as a static argument for ``jit``: a pair may come as a list, which has no hash."""
    return tuple(precision) if isinstance(precision, list) else precision  # pyright: ignore[reportReturnType]


def _wrong_key(key: Array | None) -> list[str]:
    if key is None:
        return []
    try:
        jax.eval_shape(lambda key: jax.random.fold_in(key, 0), key)
    except (TypeError, ValueError):
        return [f"key is {in_words(key)}, expected one random key, such as jax.random.key(0)"]
    return []


def _without_padding(inputs: ArrayLike, lengths: Array, batched: bool, batch_first: bool) -> tuple[Array, Array]:
    """Return the inputs with zeros in the padding, and a (time, batch) mask that is True outside the padding.

    The inputs keep the caller's layout. This removes NaN from the padding, so it must be the first operation on the
    inputs: under ``jax_debug_nans`` any operation that returns NaN is an error, even a transposition or
    ``jnp.asarray``.
    """
    array = jax.device_put(native(inputs)) if isinstance(inputs, np.ndarray) else inputs
    array = array if isinstance(array, jax.Array) else to_jax(array)
    steps = array.shape[1 if batched and batch_first else 0]
    valid = jnp.arange(steps, dtype=lengths.dtype)[:, None] < lengths[None, :]
    where = valid[:, 0] if not batched else valid.T if batch_first else valid
    return lax.select(jnp.broadcast_to(where[..., None], array.shape), array, jnp.zeros_like(array)), valid
