"""The fast recurrence of one layer in one direction, with a hand-written derivative.

It computes the same as ``scan.recur_plain`` and differs in three ways, each measured (README, "Speed"):

- **Features first.** States and gates are (features, batch). XLA's CPU matrix product reads its left operand in place
  and repacks its right operand on each call. So the large weight goes on the left and the small state on the right:
  150 to 165 GFLOP/s on a core where ``state @ weight`` reaches 115 to 135. The four gates are also contiguous.
- **Gradients of weights and inputs outside the step.** The backward pass gathers the gate gradients of a chunk of
  steps. One matrix product turns them into the gradient of each weight, and one into that of the inputs.
- **Five saved arrays** of (time, hidden, batch): the four gates and the cell state. With the outputs and their gradient
  that makes seven such arrays at the peak. The derivative that JAX makes of the plain loop keeps more, and fresh memory
  costs as much as arithmetic.

Reverse mode runs ``_forward`` and ``_backward``. Forward mode, and any derivative of a derivative, uses the plain loop
(``compiler.custom_backward``).

One file, because the forward pass, what it saves and the backward pass belong side by side: each line of one matches a
line of the other.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jax_lstm.compiler.custom_backward import with_backward
from jax_lstm.recurrences.choose import chunk_steps, features_first, one_product
from jax_lstm.recurrences.scan import recur_plain
from jax_lstm.recurrences.step import DirectionWeights, Masks, Operands, Product, State, activate

Outputs = tuple[Float[Array, "time batch state"], State]
Index = int | Array


def recur_chunked(operands: Operands, masks: Masks, *, reverse: bool, product: Product) -> Outputs:
    """Compute what ``recur_plain`` computes, faster."""
    plain = partial(recur_plain, reverse=reverse, product=product)
    if operands.inputs.shape[0] == 0:
        return plain(operands, masks)  # a loop without steps cannot be traced
    options = _Options(reverse, product)

    def forward(save: bool, operands: Operands, masks: Masks) -> tuple[Outputs, _Saved | None]:
        (_, batch, features), hidden, dtype = operands.inputs.shape, operands.c.shape[-1], operands.inputs.dtype
        at_once = one_product(batch, features, hidden, dtype, saving=save)
        if save or features_first(batch, hidden, dtype):
            return _forward(options, save, at_once, operands, masks)
        return plain(operands, masks, one_product=at_once), None

    return with_backward(plain, forward, partial(_backward, options))(operands, masks)


class _Options(NamedTuple):
    reverse: bool
    product: Product


_Forward = tuple[Array, Array, Array, tuple[Array, ...]]  # (h, c, outputs, what is saved so far) from step to step


class _Saved(NamedTuple):
    """What the backward pass needs, in the order of computation: when reversed, step 0 is the last one in time."""

    input_gate: Array  # (time, hidden, batch), like the next three
    forget_gate: Array
    candidate: Array
    output_gate: Array
    cells: Array  # (time + 1, hidden, batch): the initial state, then the state after each step
    outputs: Array  # (time, batch, state), in time order


class _Gathered(NamedTuple):
    """What the steps of a chunk collect for the matrix products that give the weight gradients."""

    d_gates: Array  # (4·hidden, size, batch): before the nonlinearities
    h_before: Array  # (size, batch, state)
    d_projected: Array | None  # (state, size, batch): of the projection's outputs; None without a projection
    unprojected: Array | None  # (size, batch, hidden): the projection's inputs


class _StepGradients(NamedTuple):
    """What the backward pass carries from step to step."""

    h: Array  # (state, batch): of the state before the step, like c
    c: Array  # (hidden, batch)
    gates: Array  # (4·hidden, batch): passed on so that each step writes into the same memory


class _ChunkGradients(NamedTuple):
    """What the backward pass carries from chunk to chunk."""

    step: _StepGradients
    inputs: Array  # (time, batch, inputs): zero where no chunk has run yet
    gathered: _Gathered  # passed on so that each chunk writes into the same memory
    weights: DirectionWeights  # transposed and summed over the chunks so far


def _forward(
    options: _Options, save: bool, at_once: bool, operands: Operands, masks: Masks
) -> tuple[Outputs, _Saved | None]:
    weights, inputs, h_0, c_0 = operands
    product = options.product
    steps, batch = inputs.shape[:2]
    w_inputs, w_hidden = weights.inputs.T, weights.hidden.T
    w_both = jnp.concatenate([w_inputs, w_hidden], 1) if at_once else None
    bias = None if weights.bias is None else weights.bias[:, None]
    projection = None if weights.projection is None else weights.projection.T

    def step(s: Array, carry: _Forward) -> _Forward:
        h, c, outputs, saved = carry
        t = _time(options, steps, s)
        valid, reset = (mask if mask is None else _at(mask, t)[None, :] for mask in masks)
        h_before, c_before = h, c
        if reset is not None:
            h, c = (jnp.where(reset, jnp.zeros_like(part), part) for part in (h, c))
        x = _at(inputs, t).T
        if w_both is None:
            gates = product(w_inputs, x) + product(w_hidden, h)
        else:
            gates = product(w_both, jnp.concatenate([x, h]))
        if bias is not None:
            gates = gates + bias
        input_gate, forget_gate, candidate, output_gate = activate(gates, axis=0)
        if save:
            # The barrier makes XLA read the gates back from where they are saved. Without it, XLA writes them twice.
            parts = (input_gate, forget_gate, candidate, output_gate)
            saved_gates = tuple(_put(array, part, s) for array, part in zip(saved[:4], parts, strict=True))
            saved = (*lax.optimization_barrier(saved_gates), saved[4])
            input_gate, forget_gate, candidate, output_gate = (_at(array, s) for array in saved[:4])
        c = forget_gate * c + input_gate * candidate
        h = (output_gate * jnp.tanh(c)).astype(inputs.dtype)
        if projection is not None:
            h = product(projection, h).astype(inputs.dtype)
        output = h
        if valid is not None:
            output = jnp.where(valid, h, jnp.zeros_like(h))
            h, c = jnp.where(valid, h, h_before), jnp.where(valid, c, c_before)
        if save:
            saved = (*saved[:4], _put(saved[4], c, s + 1))
        return h, c, _put(outputs, output.T, t), saved

    outputs = jnp.zeros((steps, batch, h_0.shape[-1]), inputs.dtype)
    saved = ()
    if save:
        gate = jnp.zeros((steps, *c_0.T.shape), c_0.dtype)
        saved = (gate, gate, gate, gate, jnp.zeros((steps + 1, *c_0.T.shape), c_0.dtype).at[0].set(c_0.T))
    h, c, outputs, saved = lax.fori_loop(0, steps, step, (h_0.T, c_0.T, outputs, saved))
    return (outputs, (h.T, c.T)), _Saved(*saved, outputs=outputs) if save else None


def _backward(options: _Options, operands: Operands, masks: Masks, saved: _Saved, cotangents: Outputs) -> Operands:
    """Return the cotangents of weights, inputs and initial state, given those of outputs and last state.

    In terms of ``lstm_step``, with dz the gradient before a gate's nonlinearity, and dh, dc those of the states::

        dc += dh * o * (1 - tanh(c)²)
        dz_i, dz_f, dz_g = dc * (g * i(1-i), c_before * f(1-f), i * (1-g²))       dz_o = dh * tanh(c) * o(1-o)
        dh_before = W_hᵀ dz       dc_before = f * dc       dx = W_xᵀ dz       dW_x = Σ dz xᵀ       dW_h = Σ dz h_beforeᵀ
    """
    weights, inputs, h_0, c_0 = operands
    d_outputs, (d_h, d_c) = cotangents
    # XLA's CPU backend keeps some of these products in bfloat16, and then has no code for them.
    product = options.product._replace(widened=True)
    (steps, batch, features), hidden, state = inputs.shape, c_0.shape[-1], h_0.shape[-1]
    dtype = c_0.dtype

    def step(
        first: Index, size: int, j: Array, carry: tuple[_StepGradients, _Gathered]
    ) -> tuple[_StepGradients, _Gathered]:
        """Run the step at position ``first + size - 1 - j`` in the order of computation."""
        (dh, dc, dz), gathered = carry
        s = first + size - 1 - j
        t = _time(options, steps, s)
        place = j if options.reverse else size - 1 - j
        valid, reset = (mask if mask is None else _at(mask, t)[None, :] for mask in masks)
        i, f, g, o = (_at(gate, s) for gate in saved[:4])
        c_before, tanh_c = _at(saved.cells, s), jnp.tanh(_at(saved.cells, s + 1))
        h_before = _output_before(s, t)
        if reset is not None:
            c_before = jnp.where(reset, jnp.zeros_like(c_before), c_before)
            h_before = jnp.where(reset.T, jnp.zeros_like(h_before), h_before)
        d_output = dh + _at(d_outputs, t).T.astype(dtype)
        d_hidden = d_output if weights.projection is None else product(weights.projection, d_output)
        d_cell = dc + d_hidden * o * (1 - tanh_c * tanh_c)
        parts = (
            d_cell * g * i * (1 - i),
            d_cell * c_before * f * (1 - f),
            d_cell * i * (1 - g * g),
            d_hidden * tanh_c * o * (1 - o),
        )
        # Write the pieces into one array: XLA does not vectorise a concatenation that it fuses with arithmetic.
        for gate, part in enumerate(parts):
            part = part if valid is None else jnp.where(valid, part, jnp.zeros_like(part))
            dz = lax.dynamic_update_slice_in_dim(dz, part, gate * hidden, 0)
        dh_before, dc_before = product(weights.hidden, dz), d_cell * f
        if reset is not None:
            dh_before, dc_before = (jnp.where(reset, jnp.zeros_like(x), x) for x in (dh_before, dc_before))
        if valid is not None:
            dh_before, dc_before = jnp.where(valid, dh_before, dh), jnp.where(valid, dc_before, dc)
        gathered = gathered._replace(
            d_gates=lax.dynamic_update_slice_in_dim(gathered.d_gates, dz[:, None], place, 1),
            h_before=_put(gathered.h_before, h_before, place),
        )
        if gathered.d_projected is not None and gathered.unprojected is not None:
            if valid is not None:
                d_output = jnp.where(valid, d_output, jnp.zeros_like(d_output))
            gathered = gathered._replace(
                d_projected=lax.dynamic_update_slice_in_dim(gathered.d_projected, d_output[:, None], place, 1),
                unprojected=_put(gathered.unprojected, (o * tanh_c).T.astype(inputs.dtype), place),
            )
        return _StepGradients(dh_before, dc_before, dz), gathered

    def _output_before(s: Array, t: Array) -> Array:
        before = jnp.clip(t + 1 if options.reverse else t - 1, 0, steps - 1)
        started = s > 0
        if masks.valid is not None:  # in the padding, the outputs are zero, but the state is still the initial one
            started = (started & _at(masks.valid, before))[:, None]
        return jnp.where(started, _at(saved.outputs, before), h_0)

    def chunk(first: Index, size: int, carry: _ChunkGradients) -> _ChunkGradients:
        now, dx, gathered, sums = carry
        now, gathered = lax.fori_loop(0, size, partial(step, first, size), (now, gathered))
        rows = size * batch
        gathered_dz = gathered.d_gates.reshape(4 * hidden, rows)
        start = steps - first - size if options.reverse else first
        chunk_inputs = lax.dynamic_slice_in_dim(inputs, start, size).reshape(rows, features)
        # The barrier keeps XLA from turning this into a product that needs the gathered gradients transposed.
        d_inputs = lax.optimization_barrier(product(weights.inputs, gathered_dz)).T.reshape(size, batch, features)
        dx = lax.dynamic_update_slice_in_dim(dx, d_inputs.astype(inputs.dtype), start, 0)
        d_weights = DirectionWeights(
            inputs=sums.inputs + product(gathered_dz, chunk_inputs),
            hidden=sums.hidden + product(gathered_dz, gathered.h_before.reshape(rows, state)),
            bias=None if sums.bias is None else sums.bias + gathered_dz.sum(1),
            projection=None
            if sums.projection is None
            else sums.projection
            + product(gathered.d_projected.reshape(state, rows), gathered.unprojected.reshape(rows, hidden)),
        )
        return _ChunkGradients(now, dx, gathered, d_weights)

    sums = jax.tree.map(lambda weight: jnp.zeros(weight.T.shape, dtype), weights)
    now = _StepGradients(d_h.T.astype(dtype), d_c.T.astype(dtype), jnp.zeros((4 * hidden, batch), dtype))
    dx = jnp.zeros_like(inputs)
    size = chunk_steps(batch)
    whole, rest = divmod(steps, size)
    if rest:
        now, dx, _, sums = chunk(whole * size, rest, _ChunkGradients(now, dx, _room(operands, rest), sums))
    if whole:
        start = _ChunkGradients(now, dx, _room(operands, size), sums)
        now, dx, _, sums = lax.fori_loop(0, whole, lambda n, carry: chunk((whole - 1 - n) * size, size, carry), start)
    d_weights = jax.tree.map(lambda total, weight: total.T.astype(weight.dtype), sums, weights)
    return Operands(d_weights, dx, now.h.T.astype(h_0.dtype), now.c.T)


def _room(operands: Operands, size: int) -> _Gathered:
    """Return empty arrays for what a chunk of ``size`` steps collects."""
    weights, inputs, h_0, c_0 = operands
    (batch, state), hidden = h_0.shape, c_0.shape[-1]
    projected = weights.projection is not None
    return _Gathered(
        d_gates=jnp.zeros((4 * hidden, size, batch), c_0.dtype),
        h_before=jnp.zeros((size, batch, state), inputs.dtype),
        d_projected=jnp.zeros((state, size, batch), c_0.dtype) if projected else None,
        unprojected=jnp.zeros((size, batch, hidden), inputs.dtype) if projected else None,
    )


def _time(options: _Options, steps: int, s: Array) -> Array:
    return steps - 1 - s if options.reverse else s


def _at(array: Array, index: Index) -> Array:
    return lax.dynamic_index_in_dim(array, index, keepdims=False)


def _put(array: Array, part: Array, index: Index) -> Array:
    return lax.dynamic_update_index_in_dim(array, part, index, 0)
