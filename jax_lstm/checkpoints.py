"""Checkpoints of a JAX training run: its state as flat arrays, and what identifies the run."""

from importlib.metadata import version
from types import TracebackType
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, PyTree

from jax_lstm.programs import program_digest, settings
from jax_lstm.training_step import Loss, State, loss_and_gradient, update
from lstm_shared.errors import InputError
from lstm_shared.training.checkpoint_directory import CheckpointDirectory
from lstm_shared.training.checkpoint_file import Checkpoint
from lstm_shared.training.plan import TrainingPlan
from lstm_shared.training.run_identity import Run, digest_of_weights

History = tuple[np.ndarray, np.ndarray]

_HISTORY = ("losses", "predictions")


class Checkpoints:
    """The checkpoints of one run: a context manager that locks the directory. Without a directory it does nothing."""

    def __init__(self, plan: TrainingPlan):
        self._plan = plan
        self._directory: CheckpointDirectory | None = None
        self._run: Run = {}
        self._saved = 0
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        if self._plan.checkpoint_dir is not None:
            self._directory = CheckpointDirectory(self._plan.checkpoint_dir).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._directory is not None:
            self._directory.__exit__(kind, error, trace)

    def restore(
        self, loss: Loss, optimizer: optax.GradientTransformation, state: State, data: PyTree
    ) -> tuple[int, State, History] | None:
        """Return (epoch, state, (losses, predictions)) of the newest sound checkpoint, or None if there is none.

        Raises:
            InputError: the checkpoint is from another run, none is sound, or there are some but ``resume`` is False.
        """
        if self._directory is None:
            return None
        plan = self._plan
        if not plan.resume:
            self._directory.require_fresh()
        self._run = plan.run | _program(loss, optimizer, state, data, plan.batch_size)
        checkpoint = self._directory.newest()
        if checkpoint is None:
            return None
        weights = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state[0])}
        saved = {name: checkpoint.arrays.get(f"state[0]{name}", np.zeros(0)) for name in weights}
        notes = plan.require_same_run(checkpoint, self._run, go_on_from=digest_of_weights(saved))
        self.notes = (*self._directory.notes, *notes)
        self._saved = checkpoint.epoch
        restored = _restore(state, checkpoint, str(plan.checkpoint_dir))
        losses, predictions = (checkpoint.arrays[name] for name in _HISTORY)
        return checkpoint.epoch, restored, (losses, predictions)

    def save(self, epoch: int, state: State, history: History) -> None:
        """Write a checkpoint of the run at this epoch, unless there is one already.

        Raises:
            OSError: the checkpoint cannot be written. Earlier ones are still there.
        """
        if self._directory is None or epoch <= self._saved:
            return
        arrays = dict(zip(_HISTORY, history, strict=True)) | _flat(state)
        self._directory.save(Checkpoint(epoch, self._run, arrays))
        self._saved = epoch


def _program(loss: Loss, optimizer: optax.GradientTransformation, state: State, data: PyTree, batch_size: int) -> Run:
    weights, optimizer_state = state
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), data)
    return {
        "loss": program_digest(lambda weights, batch: loss_and_gradient(loss, weights, batch), weights, batch),
        "loss_is": "the loss",
        "optimizer": {
            "settings": settings(optimizer),
            "program": program_digest(lambda *step: update(optimizer, *step), weights, optimizer_state, weights),
        },
        "software": {name: version(name) for name in ("jax", "jaxlib", "optax")} | {"device": jax.default_backend()},
    }


def _flat(state: State) -> dict[str, np.ndarray]:
    return {
        "state" + jax.tree_util.keystr(path): np.asarray(_key_data(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _restore(state: State, checkpoint: Checkpoint, place: str) -> State:
    """Return the checkpoint's arrays in the structure of this state."""
    expected = _flat(state)
    saved = {name: array for name, array in checkpoint.arrays.items() if name not in _HISTORY}
    if _forms(saved) != _forms(expected) or len(saved) + len(_HISTORY) != len(checkpoint.arrays):
        raise InputError(
            f"{place}: the checkpoint's optimizer state does not fit this optimizer: resume with the one that wrote it"
        )
    leaves, structure = jax.tree.flatten(state)
    arrays = [jnp.asarray(checkpoint.arrays[name]) for name in expected]
    return structure.unflatten(map(_like, arrays, leaves))


def _forms(arrays: dict[str, np.ndarray]) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}


def _is_key(leaf: ArrayLike) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_data(leaf: ArrayLike) -> ArrayLike:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(array: Array, leaf: ArrayLike) -> Array:
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else array
