"""What a training run is, before any framework: the order of batches, where it pauses, and what comes out of it."""

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole
from lstm_shared.kinds import in_words, wrong_switches
from lstm_shared.memory import require_memory
from lstm_shared.run_identity import Run, describe_run, differences, other_software


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
        notes: what the user should know of the resume, a line each: a damaged checkpoint that was passed over, or
            other versions of the frameworks than those the run began with.
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
    """What ``lstm_shared.checkpoint_files.Checkpoint`` has of this."""

    @property
    def epoch(self) -> int: ...
    @property
    def run(self) -> Mapping[str, Any]: ...


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
    run: Run

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

    def next_pause(self, epoch: int, length: int) -> int:
        """Where a piece that begins at this epoch ends: after ``length`` epochs, at a checkpoint, or at the end."""
        every = self.checkpoint_every if self.checkpoint_dir else self.epochs
        return min(epoch + max(1, length), (epoch // every + 1) * every, self.epochs)

    def require_same_run(self, saved: _Saved, run: Run, go_on_from: str | None = None) -> list[str]:
        """Refuse to go on from a checkpoint of another run, or from one that is already past the end of this one.

        Args:
            run: what is known of this run, ``self.run`` or more.
            go_on_from: the digest of the checkpoint's own weights, which may stand in the place of the start weights.

        Returns:
            Lines on what may make the resumed run differ from the straight one in the last bits.

        Raises:
            InputError: which differences make it another run.
        """
        problems = []
        if different := differences(saved.run, run, go_on_from):
            problems.append(f"{self.checkpoint_dir}: the checkpoint is of another run: {'; '.join(different)}")
        if saved.epoch > self.epochs:
            problems.append(
                f"{self.checkpoint_dir}: the checkpoint is at epoch {saved.epoch}, past the {self.epochs} asked for"
            )
        InputError.raise_any(problems)
        if software := other_software(saved.run, run):
            words = "the resumed run may differ from a straight one, and its program could not be compared"
            return [f"{self.checkpoint_dir}: {'; '.join(software)}: {words}"]
        return []


def plan_training(
    weights: Mapping[str, Any],
    data: Sequence[Any],
    *,
    backend: str = "",
    epochs: int,
    batch_size: int = 1,
    shuffle_seed: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
) -> TrainingPlan:
    """Check the arguments of ``fit`` and plan the run.

    Args:
        weights: name -> array, those the run starts from.
        data: arrays with a common leading axis, one entry an example.
        backend: "jax" or "torch".
        epochs: passes over the data in all, those before a resume included.
        batch_size: examples a step; the last batch of an epoch may be smaller.
        shuffle_seed: None for the order given, or the seed of a new order in each epoch.
        checkpoint_dir: where checkpoints go, if anywhere.
        checkpoint_every: epochs between checkpoints; a tenth of the run by default. One is always written at the end.
        resume: go on from the newest checkpoint in checkpoint_dir, or start if there is none.

    Raises:
        InputError: everything that is wrong with these.
    """
    problems = _wrong_weights(weights) + _wrong_data(data)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("checkpoint_every", checkpoint_every)):
        if not is_whole(value) and not (name == "checkpoint_every" and value is None):
            problems.append(f"{name} is {in_words(value)}, expected a positive whole number")
    if shuffle_seed is not None and not is_whole(shuffle_seed, at_least=0):
        problems.append(f"shuffle_seed is {in_words(shuffle_seed)}, expected None or a whole number, 0 or more")
    problems += wrong_switches(resume=resume)
    if checkpoint_dir is None:
        if resume:
            problems.append("resume needs a checkpoint_dir to go on from")
        if checkpoint_every is not None:
            problems.append("checkpoint_every needs a checkpoint_dir to write to")
    elif not isinstance(checkpoint_dir, str | os.PathLike) or "\0" in os.fspath(checkpoint_dir):
        problems.append(f"checkpoint_dir is {in_words(checkpoint_dir)}, expected a path")
    elif os.path.lexists(checkpoint_dir) and not os.path.isdir(checkpoint_dir):
        problems.append(f"{checkpoint_dir}: not a directory, checkpoints need one")
    InputError.raise_any(problems)
    # NumPy's whole numbers overflow, and JSON does not know them.
    epochs, batch_size = operator.index(epochs), operator.index(batch_size)
    shuffle_seed = None if shuffle_seed is None else operator.index(shuffle_seed)
    examples = np.shape(data[0])[0]
    batch_size = min(batch_size, examples)
    _require_memory(weights, examples, epochs, batch_size)
    return TrainingPlan(
        examples=examples,
        epochs=epochs,
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        checkpoint_dir=None if checkpoint_dir is None else Path(checkpoint_dir),
        checkpoint_every=operator.index(checkpoint_every or -(-epochs // 10)),
        resume=bool(resume),
        run={} if checkpoint_dir is None else describe_run(backend, weights, data, batch_size, shuffle_seed),
    )


def _wrong_weights(weights: Mapping[str, Any]) -> list[str]:
    if not weights:
        return ["there are no weights to train"]
    wrong = []
    for name, value in weights.items():
        kind = _kind(value)
        if kind is None:
            wrong.append(f"the weight {name} is {in_words(value)}, expected an array")
        elif not ("float" in kind or "complex" in kind):
            wrong.append(f"the weight {name} holds {kind}, expected floating-point numbers")
    return wrong


def _wrong_data(data: Sequence[Any]) -> list[str]:
    wrong = [
        f"data[{place}] is {in_words(leaf)}, expected an array of numbers"
        for place, leaf in enumerate(data)
        if _kind(leaf) is None
    ]
    if wrong:
        return wrong
    leading = [np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in data]
    if not leading or None in leading or len(set(leading)) > 1:
        return [f"data has leading axes {leading}, expected the same number of examples in every array"]
    return ["data has no examples"] if leading[0] == 0 else []


def _kind(value: Any) -> str | None:
    """The name of the dtype of an array of numbers, of any framework; None for anything else."""
    if not hasattr(value, "dtype"):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError):
            return None
    name = str(value.dtype).removeprefix("torch.")
    return name if any(kind in name for kind in ("float", "int", "bool", "complex")) else None


def _require_memory(weights: Mapping[str, Any], examples: int, epochs: int, batch_size: int) -> None:
    """Refuse a run whose result cannot be held: each step keeps its loss, predictions and order."""
    steps = epochs * -(-examples // batch_size)
    smallest = min(_item_size(value) for value in weights.values())
    # A prediction is one number an example at least, the order four bytes.
    require_memory(
        f"epochs is {epochs}: the losses, predictions and order of {steps} steps",
        steps * (smallest + batch_size * (smallest + 4)),
    )


def _item_size(value: Any) -> int:
    return getattr(value.dtype, "itemsize", 4) if hasattr(value, "dtype") else 4
