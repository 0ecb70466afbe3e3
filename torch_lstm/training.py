"""Training in PyTorch: the Lightning Trainer, with the same arguments and the same result as ``jax_lstm.fit``."""

import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

from lstm_shared.progress import progress_bar
from lstm_shared.tensors import to_array, to_tensor
from lstm_shared.training import FitResult, TrainingPlan, plan_training

# What Lightning says about set-ups that are chosen on purpose here; everything else is shown as usual.
_EXPECTED_WARNINGS = (
    "The '.*dataloader' does not have many workers",
    "The number of training batches",
    "Trying to infer the `batch_size`",
    "Checkpoint directory .* exists",
    ".*LeafSpec.* is deprecated",
)


def fit(
    module: L.LightningModule,
    data: Any,
    *,
    epochs: int,
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer] | None = None,
    batch_size: int = 1,
    shuffle_seed: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = False,
    log_dir: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Train a Lightning module in place, where it is (its device and dtype).

    Args:
        module: its ``training_step`` returns ``{"loss": …, "predictions": …}``, as that of ``LSTMByHand``.
        data: a tuple of arrays with a common leading axis, one entry an example; floating-point arrays are cast to
            the module's dtype. A batch is a tuple of tensors.
        epochs: passes over the data in all, those before a resume included.
        optimizer: makes the optimizer from the parameters, e.g. ``functools.partial(torch.optim.SGD, lr=0.1)``; the
            module's own (``configure_optimizers``) when left out.
        batch_size, shuffle_seed, checkpoint_dir, checkpoint_every, resume, progress: as in ``jax_lstm.fit``, with the
            same order of batches; the checkpoints are Lightning's.
        log_dir: where TensorBoard logs go (what the module logs, every step); none by default.

    Returns:
        FitResult with NumPy arrays: the same fields as ``jax_lstm.fit``.

    Raises:
        InputError: everything that is wrong with the arguments, or a checkpoint of another run.
    """
    data = tuple(data)
    plan = plan_training(
        {name: to_array(value) for name, value in module.state_dict().items()},
        data,
        epochs=epochs,
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        checkpoint_dir=checkpoint_dir,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    newest = _newest_checkpoint(plan)
    plan.require_fresh(None if newest is None else newest[0])
    history = _History(plan)
    if newest is not None:
        content = torch.load(newest[1], map_location="cpu", weights_only=True)
        saved = content["callbacks"].get(history.state_key, {"fingerprint": None})
        plan.require_same_run(saved["fingerprint"], newest[0])
    weight = next(module.parameters())
    tensors = [to_tensor(leaf) for leaf in data]
    tensors = [leaf.to(weight.dtype) if leaf.is_floating_point() else leaf for leaf in tensors]
    own_optimizers = module.configure_optimizers
    if optimizer is not None:
        module.configure_optimizers = lambda: optimizer(module.parameters())  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with (
            _quiet(),
            progress_bar(
                "training in PyTorch Lightning", plan.epochs, done=newest[0] if newest else 0, enabled=progress
            ) as show,
        ):
            history.show = show
            trainer = L.Trainer(
                accelerator={"cuda": "gpu"}.get(weight.device.type, weight.device.type),
                devices=1,
                max_epochs=plan.epochs,
                callbacks=[history],
                logger=TensorBoardLogger(os.fspath(log_dir), name="", version="") if log_dir else False,
                log_every_n_steps=1,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            loader = DataLoader(TensorDataset(*tensors), batch_sampler=_Batches(plan))
            trainer.fit(module, loader, ckpt_path=newest[1] if newest else None, weights_only=True)
    finally:
        if optimizer is not None:
            module.configure_optimizers = own_optimizers
    return FitResult(
        weights={name: to_array(value) for name, value in module.state_dict().items()},
        losses=history.losses(),
        predictions=history.predictions(),
        examples=plan.order(0, plan.epochs).reshape(-1, plan.batch_size),
        steps=plan.epochs * plan.steps_per_epoch,
        epochs=plan.epochs,
        resumed_from=newest[0] if newest else 0,
        seconds=history.seconds,
    )


class _Batches:
    """The plan's batches as a batch sampler; Lightning tells it the epoch, also after a resume."""

    def __init__(self, plan: TrainingPlan):
        self._plan = plan
        self._epoch = 0
        self.sampler = self  # Lightning calls set_epoch on a batch sampler's sampler, not on the batch sampler

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._plan.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self._plan.epoch_order(self._epoch):
            yield rows[rows >= 0].tolist()


class _History(L.Callback):
    """Keeps losses and predictions, writes the checkpoints, and drives the progress bar."""

    def __init__(self, plan: TrainingPlan):
        self._plan = plan
        self._losses: list[torch.Tensor] = []
        self._predictions: list[torch.Tensor] = []
        self._began = 0.0
        self.seconds = 0.0
        self.show: Callable[[int], None] = lambda done: None

    @property
    def state_key(self) -> str:
        return "lstm-parity history"

    def state_dict(self) -> dict[str, Any]:
        return {
            "fingerprint": self._plan.fingerprint,
            "losses": torch.stack(self._losses),
            "predictions": torch.stack(self._predictions),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._losses = list(state_dict["losses"])
        self._predictions = list(state_dict["predictions"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._began

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        predictions = outputs["predictions"].detach()
        if missing := self._plan.batch_size - len(predictions):
            predictions = torch.cat([predictions, predictions.new_full((missing, *predictions.shape[1:]), torch.nan)])
        self._losses.append(outputs["loss"].detach())
        self._predictions.append(predictions)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        self.show(epoch)
        if self._plan.checkpoint_due(epoch):
            trainer.save_checkpoint(_checkpoint_path(self._plan, epoch))

    def losses(self) -> np.ndarray:
        return to_array(torch.stack(self._losses))

    def predictions(self) -> np.ndarray:
        return to_array(torch.stack(self._predictions))


def _checkpoint_path(plan: TrainingPlan, epoch: int) -> str:
    assert plan.checkpoint_dir is not None
    return str(plan.checkpoint_dir / f"epoch-{epoch}.ckpt")


def _newest_checkpoint(plan: TrainingPlan) -> tuple[int, str] | None:
    if plan.checkpoint_dir is None or not plan.checkpoint_dir.is_dir():
        return None
    epochs = [
        int(m[1]) for file in plan.checkpoint_dir.iterdir() if (m := re.fullmatch(r"epoch-(\d+)\.ckpt", file.name))
    ]
    return (max(epochs), _checkpoint_path(plan, max(epochs))) if epochs else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remarks on hardware, logging and loaders, none of which is news to the caller."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)
