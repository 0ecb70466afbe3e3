"""Check the arguments of ``fit`` for both backends, and make a plan from them."""

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import in_words, wrong_switches
from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole
from lstm_shared.memory import require_memory
from lstm_shared.training.plan import TrainingPlan
from lstm_shared.training.run_identity import describe_run


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
        weights: name -> array, the weights that the run starts from.
        data: arrays with a common leading axis, one entry per example.
        backend: "jax" or "torch".
        epochs: total passes over the data, including those before a resume.
        batch_size: examples per step; the last batch of an epoch may be smaller.
        shuffle_seed: None to keep the given order, or the seed for a new order in each epoch.
        checkpoint_dir: directory for checkpoints, or None for no checkpoints.
        checkpoint_every: epochs between checkpoints; a tenth of the run by default. One is always written at the end.
        resume: whether to continue from the newest checkpoint in checkpoint_dir, or start if there is none.

    Raises:
        InputError: arguments are wrong. The message lists everything that is.
    """
    problems = _wrong_weights(weights) + _wrong_data(data)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("checkpoint_every", checkpoint_every)):
        if not is_whole(value) and not (name == "checkpoint_every" and value is None):
            problems.append(f"{name} is {in_words(value)}, expected a positive whole number")
    if shuffle_seed is not None and not is_whole(shuffle_seed, at_least=0):
        problems.append(f"shuffle_seed is {in_words(shuffle_seed)}, expected None or a whole number, 0 or larger")
    problems += wrong_switches(resume=resume)
    if checkpoint_dir is None:
        if resume:
            problems.append("resume needs a checkpoint_dir to continue from")
        if checkpoint_every is not None:
            problems.append("checkpoint_every needs a checkpoint_dir to write to")
    elif not _is_path(checkpoint_dir):
        problems.append(f"checkpoint_dir is {in_words(checkpoint_dir)}, expected a path")
    elif os.path.lexists(checkpoint_dir) and not os.path.isdir(checkpoint_dir):
        problems.append(f"{checkpoint_dir}: not a directory, checkpoints need one")
    InputError.raise_any(problems)
    # NumPy integers can overflow, and JSON cannot hold them.
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


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and "\0" not in os.fspath(value)  # pyright: ignore[reportUnknownArgumentType]


def _wrong_weights(weights: Mapping[str, Any]) -> list[str]:
    if not weights:
        return ["there are no weights to train"]
    wrong: list[str] = []
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
    if not leading:
        return ["data has no arrays"]
    if None in leading or len(set(leading)) > 1:
        counts = ", ".join("a single number" if count is None else str(count) for count in leading)
        return [f"the arrays of data have these numbers of examples: {counts}; expected the same number in each"]
    return ["data has no examples"] if leading[0] == 0 else []


def _kind(value: Any) -> str | None:
    """Return the dtype name of an array of numbers, of any framework; None for anything else."""
    if not hasattr(value, "dtype"):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError):
            return None
    name = str(value.dtype).removeprefix("torch.")
    return name if any(kind in name for kind in ("float", "int", "bool", "complex")) else None


def _require_memory(weights: Mapping[str, Any], examples: int, epochs: int, batch_size: int) -> None:
    """Refuse a run whose result does not fit into memory: each step keeps its loss, predictions and order."""
    steps = epochs * -(-examples // batch_size)
    smallest = min(_item_size(value) for value in weights.values())
    # For each example a step keeps a prediction of at least one number, and four bytes for its place in the order.
    require_memory(
        f"epochs is {epochs}: the losses, predictions and order of {steps} steps",
        steps * (smallest + batch_size * (smallest + 4)),
    )


def _item_size(value: Any) -> int:
    return getattr(value.dtype, "itemsize", 4) if hasattr(value, "dtype") else 4
