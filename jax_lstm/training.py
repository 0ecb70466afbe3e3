"""Training in JAX: the whole run is one compiled ``lax.scan`` over epochs and steps, with any optax optimizer."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.core import Tracer

from jax_lstm.checkpoints import Checkpoints
from jax_lstm.single_kernel import fits_single_kernel, single_kernel
from lstm_shared.errors import InputError
from lstm_shared.progress import progress_bar
from lstm_shared.training import FitResult, TrainingPlan, plan_training

Loss = Callable[[Any, Any], tuple[Any, Any]]

# With a progress bar the run is cut into this many pieces between checkpoints: often enough to see it move, and each
# piece long enough that its start costs nothing.
_PROGRESS_PARTS = 20

jax.tree_util.register_dataclass(  # so that vmap(fit) and jit(fit) can return it
    FitResult,
    data_fields=["weights", "losses", "predictions", "examples"],
    meta_fields=["steps", "epochs", "resumed_from", "seconds", "compile_seconds"],
)


def fit(
    loss: Loss,
    params: Any,
    data: Any,
    *,
    epochs: int,
    optimizer: optax.GradientTransformation = optax.adam(1e-3),  # noqa: B008  a tuple of pure functions
    batch_size: int = 1,
    shuffle_seed: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = False,
) -> FitResult:
    """Train weights on data.

    Works under ``vmap`` (train a thousand initialisations in one call), ``jit`` and the other transforms; there,
    checkpoints and the progress bar are not available.

    Args:
        loss: ``loss(params, batch) -> (loss, predictions)``, as ``jax_lstm.by_hand.loss``; predictions are an array
            with the batch's leading axis.
        params: the weight dictionary (or any pytree of arrays). Float64 needs ``jax.enable_x64(True)`` round the call.
        data: a pytree of arrays with a common leading axis, one entry an example; a batch has the same form.
        epochs: passes over the data in all, those before a resume included.
        optimizer: any optax gradient transformation.
        batch_size: examples a step; the last batch of an epoch is smaller where they do not divide.
        shuffle_seed: None for the order given, or the seed of a new order in each epoch.
        checkpoint_dir: where to write checkpoints (orbax). It must hold none unless ``resume``.
        checkpoint_every: epochs between checkpoints; a tenth of the run by default.
        resume: go on from the newest checkpoint; the result equals the straight run's bit for bit.
        progress: show a bar on stderr.

    Returns:
        FitResult with NumPy arrays (with traced arrays under a transform). Losses and predictions are those of each
        step, made before its update.

    Raises:
        InputError: everything that is wrong with the arguments, or a checkpoint of another run.
    """
    # Inside a caller's jit also what is concrete is part of the program: there the last of these is traced.
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((params, data, jnp.asarray(np.float32(0)))))
    if traced and (checkpoint_dir is not None or progress):
        raise InputError("checkpoint_dir and progress need concrete arrays: leave them out inside jit, vmap and grad")
    plan = plan_training(
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)},
        jax.tree.leaves(data),
        epochs=epochs,
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        checkpoint_dir=checkpoint_dir,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    # With its dtype named, a Python float loses its weak type, which would compile the first piece twice.
    params, data = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), (params, data))
    state = (params, optimizer.init(params))
    if traced:
        return _fit_traced(loss, optimizer, plan, state, data)
    return _fit_concrete(loss, optimizer, plan, state, data, progress)


def _fit_traced(
    loss: Loss, optimizer: optax.GradientTransformation, plan: TrainingPlan, state: Any, data: Any
) -> FitResult:
    order = plan.order(0, plan.epochs)
    state, history = _run_epochs(loss, optimizer, plan.examples, state, data, order)
    losses, predictions = _by_step(history)
    return FitResult(state[0], losses, predictions, _by_step(order), len(losses), plan.epochs)


def _fit_concrete(
    loss: Loss, optimizer: optax.GradientTransformation, plan: TrainingPlan, state: Any, data: Any, progress: bool
) -> FitResult:
    seconds = compile_seconds = 0.0
    first, pieces = 0, []
    with Checkpoints(plan) as checkpoints:
        if (restored := checkpoints.restore(state)) is not None:
            first, state, history = restored
            pieces.append(history)
        with progress_bar("training in JAX", plan.epochs, done=first, enabled=progress) as show:
            for start, stop in plan.pauses(first, _PROGRESS_PARTS if progress else 1):
                order = np.ascontiguousarray(plan.order(start, stop))
                began = time.perf_counter()
                # Compiled programs are cached by jax, so that only the first piece of each length costs anything.
                _run_epochs.lower(loss, optimizer, plan.examples, state, data, order).compile()
                compiled = time.perf_counter()
                state, history = jax.block_until_ready(_run_epochs(loss, optimizer, plan.examples, state, data, order))
                seconds += time.perf_counter() - compiled
                compile_seconds += compiled - began
                pieces.append(jax.tree.map(np.asarray, _by_step(history)))
                if plan.checkpoint_due(stop):
                    pieces = [_join(pieces)]
                    checkpoints.save(stop, state, pieces[0])
                show(stop)
    losses, predictions = _join(pieces)
    return FitResult(
        weights=jax.tree.map(np.asarray, state[0]),
        losses=losses,
        predictions=predictions,
        examples=_by_step(plan.order(0, plan.epochs)),
        steps=len(losses),
        epochs=plan.epochs,
        resumed_from=first,
        seconds=seconds,
        compile_seconds=compile_seconds,
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run_epochs(
    loss: Loss, optimizer: optax.GradientTransformation, examples: int, state: Any, data: Any, order: Any
) -> tuple[Any, tuple[Any, Any]]:
    """Run the epochs of ``order`` (epochs, steps, batch): the new state, and (losses, predictions)."""
    batch_size = order.shape[-1]
    rest = examples % batch_size  # examples of an epoch's smaller last batch, 0 if all are full

    def step(state: Any, rows: Any) -> tuple[Any, tuple[Any, Any]]:
        weights, optimizer_state = state
        batch = jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)
        (value, predictions), gradient = jax.value_and_grad(loss, has_aux=True)(weights, batch)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, weights)
        return (optax.apply_updates(weights, updates), optimizer_state), (value, predictions)

    def epoch(state: Any, rows: Any) -> tuple[Any, tuple[Any, Any]]:
        if not rest:
            return lax.scan(step, state, rows)
        state, (losses, predictions) = lax.scan(step, state, rows[:-1])
        state, (last_loss, last_predictions) = step(state, rows[-1, :rest])
        unused = jnp.full((batch_size - rest, *last_predictions.shape[1:]), jnp.nan, last_predictions.dtype)
        last_predictions = jnp.concatenate([last_predictions, unused])
        return state, (jnp.append(losses, last_loss), jnp.concatenate([predictions, last_predictions[None]]))

    def train(state: Any, order: Any) -> tuple[Any, tuple[Any, Any]]:
        return lax.scan(epoch, state, order)

    if fits_single_kernel(step, state, order[0, 0]):
        train = single_kernel(train)
    return train(state, order)


def _join(pieces: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    losses, predictions = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return losses, predictions


def _by_step(history: Any) -> Any:
    """(epochs, steps an epoch, …) -> (steps, …)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), history)
