"""The two halves of a training step: ``fit`` runs them, and a checkpoint records what they compute."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, PyTree

from lstm_shared.argument_kinds import dtype_name, in_words
from lstm_shared.errors import InputError

# (weights, batch) -> (loss, predictions)
Loss = Callable[[PyTree, PyTree], tuple[ArrayLike, ArrayLike]]

# (weights, optimizer state): a plain tuple, because checkpoints name their arrays after its positions.
State = tuple[PyTree, PyTree]

_FORM = "loss(params, batch) -> (loss, predictions)"

# What JAX raises when traced code asks for a number.
_NEEDS_NUMBERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def loss_and_gradient(loss: Loss, weights: PyTree, batch: PyTree) -> tuple[tuple[Array, Array], PyTree]:
    """Return ((loss, predictions), gradient) for one batch.

    Raises:
        InputError: ``loss`` does not take these arguments, needs the values of arrays while it is traced, or does not
            return a scalar and an array with the batch's leading axis.
    """

    def checked(weights: PyTree) -> tuple[ArrayLike, ArrayLike]:
        result = _call(loss, weights, batch)
        InputError.raise_any(_wrong_result(result, jax.tree.leaves(batch)[0].shape[0]))
        return result

    return jax.value_and_grad(checked, has_aux=True)(weights)


def update(optimizer: optax.GradientTransformation, gradient: PyTree, state: PyTree, weights: PyTree) -> State:
    """Return (weights, optimizer state) after the step."""
    with usual_promotion():
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state


def usual_promotion() -> AbstractContextManager[None]:
    """Allow what optax does and ``jax_numpy_dtype_promotion="strict"`` forbids: to add integers to floats."""
    return jax.numpy_dtype_promotion("standard")


def require_kinds(loss: object, optimizer: object) -> list[str]:
    """Return what is wrong with these two, before either is called."""
    problems = []
    if not callable(loss):
        problems.append(f"loss is {in_words(loss)}, expected {_FORM}")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        problems.append(f"optimizer is {in_words(optimizer)}, expected an optax gradient transformation")
    return problems


def _call(loss: Loss, weights: PyTree, batch: PyTree) -> Any:
    """Call ``loss``. Its own errors pass through; those caused by how ``fit`` calls it become an InputError."""
    try:
        return loss(weights, batch)
    except _NEEDS_NUMBERS as error:
        raise InputError(
            "loss asks for the values of arrays, which are not known while fit compiles it "
            f"({_first_line(error)}): use jax.numpy instead of NumPy and float(), jnp.where or lax.cond instead of if"
        ) from error
    except TypeError as error:
        if _takes_two(loss):
            raise
        raise InputError(f"loss(params, batch) cannot be called ({_first_line(error)}), expected {_FORM}") from error


def _takes_two(loss: Loss) -> bool:
    """Return whether the signature takes two arguments. Ask only after a failed call: a decorator may hide it."""
    try:
        inspect.signature(loss).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it has no signature
        return True
    return True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _wrong_result(result: object, examples: int) -> list[str]:
    if not isinstance(result, tuple) or len(result) != 2:
        found = f"a tuple of {len(result)}" if isinstance(result, tuple) else _array_in_words(result)
        what = "the predictions as well" if _is_array(result) and jnp.shape(result) == () else "these two"
        return [
            f"loss returned {found}, expected {_FORM}: return {what}, e.g. `return value, predictions` "
            "(predictions is an array whose leading axis is the batch)"
        ]
    value, predictions = result
    problems = []
    if not _is_array(value) or jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        problems.append(f"the loss is {_array_in_words(value)}, expected one floating-point number from {_FORM}")
    if not _is_array(predictions) or jnp.shape(predictions)[:1] != (examples,):
        problems.append(
            f"the predictions are {_array_in_words(predictions)}, expected an array of numbers whose leading axis is "
            f"the batch ({examples} here) from {_FORM}"
        )
    return problems


def _is_array(value: object) -> TypeGuard[ArrayLike]:
    """Return whether a compiled function can return this value as an array of numbers."""
    if isinstance(value, float):
        return True
    if not isinstance(value, np.ndarray | np.generic | jax.Array) and not hasattr(value, "__jax_array__"):
        return False
    dtype: Any = getattr(value, "dtype", None)
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)


def _array_in_words(value: object) -> str:
    if not isinstance(value, np.ndarray | jax.Array):
        return in_words(value)
    return f"{dtype_name(value.dtype)} of shape {tuple(value.shape)}"
