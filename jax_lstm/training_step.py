"""One training step in two halves: ``fit`` runs them, and a checkpoint records what they compute."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeGuard

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, PyTree

from lstm_shared.argument_kinds import in_words
from lstm_shared.errors import InputError

# (weights, batch) -> (loss, predictions)
Loss = Callable[[PyTree, PyTree], tuple[ArrayLike, ArrayLike]]

# (weights, optimizer state): a plain tuple, as checkpoints name their arrays after the places in it.
State = tuple[PyTree, PyTree]

_CONTRACT = "expected loss(params, batch) -> (loss, predictions)"


def loss_and_gradient(loss: Loss, weights: PyTree, batch: PyTree) -> tuple[tuple[Array, Array], PyTree]:
    """((loss, predictions), gradient) of one batch.

    Raises:
        InputError: what ``loss`` returned is not a scalar and an array with the batch's leading axis.
    """

    def checked(weights: PyTree) -> tuple[ArrayLike, ArrayLike]:
        result = loss(weights, batch)
        InputError.raise_any(_wrong_result(result, jax.tree.leaves(batch)[0].shape[0]))
        return result

    return jax.value_and_grad(checked, has_aux=True)(weights)


def update(optimizer: optax.GradientTransformation, gradient: PyTree, state: PyTree, weights: PyTree) -> State:
    """(weights, optimizer state) after the step."""
    with usual_promotion():
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state


def usual_promotion() -> AbstractContextManager[None]:
    """Optax adds whole numbers to floating-point ones, which ``jax_numpy_dtype_promotion="strict"`` forbids."""
    return jax.numpy_dtype_promotion("standard")


def require_kinds(loss: object, optimizer: object) -> list[str]:
    """What is wrong with these two, before either is called."""
    problems = []
    if not callable(loss):
        problems.append(f"loss is {in_words(loss)}, {_CONTRACT}")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        problems.append(f"optimizer is {in_words(optimizer)}, expected an optax gradient transformation")
    return problems


def _wrong_result(result: object, examples: int) -> list[str]:
    if not isinstance(result, tuple) or len(result) != 2:
        found = f"a tuple of {len(result)}" if isinstance(result, tuple) else _array_in_words(result)
        return [f"loss returned {found}, {_CONTRACT}"]
    value, predictions = result
    problems = []
    if not _is_array(value) or jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        found = _array_in_words(value)
        problems.append(f"the loss is {found}, expected one floating-point number: {_CONTRACT}")
    if not _is_array(predictions) or jnp.shape(predictions)[:1] != (examples,):
        found = _array_in_words(predictions)
        problems.append(f"the predictions are {found}, expected an array of {examples} in its first axis: {_CONTRACT}")
    return problems


def _is_array(value: object) -> TypeGuard[ArrayLike]:
    return isinstance(value, float) or (hasattr(value, "shape") and hasattr(value, "dtype"))


def _array_in_words(value: object) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return in_words(value)
    return f"{jnp.dtype(dtype).name} of shape {tuple(shape)}"
