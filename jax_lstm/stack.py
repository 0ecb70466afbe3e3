"""``lstm``: all of ``torch.nn.LSTM`` as one pure function of (weights, inputs)."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike
from jaxtyping import Array, ArrayLike, Float, PyTree

from jax_lstm.arguments import Call, hashable, prepare
from jax_lstm.arrays import outside_jit
from jax_lstm.recurrences.by_name import recurrence_by_name
from jax_lstm.recurrences.directions import LayerRunner, layer_runner, one_after_the_other
from jax_lstm.recurrences.recompute import recomputed
from jax_lstm.recurrences.scan import recur
from jax_lstm.recurrences.step import DirectionWeights, Operands, State, Step
from lstm_shared.names import place_name
from lstm_shared.traces import LSTMTrace


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
    precision: PrecisionLike = None,
    implementation: str = "auto",
    recompute: int | None = None,
) -> tuple[Float[Array, "*leading output"], State]:
    """Run an LSTM over sequences, with the equations and names of ``torch.nn.LSTM``.

    Works under every JAX transform and with ``jax.export``, whose ``serialize()`` needs the package ``flatbuffers``.
    Compile time does not grow with the number of steps.

    Args:
        params: the ``state_dict()`` of a ``torch.nn.LSTM``. Its names and shapes give the number of layers and
            directions, the sizes, and whether there are biases and projections. The products cast the weights to the
            inputs' dtype.
        inputs: (time, batch, input_size); (batch, time, input_size) with ``batch_first``; or (time, input_size).
            Zero steps and an empty batch are fine.
        state: (h_0, c_0), with shapes (layers·directions, batch, proj_size or hidden_size) and
            (layers·directions, batch, hidden_size); no batch axis for unbatched inputs. Zeros if left out.
        batch_first: whether the inputs and outputs have the batch axis first. The states never do.
        lengths: (batch,) integers from 0 to time, the length of each sequence, as in
            ``pack_padded_sequence(enforce_sorted=False)``. Outputs past a length are zero, the last states are those
            at each sequence's own end, and the reverse direction starts there. Values in the padding, even NaN,
            affect neither outputs nor gradients. Lengths traced by ``jit`` are clipped to 0..time.
        reset: booleans with the inputs' leading axes. Where True, the state is set to zero before that step, as at the
            start of an episode. Forward direction only.
        dropout: probability of zeroing a feature between two layers; 0 for inference.
        key: a JAX random key, needed if ``dropout > 0``.
        precision: precision of the matrix products, as in ``jax.numpy.matmul``.
        implementation: "auto" chooses by device, dtype and sizes, and works under every transform. "scan" is the plain
            loop; "chunked" has a backward pass written for CPU; "single-kernel" is for a batch of 1 and small sizes on
            CPU; "cudnn" calls NVIDIA's library within its limits (float32, reverse mode only, no projection or reset).
        recompute: saves memory on long sequences. Keeps only the state at every ``recompute``-th step for the backward
            pass, which computes the rest again. That costs one more forward pass. Memory then grows with
            time / recompute + recompute instead of time. A divisor of the number of steps works best.

    Returns:
        outputs: the inputs' leading axes, then directions·(proj_size or hidden_size), in the inputs' dtype.
        (h_n, c_n): the last states, with the shapes of ``state``. h_n has the inputs' dtype. For bfloat16 and float16
        inputs c_n is float32, so that a sequence gives the same result in pieces as in one call.

    Raises:
        WeightsError: ``params`` is not an LSTM's dictionary.
        InputError: another argument is wrong. Both errors name everything that is wrong, and both are raised before
            anything is compiled.
    """
    call = prepare(
        params,
        inputs,
        state,
        batch_first=batch_first,
        lengths=lengths,
        reset=reset,
        precision=precision,
        implementation=implementation,
        dropout=dropout,
        key=key,
        recompute=recompute,
    )
    if implementation == "cudnn":
        return _run_cudnn(call, dropout, precision, recompute)
    run = _run_compiled if outside_jit(call, key) else _run
    return run(
        call,
        key,
        dropout=float(dropout),
        precision=hashable(precision),
        implementation=implementation,
        recompute=recompute,
    )


def _run(
    call: Call,
    key: Array | None,
    *,
    dropout: float,
    precision: PrecisionLike,
    implementation: str,
    recompute: int | None,
) -> tuple[Array, State]:
    run = recurrence_by_name(implementation, call.sizes, call.product(precision))
    if recompute is not None:
        run = recomputed(run, recompute)
    run_layer = layer_runner(implementation, call.sizes, run)
    outputs, states = call.inputs, []
    for layer in range(call.spec.num_layers):
        if layer and dropout:
            outputs = _drop(outputs, dropout, jax.random.fold_in(key, layer))  # pyright: ignore[reportArgumentType]
        kept, last = _run_layer(call, layer, outputs, run_layer)
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
    precision: PrecisionLike = None,
) -> LSTMTrace:
    """Do what ``lstm`` does, without dropout, and return every gate and state of every layer, direction and step."""
    call = prepare(params, inputs, state, batch_first=batch_first, lengths=lengths, reset=reset, precision=precision)
    run = _trace_compiled if outside_jit(call) else _trace
    return run(call, precision=hashable(precision))


def _trace(call: Call, *, precision: PrecisionLike) -> LSTMTrace:
    run = one_after_the_other(partial(recur, product=call.product(precision), keep=lambda step: step))
    outputs, layers = call.inputs, []
    for layer in range(call.spec.num_layers):
        kept, _ = _run_layer(call, layer, outputs, run)
        outputs = jnp.concatenate([step.h for step in kept], axis=-1)
        layers.append(jax.tree.map(lambda *directions: jnp.stack(directions), *kept))
    steps: Step = jax.tree.map(lambda *parts: jnp.stack([call.restore(part) for part in parts]), *layers)
    projection = steps.h if call.spec.proj_size else None
    return LSTMTrace(*steps[: Step._fields.index("h")], projection=projection)


_run_compiled = jax.jit(_run, static_argnames=("dropout", "precision", "implementation", "recompute"))
_trace_compiled = jax.jit(_trace, static_argnames="precision")


def _run_cudnn(call: Call, dropout: float, precision: PrecisionLike, recompute: int | None) -> tuple[Array, State]:
    from jax_lstm.recurrences.cudnn import require_cudnn, run_cudnn  # slow to import

    require_cudnn(
        call.spec,
        call.inputs,
        has_reset=call.masks.reset is not None,
        dropout=dropout,
        recompute=recompute,
        platform=jax.default_backend(),
    )
    outputs, (h_n, c_n) = run_cudnn(
        call.spec, call.params, call.inputs, (call.h_0, call.c_0), lengths=call.lengths, precision=precision
    )
    return call.restore(outputs), (call.restore_state(h_n), call.restore_state(c_n))


def _run_layer(call: Call, layer: int, inputs: Array, run: LayerRunner) -> tuple[list[PyTree], list[State]]:
    """Return, for each direction, what it keeps of its steps (time-major), and its last state."""
    operands = []
    for direction, suffix in enumerate(call.spec.directions):
        row = layer * len(call.spec.directions) + direction
        weights = _direction_weights(call.params, place_name(layer, suffix))
        operands.append(Operands(weights, inputs, call.h_0[row], call.c_0[row]))
    kept, states = zip(*run(operands, call.masks), strict=True)
    return list(kept), list(states)


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
