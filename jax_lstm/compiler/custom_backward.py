"""A function with a backward pass written by hand that keeps every JAX transform.

``jax.custom_vjp`` takes a hand-written backward pass but forbids ``jvp``; ``jax.custom_jvp`` allows both but derives
the backward pass by itself. Here a ``custom_jvp`` rule ends in ``linear_map``, a primitive of its own: forward mode
runs its ``forward``, and where reverse mode transposes it, JAX is handed its ``transpose``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend import core
from jax.interpreters import ad, batching, mlir


def with_backward(
    plain: Callable[[Any, Any], Any],
    forward: Callable[[bool, Any, Any], tuple[Any, Any]],
    backward: Callable[[Any, Any, Any, Any], Any],
) -> Callable[[Any, Any], Any]:
    """``plain`` as ``forward`` computes it, differentiated by ``backward``.

    Reverse mode, alone or under ``vmap``, ``jit`` and ``checkpoint``, runs ``forward`` and ``backward``. Forward mode,
    and every derivative of a derivative, is that of ``plain``: ``forward`` and ``backward`` themselves are never
    differentiated, so they may be written for speed alone.

    Args:
        plain: (moving, constants) -> outputs; ordinary JAX code. ``moving`` is a pytree of floating arrays, all that
            has a derivative; ``constants`` a pytree of other arrays.
        forward: (save, moving, constants) -> (outputs, saved); ``saved`` is what ``backward`` needs, a pytree of
            arrays, or None unless ``save``.
        backward: (moving, constants, saved, cotangents of the outputs) -> cotangents of ``moving``.
    """

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def run(save: bool, moving: Any, constants: Any) -> tuple[Any, Any]:
        outputs, saved = forward(save, moving, constants)
        return jax.tree.map(_with_batch_axis_first, outputs), saved

    @run.defjvp
    def _(save: bool, primals: Any, tangents: Any) -> Any:
        moving, constants = primals
        outputs, saved = run(True, moving, constants)
        tangent = linear_map(in_forward_mode, in_reverse_mode, (moving, constants, saved), tangents[0], outputs)
        if not save:
            return (outputs, None), (tangent, None)
        # Only ``run_backward`` reads what is saved, and its rule looks at ``moving`` alone.
        return (outputs, saved), (tangent, jax.tree.map(_no_tangent, saved))

    def in_forward_mode(residuals: Any, tangents: Any) -> Any:
        moving, constants, _ = residuals
        return jax.jvp(lambda moving: plain(moving, constants), (moving,), (tangents,))[1]

    def in_reverse_mode(residuals: Any, cotangents: Any) -> Any:
        return run_backward(*residuals, cotangents)

    @jax.custom_jvp
    def run_backward(moving: Any, constants: Any, saved: Any, cotangents: Any) -> Any:
        return backward(moving, constants, saved, cotangents)

    @run_backward.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        moving, constants, _, cotangents = primals

        def plain_backward(moving: Any, cotangents: Any) -> Any:
            return jax.vjp(lambda moving: plain(moving, constants), moving)[1](cotangents)[0]

        _, tangent = jax.jvp(plain_backward, (moving, cotangents), (tangents[0], tangents[3]))
        return run_backward(*primals), tangent

    return lambda moving, constants: run(False, moving, constants)[0]


def _with_batch_axis_first(array: Any) -> Any:
    """The array itself; under ``vmap``, a reshape moves the new axis to the front.

    Where a loop or ``checkpoint`` inside ``vmap`` is differentiated, JAX takes for granted that a ``custom_jvp``
    function and its rule leave that axis in the same place, and ``forward`` may not, with and without ``save``.
    """
    return lax.reshape(lax.reshape(array, (1, *array.shape)), array.shape)


def _no_tangent(array: Any) -> Any:
    floating = jnp.issubdtype(array.dtype, jnp.inexact)
    return jnp.zeros_like(array) if floating else np.zeros(array.shape, jax.dtypes.float0)


def linear_map(
    forward: Callable[[Any, Any], Any],
    transpose: Callable[[Any, Any], Any],
    residuals: Any,
    arguments: Any,
    like: Any,
) -> Any:
    """``forward(residuals, arguments)``, which must be linear in ``arguments``.

    Args:
        forward: (residuals, arguments) -> outputs.
        transpose: (residuals, cotangents of the outputs) -> cotangents of the arguments. It is differentiated, batched
            and compiled as the ordinary JAX code that it is.
        residuals: a pytree of arrays.
        arguments: a pytree of floating arrays.
        like: arrays of the outputs' structure, shapes and dtypes. Asking ``forward`` for them would trace it, several
            times over, where only ``transpose`` will run.
    """
    flat_residuals, residuals_tree = jax.tree.flatten(residuals)
    flat_arguments, arguments_tree = jax.tree.flatten(arguments)
    flat_like, outputs_tree = jax.tree.flatten(like)

    def flat_forward(residuals: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        return jax.tree.leaves(forward(residuals_tree.unflatten(residuals), arguments_tree.unflatten(arguments)))

    def flat_transpose(residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        return jax.tree.leaves(transpose(residuals_tree.unflatten(residuals), outputs_tree.unflatten(cotangents)))

    outputs = _linear_map.bind(
        *flat_residuals,
        *flat_arguments,
        forward=flat_forward,
        transpose=flat_transpose,
        residuals=len(flat_residuals),
        types=tuple(ShapedArray(array.shape, array.dtype) for array in flat_like),
    )
    return outputs_tree.unflatten(outputs)


_linear_map = core.Primitive("linear_map")
_linear_map.multiple_results = True


@_linear_map.def_impl
def _call(*operands: Any, forward: Any, transpose: Any, residuals: int, types: Any) -> list[Any]:
    return forward(operands[:residuals], operands[residuals:])


@_linear_map.def_abstract_eval
def _output_types(*operands: Any, forward: Any, transpose: Any, residuals: int, types: Any) -> list[Any]:
    return list(types)


mlir.register_lowering(_linear_map, mlir.lower_fun(_call, multiple_results=True))


def _jvp(primals: Any, tangents: Any, *, forward: Any, residuals: int, **params: Any) -> tuple[Any, Any]:
    bind = partial(_linear_map.bind, forward=forward, residuals=residuals, **params)
    outputs = bind(*primals)
    full = [ad.instantiate_zeros(tangent) for tangent in tangents[residuals:]]
    output_tangents = bind(*primals[:residuals], *full)
    if any(type(tangent) is not ad.Zero for tangent in tangents[:residuals]):
        # The residuals move as well: their share is the derivative of the ordinary code of ``forward``.
        moving = [ad.instantiate_zeros(tangent) for tangent in tangents[:residuals]]
        _, through_residuals = jax.jvp(
            lambda *residuals: forward(residuals, primals[len(residuals) :]), primals[:residuals], moving
        )
        output_tangents = [jnp.add(a, b) for a, b in zip(output_tangents, through_residuals, strict=True)]
    return outputs, output_tangents


ad.primitive_jvps[_linear_map] = _jvp


def _transposed(cotangents: Any, *operands: Any, forward: Any, transpose: Any, residuals: int, types: Any) -> list[Any]:
    full = [
        jnp.zeros(output.shape, output.dtype) if type(cotangent) is ad.Zero else cotangent
        for cotangent, output in zip(cotangents, types, strict=True)
    ]
    answers = transpose(operands[:residuals], full)
    # An argument that is known (a tangent of zero, say) asks for no cotangent.
    wanted = [ad.is_undefined_primal(operand) for operand in operands[residuals:]]
    return [None] * residuals + [answer if wants else None for answer, wants in zip(answers, wanted, strict=True)]


ad.primitive_transposes[_linear_map] = _transposed


def _batched(
    operands: Sequence[Any], axes: Sequence[Any], *, forward: Any, transpose: Any, residuals: int, types: Any
) -> tuple[list[Any], list[int]]:
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    residual_axes, argument_axes = list(axes[:residuals]), list(axes[residuals:])

    def batched_forward(residuals: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        mapped = jax.vmap(lambda r, a: forward(r, a), (residual_axes, argument_axes))
        return mapped(list(residuals), list(arguments))

    def batched_transpose(residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        mapped = jax.vmap(lambda r, c: transpose(r, c), (residual_axes, 0))
        answers = mapped(list(residuals), list(cotangents))
        # An argument that all examples share gets the sum of what they each ask for.
        return [
            jnp.sum(answer, 0) if axis is None else jnp.moveaxis(answer, 0, axis)
            for answer, axis in zip(answers, argument_axes, strict=True)
        ]

    outputs = _linear_map.bind(
        *operands,
        forward=batched_forward,
        transpose=batched_transpose,
        residuals=residuals,
        types=tuple(ShapedArray((size, *output.shape), output.dtype) for output in types),
    )
    return outputs, [0] * len(outputs)


batching.primitive_batchers[_linear_map] = _batched
