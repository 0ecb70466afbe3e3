"""What a training run is, before any framework: the order of batches, where it pauses, and what comes out of it."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole


@dataclass(frozen=True)
class FitResult:
    """What ``fit`` returns, from either backend.

    Attributes:
        weights: the trained dictionary, as NumPy arrays.
        losses: (steps,) the loss of each step, before its update.
        predictions: (steps, batch_size, …) the model's predictions in each step, before its update; NaN in the
            unused places of an epoch's smaller last batch.
        examples: (steps, batch_size) which example each prediction is for; -1 in those unused places.
        steps: optimizer steps in all, those before a resume included.
        epochs: epochs in all, likewise.
        resumed_from: the epoch of the checkpoint that the run went on from; 0 for a run from the start.
        seconds: time spent on this call's own steps, compilation apart.
        compile_seconds: time spent tracing and compiling (0 where nothing is compiled).
    """

    weights: dict[str, Any]
    losses: Any
    predictions: Any
    examples: Any
    steps: int
    epochs: int
    resumed_from: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0


@dataclass(frozen=True)
class TrainingPlan:
    """The checked arguments of a run, and what follows from them for both backends."""

    examples: int
    epochs: int
    batch_size: int
    shuffle_seed: int | None
    checkpoint_dir: Path | None
    checkpoint_every: int
    resume: bool
    fingerprint: str

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """(steps_per_epoch, batch_size) the examples of each batch; -1 fills up a smaller last one.

        Each epoch has a stream of its own, so that a resumed run meets the order that a straight run meets.
        """
        order = np.full(self.steps_per_epoch * self.batch_size, -1, np.int32)
        if self.shuffle_seed is None:
            order[: self.examples] = np.arange(self.examples)
        else:
            order[: self.examples] = np.random.default_rng((self.shuffle_seed, epoch)).permutation(self.examples)
        return order.reshape(self.steps_per_epoch, self.batch_size)

    def order(self, first: int, last: int) -> np.ndarray:
        """(last - first, steps_per_epoch, batch_size) the order of the epochs first up to last."""
        if self.shuffle_seed is None:
            return np.broadcast_to(self.epoch_order(0), (last - first, self.steps_per_epoch, self.batch_size))
        return np.stack([self.epoch_order(epoch) for epoch in range(first, last)])

    def checkpoint_due(self, epoch: int) -> bool:
        """Whether a checkpoint is written when this many epochs are done."""
        return self.checkpoint_dir is not None and (epoch % self.checkpoint_every == 0 or epoch == self.epochs)

    def pauses(self, first: int, parts: int) -> Iterator[tuple[int, int]]:
        """The run from epoch ``first`` in pieces (start, stop): one up to each checkpoint, each in ``parts`` parts."""
        every = self.checkpoint_every if self.checkpoint_dir else self.epochs
        length = max(1, every // parts)
        while first < self.epochs:
            due = min((first // every + 1) * every, self.epochs)
            last = min(first + length, due)
            yield first, last
            first = last

    def require_same_run(self, fingerprint: str, epoch: int) -> None:
        """Refuse to go on from a checkpoint of another run, or from one that is already past the end of this one."""
        problems = []
        if fingerprint != self.fingerprint:
            problems.append(
                f"{self.checkpoint_dir}: the checkpoint is of another run: its data, batch_size, shuffle_seed, "
                "or the names, shapes or dtypes of its weights differ"
            )
        if epoch > self.epochs:
            problems.append(
                f"{self.checkpoint_dir}: the checkpoint is at epoch {epoch}, past the {self.epochs} asked for"
            )
        InputError.raise_any(problems)

    def require_fresh(self, epoch: int | None) -> None:
        """Refuse to start over in a directory that holds a checkpoint."""
        if epoch is not None and not self.resume:
            raise InputError(
                f"{self.checkpoint_dir}: holds a checkpoint at epoch {epoch}: resume it, or choose another directory"
            )


def plan_training(
    weights: Mapping[str, Any],
    data: Sequence[Any],
    *,
    epochs: int,
    batch_size: int = 1,
    shuffle_seed: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
) -> TrainingPlan:
    """Check the arguments of ``fit`` and plan the run.

    Args:
        weights: name -> array; names, shapes and dtypes identify the run.
        data: arrays with a common leading axis, one entry an example.
        epochs: passes over the data in all, those before a resume included.
        batch_size: examples a step; the last batch of an epoch may be smaller.
        shuffle_seed: None for the order given, or the seed of a new order in each epoch.
        checkpoint_dir: where checkpoints go, if anywhere.
        checkpoint_every: epochs between checkpoints; a tenth of the run by default. One is always written at the end.
        resume: go on from the newest checkpoint in checkpoint_dir, or start if there is none.

    Raises:
        InputError: everything that is wrong with these.
    """
    leading = [np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in data]
    problems = []
    if not leading or None in leading or len(set(leading)) > 1:
        problems.append(f"data has leading axes {leading}, expected the same number of examples in every array")
    elif leading[0] == 0:
        problems.append("data has no examples")
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("checkpoint_every", checkpoint_every)):
        if value is not None and not is_whole(value):
            problems.append(f"{name} is {value}, expected a positive whole number")
    if checkpoint_dir is not None and os.path.exists(checkpoint_dir) and not os.path.isdir(checkpoint_dir):
        problems.append(f"{checkpoint_dir}: not a directory, checkpoints need one")
    if checkpoint_dir is None and resume:
        problems.append("resume needs a checkpoint_dir to go on from")
    if checkpoint_dir is None and checkpoint_every is not None:
        problems.append("checkpoint_every needs a checkpoint_dir to write to")
    InputError.raise_any(problems)
    examples = leading[0] or 0
    return TrainingPlan(
        examples=examples,
        epochs=epochs,
        batch_size=min(batch_size, examples),
        shuffle_seed=shuffle_seed,
        checkpoint_dir=None if checkpoint_dir is None else Path(checkpoint_dir).absolute(),
        checkpoint_every=checkpoint_every or -(-epochs // 10),
        resume=resume,
        fingerprint="" if checkpoint_dir is None else _fingerprint(weights, data, batch_size, shuffle_seed),
    )


def _fingerprint(weights: Mapping[str, Any], data: Sequence[Any], *settings: Any) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for name in sorted(weights):
        array = np.asarray(weights[name])
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
    for leaf in data:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()
