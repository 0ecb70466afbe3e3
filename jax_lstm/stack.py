"""``lstm``: all of ``torch.nn.LSTM`` as one pure function of (weights, inputs)."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from jax_lstm.recurrence import DirectionWeights, Step, recur
from lstm_shared.describe import LSTMSpec, describe_as
from lstm_shared.errors import InputError
from lstm_shared.inputs import require_sequence
from lstm_shared.traces import LSTMTrace

IMPLEMENTATIONS = ("auto", "scan")

State = tuple[Array, Array]


def lstm(
    params: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    batch_first: bool = False,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    dropout: float = 0.0,
    key: Array | None = None,
    precision: Any = None,
    implementation: str = "auto",
) -> tuple[Float[Array, "*leading output"], State]:
    """Run an LSTM over sequences; the equations and the meaning of every name are those of ``torch.nn.LSTM``.

    Works under every JAX transform; compile time does not grow with the number of steps.

    Args:
        params: the ``state_dict()`` of a ``torch.nn.LSTM``: it says how many layers and directions there are, their
            sizes, and whether there are biases and projections. Cast to the inputs' dtype for the products.
        inputs: (time, batch, input_size); (batch, time, input_size) with ``batch_first``; or (time, input_size).
            Zero steps and an empty batch are fine.
        state: (h_0, c_0), shapes (layers·directions, batch, proj_size or hidden_size) and
            (layers·directions, batch, hidden_size), without the batch axis for unbatched inputs; zeros when left out.
        batch_first: whether the inputs and outputs have the batch axis first. The states never have.
        lengths: (batch,) integers 0..time: the sequences' own lengths, with the meaning of
            ``pack_padded_sequence(enforce_sorted=False)``: outputs past a length are zero, the last states are those
            at each sequence's own end, and the reverse direction starts there. What stands in the padding (NaN too)
            reaches neither outputs nor gradients. Lengths that are traced by ``jit`` are clipped to 0..time.
        reset: booleans with the inputs' leading axes: where True, the state is zeroed before that step is computed
            (episode boundaries). Forward direction only.
        dropout: probability to zero a feature between two layers; 0 for inference.
        key: a JAX random key, needed when ``dropout > 0``.
        precision: of the matrix products, as in ``jax.numpy.matmul``.
        implementation: "auto" chooses, never losing a transform; "scan" is the plain loop.

    Returns:
        outputs: the inputs' leading axes and directions·(proj_size or hidden_size), in the inputs' dtype.
        (h_n, c_n): the last states, shaped as ``state``. h_n has the inputs' dtype; for bfloat16 and float16 inputs
        c_n is float32, so that a sequence fed in pieces equals the whole.

    Raises:
        WeightsError: the dictionary is not an LSTM's. The message names everything that is wrong.
        InputError: the same for every other argument. Both are raised before anything is compiled.
    """
    call = _prepare(params, inputs, state, batch_first, lengths, reset, dropout, key, implementation)
    outputs, states = call.inputs, []
    for layer in range(call.spec.num_layers):
        if layer and dropout:
            outputs = _drop(outputs, dropout, jax.random.fold_in(key, layer))  # pyright: ignore[reportArgumentType]
        kept, last = _run_layer(call, layer, outputs, precision, lambda step: step.h)
        outputs = jnp.concatenate(kept, axis=-1)
        states += last
    h_n, c_n = (jnp.stack(parts) for parts in zip(*states, strict=True))
    return call.restore(outputs), (call.restore_state(h_n), call.restore_state(c_n))


def lstm_trace(
    params: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    batch_first: bool = False,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    precision: Any = None,
) -> LSTMTrace:
    """Run as ``lstm`` does (without dropout) and show all gates and states of every layer, direction and step."""
    call = _prepare(params, inputs, state, batch_first, lengths, reset, 0.0, None, "scan")
    outputs, layers = call.inputs, []
    for layer in range(call.spec.num_layers):
        kept, _ = _run_layer(call, layer, outputs, precision, lambda step: step)
        outputs = jnp.concatenate([step.h for step in kept], axis=-1)
        layers.append(jax.tree.map(lambda *directions: jnp.stack(directions), *kept))
    steps: Step = jax.tree.map(lambda *parts: jnp.stack([call.restore(part) for part in parts]), *layers)
    projection = steps.h if call.spec.proj_size else None
    return LSTMTrace(*steps[: Step._fields.index("h")], projection=projection)


class _Call(NamedTuple):
    """The arguments, checked and time-major with a batch axis."""

    spec: LSTMSpec
    params: dict[str, Array]
    inputs: Array
    h_0: Array
    c_0: Array
    valid: Array | None
    reset: Array | None
    batched: bool
    batch_first: bool

    def restore(self, array: Array) -> Array:
        """(…, time, batch, size) -> with the axes of the caller's inputs."""
        if not self.batched:
            return jnp.squeeze(array, axis=-2)
        return jnp.swapaxes(array, -3, -2) if self.batch_first else array

    def restore_state(self, array: Array) -> Array:
        return array if self.batched else jnp.squeeze(array, axis=-2)


def _prepare(
    params: Mapping[str, ArrayLike],
    inputs: Any,
    state: Any,
    batch_first: bool,
    lengths: Any,
    reset: Any,
    dropout: float,
    key: Array | None,
    implementation: str,
) -> _Call:
    spec = describe_as(params, LSTMSpec)
    if implementation not in IMPLEMENTATIONS:
        raise InputError(f"implementation is {implementation!r}, expected one of {', '.join(IMPLEMENTATIONS)}")
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
        valid = jnp.arange(inputs.shape[0])[:, None] < jnp.atleast_1d(lengths)[None, :]
        inputs = jnp.where(valid[..., None], inputs, jnp.zeros_like(inputs))  # NaN in the padding ends here
    params = {name: jnp.asarray(params[name]).astype(accumulate) for name in spec.shapes}
    return _Call(spec, params, inputs, h_0, c_0, valid, reset, batched, batch_first)


def _run_layer(
    call: _Call, layer: int, inputs: Array, precision: Any, keep: Callable[[Step], Any]
) -> tuple[list[Any], list[State]]:
    """What is kept of each direction, time-major, and its last state."""
    kept, states = [], []
    for direction, suffix in enumerate(call.spec.directions):
        row = layer * len(call.spec.directions) + direction
        steps, last = recur(
            _direction_weights(call.params, f"l{layer}{suffix}"),
            inputs,
            call.h_0[row],
            call.c_0[row],
            valid=call.valid,
            reset=call.reset,
            reverse=direction == 1,
            precision=precision,
            keep=keep,
        )
        kept.append(steps)
        states.append(last)
    return kept, states


def _direction_weights(params: Mapping[str, Array], place: str) -> DirectionWeights:
    projection = params.get(f"weight_hr_{place}")
    return DirectionWeights(
        inputs=params[f"weight_ih_{place}"].T,
        hidden=params[f"weight_hh_{place}"].T,
        bias=params[f"bias_ih_{place}"] + params[f"bias_hh_{place}"] if f"bias_ih_{place}" in params else None,
        projection=None if projection is None else projection.T,
    )


def _drop(features: Array, probability: float, key: Array) -> Array:
    if probability == 1:
        return jnp.zeros_like(features)
    kept = jax.random.bernoulli(key, 1 - probability, features.shape)
    return jnp.where(kept, features / (1 - probability), jnp.zeros_like(features))
