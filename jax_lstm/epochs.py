"""Run the epochs of a training run as one compiled ``lax.scan``, and collect their history."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, PyTree

from jax_lstm.checkpoints import History
from jax_lstm.compiler.one_kernel import fits_one_kernel, one_kernel
from jax_lstm.training_step import Loss, State, loss_and_gradient, update
from lstm_shared.training.plan import TrainingPlan


@partial(jax.jit, static_argnums=(0, 1, 2))
def run_epochs(
    loss: Loss, optimizer: optax.GradientTransformation, examples: int, state: State, data: PyTree, order: Array
) -> tuple[State, tuple[Array, Array]]:
    """Run the epochs of ``order`` (epochs, steps, batch). Return the new state and (losses, predictions).

    The unused places of a smaller last batch hold 0: NaN would stop the run under ``jax_debug_nans``.
    """
    batch_size = order.shape[-1]
    rest = examples % batch_size  # examples in an epoch's smaller last batch, 0 if all are full

    def step(state: State, rows: Array) -> tuple[State, tuple[Array, Array]]:
        weights, optimizer_state = state
        batch = jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)
        results, gradient = loss_and_gradient(loss, weights, batch)
        return update(optimizer, gradient, optimizer_state, weights), results

    def epoch(state: State, rows: Array) -> tuple[State, tuple[Array, Array]]:
        if not rest:
            return lax.scan(step, state, rows)
        state, (losses, predictions) = lax.scan(step, state, rows[:-1])
        state, (last_loss, last_predictions) = step(state, rows[-1, :rest])
        unused = jnp.zeros((batch_size - rest, *last_predictions.shape[1:]), last_predictions.dtype)
        last_predictions = jnp.concatenate([last_predictions, unused])
        return state, (jnp.append(losses, last_loss), jnp.concatenate([predictions, last_predictions[None]]))

    def train(state: State, order: Array) -> tuple[State, tuple[Array, Array]]:
        return lax.scan(epoch, state, order)

    if fits_one_kernel(step, state, order[0, 0]):
        train = one_kernel(train, under_vmap=True)
    return train(state, order)


def to_host(plan: TrainingPlan, history: tuple[Array, Array]) -> History:
    """Return NumPy losses and predictions (steps, …), with NaN in the unused places of a smaller last batch."""
    losses, predictions = map(np.asarray, history)
    if (rest := plan.examples % plan.batch_size) and jnp.issubdtype(predictions.dtype, jnp.floating):
        predictions = predictions.copy()
        predictions[:, -1, rest:] = np.nan
    return by_step((losses, predictions))


def join(pieces: list[tuple[int, History]], epoch: int) -> History:
    """Join the history up to this epoch. An interrupt may leave one piece too many."""
    known = [history for stop, history in pieces if stop <= epoch]
    losses, predictions = (np.concatenate(parts) for parts in zip(*known, strict=True))
    return losses, predictions


def by_step(history: PyTree) -> PyTree:
    """Reshape (epochs, steps per epoch, …) to (steps, …)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), history)
