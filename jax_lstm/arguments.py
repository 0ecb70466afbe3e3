"""The arguments of ``lstm``, checked and brought into one form: time-major arrays with a batch axis."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

from jax_lstm.implementations import IMPLEMENTATIONS, Sizes
from jax_lstm.recurrence import Masks, Product
from lstm_shared.describe import describe_as
from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole, require_sequence
from lstm_shared.specs import LSTMSpec


class Call(NamedTuple):
    """The arguments, checked and time-major with a batch axis."""

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

    def product(self, precision: Any) -> Product:
        return Product(self.inputs.dtype, self.c_0.dtype, precision)

    def restore(self, array: Array) -> Array:
        """(…, time, batch, size) -> with the axes of the caller's inputs."""
        if not self.batched:
            return jnp.squeeze(array, axis=-2)
        return jnp.swapaxes(array, -3, -2) if self.batch_first else array

    def restore_state(self, array: Array) -> Array:
        return array if self.batched else jnp.squeeze(array, axis=-2)


def prepare(
    params: Mapping[str, ArrayLike],
    inputs: Any,
    state: Any,
    batch_first: bool,
    lengths: Any,
    reset: Any,
    dropout: float,
    key: Array | None,
    implementation: str,
    recompute: int | None = None,
) -> Call:
    """The arguments of ``lstm``, which documents them.

    Raises:
        WeightsError, InputError: everything that is wrong with them.
    """
    spec = describe_as(params, LSTMSpec)
    problems = []
    if implementation not in IMPLEMENTATIONS:
        problems.append(f"implementation is {implementation!r}, expected one of {', '.join(IMPLEMENTATIONS)}")
    if recompute is not None and not is_whole(recompute):
        problems.append(f"recompute is {recompute!r}, expected a number of steps, 1 or more, or None")
    InputError.raise_any(problems)
    known_lengths = None if lengths is None or isinstance(lengths, Tracer) else np.asarray(lengths)
    if known_lengths is not None and known_lengths.dtype.kind in "iu":
        # int64 constants in a program that is traced with x64 and then run without make JAX warn.
        lengths = known_lengths.clip(-1, np.iinfo(np.int32).max).astype(np.int32)
    # Checked as they are: moving them to a device may already compile something.
    inputs, lengths, reset = (
        x if x is None or hasattr(x, "dtype") else np.asarray(x) for x in (inputs, lengths, reset)
    )
    if isinstance(state, tuple | list):
        state = tuple(part if hasattr(part, "dtype") else np.asarray(part) for part in state)
    require_sequence(
        spec,
        inputs,
        state,
        batch_first=batch_first,
        lengths=lengths,
        known_lengths=known_lengths,
        reset=reset,
        dropout=dropout,
        has_key=key is not None,
    )
    inputs, lengths, reset = (x if x is None else jnp.asarray(x) for x in (inputs, lengths, reset))
    batched = inputs.ndim == 3

    def time_major(array: Array) -> Array:
        if not batched:
            return array[:, None]
        return jnp.swapaxes(array, 0, 1) if batch_first else array

    inputs, reset = time_major(inputs), None if reset is None else time_major(reset)
    accumulate = jnp.promote_types(inputs.dtype, jnp.float32)
    rows = (spec.num_layers * len(spec.directions), inputs.shape[1])
    if state is None:
        h_0 = jnp.zeros((*rows, spec.state_size), inputs.dtype)
        c_0 = jnp.zeros((*rows, spec.hidden_size), accumulate)
    else:
        h_0, c_0 = (jnp.asarray(part).reshape(*rows, part.shape[-1]) for part in state)
        h_0, c_0 = h_0.astype(inputs.dtype), c_0.astype(accumulate)
    valid = None
    if lengths is not None:
        lengths = jnp.atleast_1d(lengths)
        valid = jnp.arange(inputs.shape[0])[:, None] < lengths[None, :]
        inputs = jnp.where(valid[..., None], inputs, jnp.zeros_like(inputs))  # NaN in the padding ends here
    params = {name: jnp.asarray(params[name]).astype(accumulate) for name in spec.shapes}
    return Call(spec, params, inputs, h_0, c_0, lengths, Masks(valid, reset), batched, batch_first)
