"""A run of ``torch_lstm.fit`` as a Lightning callback: what it keeps of each step, and when it writes checkpoints."""

import time
from collections.abc import Callable
from typing import Any, Self

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from lstm_shared.argument_kinds import in_words
from lstm_shared.errors import InputError
from lstm_shared.tensors import to_array
from lstm_shared.training.checkpoint_directory import CheckpointDirectory
from lstm_shared.training.checkpoint_file import Checkpoint
from lstm_shared.training.plan import TrainingPlan
from lstm_shared.training.run_identity import digest_of_weights
from torch_lstm import checkpoints
from torch_lstm.logs import first_file

# About this often, a run with checkpoints keeps a copy of its state in memory, at the end of an epoch. So a signal
# loses no more than that. For the by-hand model the copy takes 1 ms, and an epoch of two steps 5 ms.
_KEEP_SECONDS = 0.5


class TrainingRun(L.Callback):
    """The callback of a run: it keeps losses and predictions, writes checkpoints, and drives the progress bar.

    As a context manager it holds the checkpoint directory.
    """

    def __init__(self, plan: TrainingPlan, module: L.LightningModule, optimizer: Callable[..., Any] | None):
        self.plan = plan
        self.module = module
        self._optimizer = optimizer
        self.io = checkpoints.InMemory()
        self.place = str(plan.checkpoint_dir)
        self.first = 0
        self.notes: list[str] = []
        self.seconds = 0.0
        self.show: Callable[[int], None] = lambda done: None
        self.logger: TensorBoardLogger | None = None
        self.log_file: str | None = None  # the first log file of the run that this one resumes
        self._began = 0.0
        self._losses: list[torch.Tensor] = []
        self._predictions: list[torch.Tensor] = []
        self._directory = CheckpointDirectory(plan.checkpoint_dir) if plan.checkpoint_dir else None
        self._about = plan.run
        self._before: Checkpoint | None = None  # the checkpoint that the run continues from
        self._kept: tuple[int, bytes] | None = None  # (epochs done, Lightning's bytes) of the last epoch that was kept
        self._kept_at = 0.0
        self._saved = 0

    def __enter__(self) -> Self:
        if self._directory is not None:
            self._directory.__enter__()
            try:
                self._begin(self._directory)
            except BaseException:
                self._directory.__exit__(None, None, None)
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._directory is None:
            return
        try:
            if error is not None and self._kept is not None and not isinstance(error, OSError):
                epoch, content = self._kept
                self._start = checkpoints.read(content, self.place)["state_dict"]
                self._save()
                error.add_note(f"{self.place}: saved up to epoch {epoch}; continue with resume=True")
        finally:
            if error is not None:  # restore the module, so that the run can go on with it
                self.module.load_state_dict(self._start)
            self._directory.__exit__(None, None, None)

    def _begin(self, directory: CheckpointDirectory) -> None:
        """Find out where the run begins, or raise an InputError if it cannot begin."""
        self._about = self.plan.run | checkpoints.describe_module(self.module)
        self._start = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        if not self.plan.resume:
            directory.require_fresh()
        self._before = directory.newest()
        if self._before is None:
            return
        self.notes += directory.notes
        try:
            content = self._before.arrays["lightning"].tobytes()
            _ = self._before.arrays["losses"], self._before.arrays["predictions"]
        except KeyError:
            # The checkpoint is of the other backend, as the comparison below will say.
            content = None
        about = self._about
        if self._optimizer is not None:
            about = about | checkpoints.describe_optimizers([self._optimizer(self.module.parameters())])
        saved = None if content is None else checkpoints.read(content, self.place)
        weights = {} if saved is None else weights_of(saved["state_dict"])
        self.notes += self.plan.require_same_run(self._before, about, go_on_from=digest_of_weights(weights))
        if saved is None:
            raise InputError(f"{self.place}: the checkpoint lacks the part that Lightning saves")
        self.log_file = saved["callbacks"][self.state_key].get("log_file")
        self.first = self._saved = self._before.epoch
        self.io.content = content

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._directory is None:
            return
        # This cannot be done earlier, because an optimizer may depend on the trainer, nor later, because the optimizer
        # then has the checkpoint's settings.
        self._about = self._about | checkpoints.describe_optimizers(
            trainer.optimizers, [config.scheduler for config in trainer.lr_scheduler_configs]
        )
        if self._before is not None:
            self.plan.require_same_run(self._before, self._about | {"start_digest": self._before.run["start_digest"]})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._before is not None and self.io.content is not None:
            states = checkpoints.read(self.io.content, self.place)["callbacks"][self.state_key]
            checkpoints.set_random_state(states, pl_module.device)
        self._began = self._kept_at = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._began

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        _require_contract(outputs, len(batch[0]))
        predictions = outputs["predictions"].detach()
        if missing := self.plan.batch_size - len(predictions):
            predictions = torch.cat([predictions, predictions.new_full((missing, *predictions.shape[1:]), torch.nan)])
        self._losses.append(outputs["loss"].detach())
        self._predictions.append(predictions)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if self._directory is not None:
            self._keep(trainer, epoch)
        self.show(epoch)

    def _keep(self, trainer: L.Trainer, epoch: int) -> None:
        """Keep this epoch in memory if it is time to do so, and write it if a checkpoint is due."""
        due = self.plan.checkpoint_due(epoch)
        if due or self._kept is None or time.perf_counter() - self._kept_at > _KEEP_SECONDS:
            trainer.save_checkpoint(self.place)
            assert self.io.content is not None
            if self._kept is None:
                checkpoints.read(self.io.content, self.place)  # if it cannot be read, fail now and not later
            self._kept = epoch, self.io.content
            self._kept_at = time.perf_counter()
        if due:
            self._save()

    @property
    def state_key(self) -> str:
        return "lstm-parity random state"

    def state_dict(self) -> dict[str, Any]:
        log_file = self.log_file if self.logger is None else first_file(self.logger)
        return {**checkpoints.random_state(self.module.device), "log_file": log_file}

    def history(self, epoch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (losses (steps,), predictions (steps, batch, …)) of all epochs, or of those up to ``epoch``."""
        steps = None if epoch is None else (epoch - self.first) * self.plan.steps_per_epoch
        new = [to_array(torch.stack(kept[:steps])) for kept in (self._losses, self._predictions) if kept[:steps]]
        before = [] if self._before is None else [self._before.arrays[name] for name in ("losses", "predictions")]
        if not before or not new:
            losses, predictions = new or before
        else:
            losses, predictions = (np.concatenate(pair) for pair in zip(before, new, strict=True))
        return losses, predictions

    def _save(self) -> None:
        """Write the last epoch that was kept, unless it is already written."""
        assert self._directory is not None
        assert self._kept is not None
        epoch, content = self._kept
        if epoch <= self._saved:
            return
        losses, predictions = self.history(epoch)
        arrays = {"losses": losses, "predictions": predictions, "lightning": checkpoints.as_array(content)}
        self._directory.save(Checkpoint(epoch, self._about, arrays))
        self._saved = epoch


def weights_of(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return the weights in a module's state as NumPy arrays, without integers such as counters."""
    return {name: to_array(value) for name, value in state.items() if value.is_floating_point()}


def _require_contract(outputs: Any, examples: int) -> None:
    contract = 'expected training_step to return {"loss": …, "predictions": …}'
    if not isinstance(outputs, dict) or not isinstance(outputs.get("predictions"), torch.Tensor):
        found = f"a dictionary of {', '.join(map(str, outputs)) or 'nothing'}" if isinstance(outputs, dict) else None
        raise InputError(f"training_step returned {found or in_words(outputs)}, {contract}")
    if outputs["predictions"].shape[:1] != (examples,):
        shape = tuple(outputs["predictions"].shape)
        raise InputError(f"the predictions have shape {shape}, expected a first axis of {examples}: {contract}")
