"""Checkpoints of a JAX training run, written with orbax: the state, the history so far, and which run it is."""

import os
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lstm_shared.training import TrainingPlan


class Checkpoints:
    """The checkpoint directory of one run; a context manager, so that writing has ended when the block ends.

    Does nothing when the plan has no directory.
    """

    def __init__(self, plan: TrainingPlan):
        self._plan = plan
        self._manager: Any = None

    def __enter__(self) -> Self:
        if self._plan.checkpoint_dir is not None:
            import orbax.checkpoint as ocp  # imported only here: it takes a second

            os.makedirs(self._plan.checkpoint_dir, exist_ok=True)
            options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
            self._manager = ocp.CheckpointManager(self._plan.checkpoint_dir, options=options)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._manager is not None:
            self._manager.close()

    def restore(self, state: Any) -> tuple[int, Any, tuple[np.ndarray, np.ndarray]] | None:
        """(epoch, state, (losses, predictions)) of the newest checkpoint, or None if there is none.

        Raises:
            InputError: the newest checkpoint is of another run, or the run was not to be resumed.
        """
        if self._manager is None:
            return None
        epoch = self._manager.latest_step()
        self._plan.require_fresh(epoch)
        if epoch is None:
            return None
        import orbax.checkpoint as ocp

        about = self._manager.restore(epoch, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        self._plan.require_same_run(about["fingerprint"], epoch)
        history = {name: np.empty(shape, np.dtype(dtype)) for name, (shape, dtype) in about["history"].items()}
        # NumPy targets: where an event loop runs (a notebook), orbax restores on a thread of its own, in which the
        # caller's enable_x64 is not in force and JAX arrays would come back as float32.
        target = {"state": jax.tree.map(np.asarray, state), "history": history}
        restored = self._manager.restore(epoch, args=ocp.args.Composite(run=ocp.args.StandardRestore(target)))["run"]
        history = restored["history"]
        return epoch, jax.tree.map(jnp.asarray, restored["state"]), (history["losses"], history["predictions"])

    def save(self, epoch: int, state: Any, history: tuple[np.ndarray, np.ndarray]) -> None:
        """Write a checkpoint of the run at this epoch."""
        import orbax.checkpoint as ocp

        arrays = dict(zip(("losses", "predictions"), history, strict=True))
        about = {
            "fingerprint": self._plan.fingerprint,
            "history": {name: [array.shape, array.dtype.name] for name, array in arrays.items()},
        }
        self._manager.save(
            epoch,
            args=ocp.args.Composite(
                about=ocp.args.JsonSave(about), run=ocp.args.StandardSave({"state": state, "history": arrays})
            ),
        )
