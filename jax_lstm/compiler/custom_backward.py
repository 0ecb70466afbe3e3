"""Give a function a hand-written backward pass, and keep every JAX transform.

``jax.custom_vjp`` takes a hand-written backward pass but forbids ``jvp``. ``jax.custom_jvp`` allows both but derives
the backward pass itself. Here a ``custom_jvp`` rule ends in ``linear_map``. Forward mode runs its ``forward``, and
reverse mode runs its ``transpose``, which is the hand-written backward pass.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from jax_lstm.compiler.linear_map import linear_map

# Pytrees of arrays.
Moving = TypeVar("Moving")
Constants = TypeVar("Constants")
Saved = TypeVar("Saved")
Outputs = TypeVar("Outputs")


def with_backward(
    plain: Callable[[Moving, Constants], Outputs],
    forward: Callable[[bool, Moving, Constants], tuple[Outputs, Saved | None]],
    backward: Callable[[Moving, Constants, Saved, Outputs], Moving],
) -> Callable[[Moving, Constants], Outputs]:
    """Return ``plain``, computed by ``forward`` and differentiated by ``backward``.

    Reverse mode, alone or under ``vmap``, ``jit`` and ``checkpoint``, runs ``forward`` and ``backward``. Forward mode,
    and every derivative of a derivative, differentiates ``plain``. ``forward`` and ``backward`` themselves are never
    differentiated, so they can be written for speed alone.

    Args:
        plain: (moving, constants) -> outputs; ordinary JAX code. ``moving`` is a pytree of floating-point arrays,
            everything that has a derivative; ``constants`` is a pytree of other arrays.
        forward: (save, moving, constants) -> (outputs, saved). ``saved`` is a pytree of the arrays that ``backward``
            needs, or None if ``save`` is False.
        backward: (moving, constants, saved, cotangents of the outputs) -> cotangents of ``moving``.
    """

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def run(save: bool, moving: Moving, constants: Constants) -> tuple[Outputs, Saved | None]:
        outputs, saved = forward(save, moving, constants)
        return jax.tree.map(_with_batch_axis_first, outputs), saved

    @run.defjvp
    def _(save: bool, primals: PyTree, tangents: PyTree) -> PyTree:
        moving, constants = primals
        outputs, saved = run(True, moving, constants)
        tangent = linear_map(in_forward_mode, in_reverse_mode, (moving, constants, saved), tangents[0], outputs)
        if not save:
            return (outputs, None), (tangent, None)
        # Only ``run_backward`` reads ``saved``, and its rule ignores this tangent.
        return (outputs, saved), (tangent, jax.tree.map(_no_tangent, saved))

    def in_forward_mode(residuals: PyTree, tangents: PyTree) -> PyTree:
        moving, constants, _ = residuals
        return jax.jvp(lambda moving: plain(moving, constants), (moving,), (tangents,))[1]

    def in_reverse_mode(residuals: PyTree, cotangents: PyTree) -> PyTree:
        return run_backward(*residuals, cotangents)

    @jax.custom_jvp
    def run_backward(moving: Moving, constants: Constants, saved: Saved, cotangents: Outputs) -> Moving:
        return backward(moving, constants, saved, cotangents)

    @run_backward.defjvp
    def _(primals: PyTree, tangents: PyTree) -> PyTree:
        moving, constants, _, cotangents = primals

        def plain_backward(moving: Moving, cotangents: Outputs) -> Moving:
            return jax.vjp(lambda moving: plain(moving, constants), moving)[1](cotangents)[0]

        _, tangent = jax.jvp(plain_backward, (moving, cotangents), (tangents[0], tangents[3]))
        return run_backward(*primals), tangent

    return lambda moving, constants: run(False, moving, constants)[0]


def _with_batch_axis_first(array: Array) -> Array:
    """Return the array unchanged. Under ``vmap``, the reshape moves the new axis to the front.

    When a loop or ``checkpoint`` inside ``vmap`` is differentiated, JAX assumes that a ``custom_jvp`` function and its
    rule leave that axis in the same place. ``forward`` may leave it in different places with ``save`` and without.
    """
    return lax.reshape(lax.reshape(array, (1, *array.shape)), array.shape)


def _no_tangent(array: Array) -> Array | np.ndarray:
    floating = jnp.issubdtype(array.dtype, jnp.inexact)
    return jnp.zeros_like(array) if floating else np.zeros(array.shape, jax.dtypes.float0)
