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

# A progress bar cuts the run between two checkpoints into this many pieces: enough to see it move, and few enough that
# starting a piece costs nothing.
_PROGRESS_PARTS = 20

# A run with checkpoints is cut into pieces that take about this long. A signal is handled at the end of a piece, and
# the run is kept up to its last whole piece. The first piece is short, because the time per step is not known yet. This
# many steps of the by-hand model take 0.3 ms, so most runs use one length and compile once.
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

    Works under ``vmap`` (train a thousand initialisations in one call), ``jit`` and the other transforms, though
    without checkpoints or a progress bar. If an error or KeyboardInterrupt stops a run with checkpoints, ``fit`` writes
    one last checkpoint, of the run as it was about a second before, and raises the error again.

    Args:
        loss: ``loss(params, batch) -> (loss, predictions)``, such as ``jax_lstm.by_hand.loss``. The predictions are an
            array whose leading axis is the batch. ``fit`` compiles it.
        params: the weight dictionary (or any pytree of arrays). Float64 needs ``jax.enable_x64(True)`` around the call.
        data: a pytree of arrays with a common leading axis, one entry per example. A batch has the same structure.
        epochs: total passes over the data, including those before a resume.
        optimizer: any optax gradient transformation.
        batch_size: examples per step. If it does not divide the number of examples, each epoch's last batch is smaller.
        shuffle_seed: None keeps the order given; a seed draws a new order for each epoch.
        checkpoint_dir: where to write checkpoints; the last three are kept. It must hold none unless ``resume`` is
            True, and no other run may write there.
        checkpoint_every: epochs between checkpoints; a tenth of the run by default.
        resume: continue from the newest sound checkpoint. The result equals an uninterrupted run's bit for bit. All
            arguments except ``epochs`` must be the same as before.
        progress: show a bar on stderr.

    Returns:
        FitResult with NumPy arrays, or with traced arrays under a transform. Losses and predictions are those of each
        step before its update. Under a transform with ``jax_debug_nans``, which would stop at NaN, the unused places
        of a smaller last batch hold 0.

    Raises:
        InputError: an argument is wrong (the message names everything that is wrong), ``fit`` cannot use ``loss``, or
            the checkpoint is from another run.
        OSError: a checkpoint cannot be written. Earlier ones are still there.
    """
    InputError.raise_any(require_kinds(loss, optimizer))
    # Inside a caller's jit even a constant is traced, and so is the last of these leaves.
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
    # Naming the dtype strips a Python float of its weak type, which would make the first piece compile twice.
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
                    # JAX caches compiled programs, so only the first piece of each length compiles.
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
                error.add_note(f"{plan.checkpoint_dir}: saved up to epoch {known[0]}; continue with resume=True")
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
    """Return the number of epochs in the first piece, and in the longest."""
    if plan.checkpoint_dir is None:
        longest = max(1, plan.epochs // _PROGRESS_PARTS) if progress else plan.epochs
        return longest, longest
    longest = max(1, plan.checkpoint_every // _PROGRESS_PARTS) if progress else plan.checkpoint_every
    return max(1, min(longest, _FIRST_STEPS // plan.steps_per_epoch)), longest


def _next_length(length: int, epochs: int, seconds: float, longest: int) -> int:
    """Return the epochs of the next piece, given that ``epochs`` took ``seconds``. Each new length compiles again."""
    fitting = max(1, min(longest, int(epochs * _PIECE_SECONDS / max(seconds, 1e-9))))
    return fitting if fitting > 4 * length or 2 * fitting < length else length
