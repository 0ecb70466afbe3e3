"""A training run without any framework: the order of batches, where the run pauses, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.training.run_identity import Run, differences, other_software


@dataclass(frozen=True)
class FitResult:
    """The result of ``fit``, from either backend.

    Attributes:
        weights: the trained dictionary, as NumPy arrays.
        losses: (steps,) the loss of each step, before its update.
        predictions: (steps, batch_size, …) the model's predictions in each step, before its update. If the last batch
            of an epoch is smaller, the unused entries are NaN.
        examples: (steps, batch_size) the index of the example of each prediction; -1 in the unused entries.
        steps: total optimizer steps, including those before a resume.
        epochs: total epochs, including those before a resume.
        resumed_from: the epoch of the checkpoint that the run continued from; 0 if it did not resume.
        seconds: time spent on this call's own steps, without compilation.
        compile_seconds: time spent tracing and compiling (0 if nothing is compiled).
        notes: lines for the user about the resume: a damaged checkpoint that was skipped, or framework versions that
            have changed since the run began.
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
    notes: tuple[str, ...] = ()


class _Saved(Protocol):
    """What this file needs of ``lstm_shared.training.checkpoint_file.Checkpoint``."""

    @property
    def epoch(self) -> int: ...
    @property
    def run(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class TrainingPlan:
    """The checked arguments of a run, and what both backends derive from them."""

    examples: int
    epochs: int
    batch_size: int
    shuffle_seed: int | None
    checkpoint_dir: Path | None
    checkpoint_every: int
    resume: bool
    run: Run

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """Return (steps_per_epoch, batch_size) the examples of each batch. -1 fills up a smaller last batch.

        Each epoch has a random stream of its own, so that a resumed run gets the same order as a straight one.
        """
        order = np.full(self.steps_per_epoch * self.batch_size, -1, np.int32)
        if self.shuffle_seed is None:
            order[: self.examples] = np.arange(self.examples)
        else:
            order[: self.examples] = np.random.default_rng((self.shuffle_seed, epoch)).permutation(self.examples)
        return order.reshape(self.steps_per_epoch, self.batch_size)

    def order(self, first: int, last: int) -> np.ndarray:
        """Return (last - first, steps_per_epoch, batch_size) the order of the epochs first to last - 1."""
        if self.shuffle_seed is None:
            return np.broadcast_to(self.epoch_order(0), (last - first, self.steps_per_epoch, self.batch_size))
        return np.stack([self.epoch_order(epoch) for epoch in range(first, last)])

    def checkpoint_due(self, epoch: int) -> bool:
        """Return whether to write a checkpoint after this many epochs."""
        return self.checkpoint_dir is not None and (epoch % self.checkpoint_every == 0 or epoch == self.epochs)

    def next_pause(self, epoch: int, length: int) -> int:
        """Return where a piece of the run ends: ``length`` epochs after ``epoch``, at a checkpoint, or at the end."""
        every = self.checkpoint_every if self.checkpoint_dir else self.epochs
        return min(epoch + max(1, length), (epoch // every + 1) * every, self.epochs)

    def require_same_run(self, saved: _Saved, run: Run, go_on_from: str | None = None) -> list[str]:
        """Refuse to continue from a checkpoint of another run, or from one past the end of this run.

        Args:
            run: what is known of this run: ``self.run`` or more.
            go_on_from: digest of the checkpoint's own weights. A run may start from these in place of the start
                weights.

        Returns:
            Lines on what may make the resumed run differ from the straight run in its last bits.

        Raises:
            InputError: it is another run, or past the end. The message lists the differences.
        """
        problems: list[str] = []
        if different := differences(saved.run, run, go_on_from):
            problems.append(f"{self.checkpoint_dir}: the checkpoint is of another run: {'; '.join(different)}")
        if saved.epoch > self.epochs:
            problems.append(
                f"{self.checkpoint_dir}: the checkpoint is at epoch {saved.epoch}, past the {self.epochs} asked for"
            )
        InputError.raise_any(problems)
        if software := other_software(saved.run, run):
            words = "the resumed run may differ from an uninterrupted one, and its program could not be compared"
            return [f"{self.checkpoint_dir}: {'; '.join(software)}: {words}"]
        return []
