"""Training in JAX: the whole run is one compiled ``lax.scan`` over epochs and steps, with any optax optimizer."""

import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import PyTree

from jax_lstm.checkpoints import Checkpoints
from jax_lstm.epochs import by_step, join, run_epochs, to_host
from jax_lstm.training_step import Loss, State, require_kinds, usual_promotion
from lstm_shared.errors import InputError
from lstm_shared.progress import progress_bar
from lstm_shared.training.arguments import plan_training
from lstm_shared.training.plan import FitResult, TrainingPlan

# With a progress bar the run is cut into this many pieces between checkpoints: often enough to see it move, and each
# piece long enough that its start costs nothing.
_PROGRESS_PARTS = 20

# A run with checkpoints is cut so that a piece takes about this long: a signal is answered at the end of a piece, and
# then the last whole piece is kept. The first is short, because nobody knows yet how long a step takes: this many steps
# of the by-hand model take 0.3 ms, so most runs have one length, and compile once.
_PIECE_SECONDS = 1.0
_FIRST_STEPS = 1000

jax.tree_util.register_dataclass(  # so that vmap(fit) and jit(fit) can return it
    FitResult,
    data_fields=["weights", "losses", "predictions", "examples"],
    meta_fields=["steps", "epochs", "resumed_from", "seconds", "compile_seconds", "notes"],
)


def fit(
    loss: Loss,
    params: PyTree,
    data: PyTree,
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
    checkpoints and the progress bar are not available. What stops a run with checkpoints (KeyboardInterrupt, an error)
    is raised again after one last checkpoint, of the run as it was about a second before.

    Args:
        loss: ``loss(params, batch) -> (loss, predictions)``, as ``jax_lstm.by_hand.loss``; predictions are an array
            with the batch's leading axis.
        params: the weight dictionary (or any pytree of arrays). Float64 needs ``jax.enable_x64(True)`` round the call.
        data: a pytree of arrays with a common leading axis, one entry an example; a batch has the same form.
        epochs: passes over the data in all, those before a resume included.
        optimizer: any optax gradient transformation.
        batch_size: examples a step; the last batch of an epoch is smaller where they do not divide.
        shuffle_seed: None for the order given, or the seed of a new order in each epoch.
        checkpoint_dir: where to write checkpoints, of which the last three are kept. It must hold none unless
            ``resume``, and no other run may write there.
        checkpoint_every: epochs between checkpoints; a tenth of the run by default.
        resume: go on from the newest sound checkpoint; the result equals the straight run's bit for bit. All arguments
            but the epochs must be as they were.
        progress: show a bar on stderr.

    Returns:
        FitResult with NumPy arrays (with traced arrays under a transform). Losses and predictions are those of each
        step, made before its update. Under a transform with ``jax_debug_nans``, which would stop at NaN, the unused
        places of a smaller last batch hold 0.

    Raises:
        InputError: everything that is wrong with the arguments; what ``loss`` returns; a checkpoint of another run.
        OSError: a checkpoint cannot be written; those before it are still there.
    """
    # Inside a caller's jit even concrete arrays become part of the program: there the last of these is traced.
    InputError.raise_any(require_kinds(loss, optimizer))
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((params, data, jnp.asarray(np.float32(0)))))
    if traced and (checkpoint_dir is not None or progress):
        raise InputError("checkpoint_dir and progress need concrete arrays: leave them out inside jit, vmap and grad")
    plan = plan_training(
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)},
        jax.tree.leaves(data),
        backend="jax",
        epochs=epochs,
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        checkpoint_dir=checkpoint_dir,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    # With its dtype named, a Python float loses its weak type, which would compile the first piece twice.
    params, data = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), (params, data))
    with usual_promotion():
        state = (params, optimizer.init(params))
    if traced:
        return _fit_traced(loss, optimizer, plan, state, data)
    return _fit_concrete(loss, optimizer, plan, state, data, progress=progress)


def _fit_traced(
    loss: Loss, optimizer: optax.GradientTransformation, plan: TrainingPlan, state: State, data: PyTree
) -> FitResult:
    order = plan.order(0, plan.epochs)
    state, (losses, predictions) = run_epochs(loss, optimizer, plan.examples, state, data, order)
    rest = plan.examples % plan.batch_size
    if rest and jnp.issubdtype(predictions.dtype, jnp.floating) and not jax.config.jax_debug_nans:  # pyright: ignore[reportAttributeAccessIssue]
        predictions = predictions.at[:, -1, rest:].set(jnp.nan)
    losses, predictions = by_step((losses, predictions))
    return FitResult(state[0], losses, predictions, by_step(order), len(losses), plan.epochs)


def _fit_concrete(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    plan: TrainingPlan,
    state: State,
    data: PyTree,
    *,
    progress: bool,
) -> FitResult:
    seconds = compile_seconds = 0.0
    first, pieces = 0, []
    with Checkpoints(plan) as checkpoints:
        if (restored := checkpoints.restore(loss, optimizer, state, data)) is not None:
            first, state, history = restored
            pieces.append((first, history))
        known = first, state  # the last whole piece, in one assignment: an interrupt finds the old one or the new one
        length, longest = _piece_lengths(plan, progress)
        try:
            with progress_bar("training in JAX", plan.epochs, done=first, enabled=progress) as show:
                while (start := known[0]) < plan.epochs:
                    stop = plan.next_pause(start, length)
                    order = np.ascontiguousarray(plan.order(start, stop))
                    began = time.perf_counter()
                    # Compiled programs are cached by jax, so that only the first piece of each length costs anything.
                    run_epochs.lower(loss, optimizer, plan.examples, known[1], data, order).compile()
                    compiled = time.perf_counter()
                    state, history = jax.block_until_ready(
                        run_epochs(loss, optimizer, plan.examples, known[1], data, order)
                    )
                    took = time.perf_counter() - compiled
                    seconds += took
                    compile_seconds += compiled - began
                    pieces.append((stop, to_host(plan, history)))
                    known = stop, state
                    if plan.checkpoint_due(stop):
                        pieces = [(stop, join(pieces, stop))]
                        checkpoints.save(stop, state, pieces[0][1])
                    if plan.checkpoint_dir is not None:
                        length = _next_length(length, stop - start, took, longest)
                    show(stop)
        except BaseException as error:
            if plan.checkpoint_dir is not None and known[0] > first and not isinstance(error, OSError):
                checkpoints.save(*known, join(pieces, known[0]))
                error.add_note(f"{plan.checkpoint_dir}: the run is kept up to epoch {known[0]}")
            raise
    losses, predictions = join(pieces, plan.epochs)
    return FitResult(
        weights=jax.tree.map(np.asarray, known[1][0]),
        losses=losses,
        predictions=predictions,
        examples=by_step(plan.order(0, plan.epochs)),
        steps=len(losses),
        epochs=plan.epochs,
        resumed_from=first,
        seconds=seconds,
        compile_seconds=compile_seconds,
        notes=checkpoints.notes,
    )


def _piece_lengths(plan: TrainingPlan, progress: bool) -> tuple[int, int]:
    """Epochs of the first piece, and of the longest."""
    if plan.checkpoint_dir is None:
        longest = max(1, plan.epochs // _PROGRESS_PARTS) if progress else plan.epochs
        return longest, longest
    longest = max(1, plan.checkpoint_every // _PROGRESS_PARTS) if progress else plan.checkpoint_every
    return max(1, min(longest, _FIRST_STEPS // plan.steps_per_epoch)), longest


def _next_length(length: int, epochs: int, seconds: float, longest: int) -> int:
    """Epochs of the next piece, after one of these epochs took these seconds; each new length is compiled once more."""
    fitting = max(1, min(longest, int(epochs * _PIECE_SECONDS / max(seconds, 1e-9))))
    return fitting if fitting > 4 * length or 2 * fitting < length else length
