"""``linear_map``: a JAX primitive for a linear function with a given transpose.

Forward mode runs the function itself. Reverse mode runs the given transpose.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend import core
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, PyTree

FlatMap = Callable[[Sequence[Array], Sequence[Array]], list[Array]]
Types = tuple[ShapedArray, ...]
Tangent = Array | ad.Zero


def linear_map(
    forward: Callable[[PyTree, PyTree], PyTree],
    transpose: Callable[[PyTree, PyTree], PyTree],
    residuals: PyTree,
    arguments: PyTree,
    like: PyTree,
) -> PyTree:
    """Return ``forward(residuals, arguments)``, which must be linear in ``arguments``.

    Args:
        forward: (residuals, arguments) -> outputs.
        transpose: (residuals, cotangents of the outputs) -> cotangents of the arguments. It is ordinary JAX code, and
            JAX differentiates, batches and compiles it as such.
        residuals: a pytree of arrays.
        arguments: a pytree of floating-point arrays.
        like: arrays with the outputs' structure, shapes and dtypes. Getting these from ``forward`` would trace it
            several times, even if only ``transpose`` runs.
    """
    flat_residuals, residuals_tree = jax.tree.flatten(residuals)
    flat_arguments, arguments_tree = jax.tree.flatten(arguments)
    flat_like, outputs_tree = jax.tree.flatten(like)

    def flat_forward(residuals: Sequence[Array], arguments: Sequence[Array]) -> list[Array]:
        return jax.tree.leaves(forward(residuals_tree.unflatten(residuals), arguments_tree.unflatten(arguments)))

    def flat_transpose(residuals: Sequence[Array], cotangents: Sequence[Array]) -> list[Array]:
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
def _call(*operands: Array, forward: FlatMap, residuals: int, **_: object) -> list[Array]:
    return forward(operands[:residuals], operands[residuals:])


@_linear_map.def_abstract_eval
def _output_types(*operands: ShapedArray, types: Types, **_: object) -> list[ShapedArray]:
    return list(types)


mlir.register_lowering(_linear_map, mlir.lower_fun(_call, multiple_results=True))


def _jvp(
    primals: Sequence[Array], tangents: Sequence[Tangent], *, forward: FlatMap, residuals: int, **others: object
) -> tuple[list[Array], list[Array]]:
    bind = partial(_linear_map.bind, forward=forward, residuals=residuals, **others)
    outputs = bind(*primals)
    full = [ad.instantiate_zeros(tangent) for tangent in tangents[residuals:]]
    output_tangents = bind(*primals[:residuals], *full)
    if any(not isinstance(tangent, ad.Zero) for tangent in tangents[:residuals]):
        # The residuals have tangents too. They add the ordinary derivative of ``forward``.
        moving = [ad.instantiate_zeros(tangent) for tangent in tangents[:residuals]]
        _, through_residuals = jax.jvp(
            lambda *residuals: forward(residuals, primals[len(residuals) :]), primals[:residuals], moving
        )
        output_tangents = [jnp.add(a, b) for a, b in zip(output_tangents, through_residuals, strict=True)]
    return outputs, output_tangents


ad.primitive_jvps[_linear_map] = _jvp


def _transposed(
    cotangents: Sequence[Tangent], *operands: Array, transpose: FlatMap, residuals: int, types: Types, **_: object
) -> list[Array | None]:
    full = [
        jnp.zeros(output.shape, output.dtype) if isinstance(cotangent, ad.Zero) else cotangent
        for cotangent, output in zip(cotangents, types, strict=True)
    ]
    answers = transpose(operands[:residuals], full)
    # A known argument (such as a tangent of zero) needs no cotangent.
    wanted = [ad.is_undefined_primal(operand) for operand in operands[residuals:]]
    return [None] * residuals + [answer if wants else None for answer, wants in zip(answers, wanted, strict=True)]


ad.primitive_transposes[_linear_map] = _transposed


def _batched(
    operands: Sequence[Array],
    axes: Sequence[int | None],
    *,
    forward: FlatMap,
    transpose: FlatMap,
    residuals: int,
    types: Types,
) -> tuple[list[Array], list[int]]:
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    residual_axes, argument_axes = list(axes[:residuals]), list(axes[residuals:])

    def batched_forward(residuals: Sequence[Array], arguments: Sequence[Array]) -> list[Array]:
        mapped = jax.vmap(lambda r, a: forward(r, a), (residual_axes, argument_axes))
        return mapped(list(residuals), list(arguments))

    def batched_transpose(residuals: Sequence[Array], cotangents: Sequence[Array]) -> list[Array]:
        mapped = jax.vmap(lambda r, c: transpose(r, c), (residual_axes, 0))
        answers = mapped(list(residuals), list(cotangents))
        # An argument that all examples share gets the sum of their cotangents.
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
