"""Training in PyTorch: the Lightning Trainer, with the same arguments and the same result as ``jax_lstm.fit``."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

from lstm_shared.argument_kinds import in_words
from lstm_shared.errors import InputError
from lstm_shared.progress import progress_bar
from lstm_shared.tensors import to_array, to_tensor
from lstm_shared.training.arguments import plan_training
from lstm_shared.training.plan import FitResult, TrainingPlan
from torch_lstm.logs import open_logger
from torch_lstm.training_run import TrainingRun, weights_of

# Warnings of Lightning about choices that we make on purpose. All other warnings are shown.
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
    """Train a Lightning module in place, on its own device and in its own dtype.

    Signals are left to the caller. If something stops a run with checkpoints (KeyboardInterrupt, an error), the run
    writes a last checkpoint and raises it again. That checkpoint is of an epoch that ended at most about half a second
    earlier, and the module then has the weights of that epoch.

    Args:
        module: a module whose ``training_step`` returns ``{"loss": …, "predictions": …}``, like that of ``LSTMByHand``.
        data: a tuple of arrays with a common leading axis, one entry per example. Floating-point arrays are cast to
            the module's dtype. A batch is a tuple of tensors.
        epochs: total passes over the data, including those before a resume.
        optimizer: a function that makes the optimizer from the parameters, such as
            ``functools.partial(torch.optim.SGD, lr=0.1)``. The default is the module's own (``configure_optimizers``).
        batch_size, shuffle_seed, checkpoint_dir, checkpoint_every, resume, progress: as in ``jax_lstm.fit``, with the
            same order of batches. The checkpoints have the same format; they hold what Lightning saves, and the state
            of torch's random generators.
        log_dir: directory for TensorBoard logs. Each run writes what the module logs, every step, to a directory of
            its own in it: ``version_0``, ``version_1`` and so on. A resumed run continues in the directory it had.
            By default there are no logs.

    Returns:
        FitResult with NumPy arrays: the same fields as ``jax_lstm.fit``.

    Raises:
        InputError: arguments are wrong (the message lists everything), ``training_step`` returns something else, or
            the checkpoint is of another run.
        OSError: a checkpoint or the logs cannot be written. Earlier checkpoints are still there.
    """
    InputError.raise_any(_wrong_kinds(module, data, optimizer))
    tensors = [to_tensor(leaf) for leaf in data]
    plan = plan_training(
        weights_of(module.state_dict()),
        [to_array(leaf) for leaf in tensors],
        backend="torch",
        epochs=epochs,
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        checkpoint_dir=checkpoint_dir,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    dtype = next(module.parameters()).dtype
    tensors = [leaf.to(dtype) if leaf.is_floating_point() else leaf for leaf in tensors]
    own_optimizers = module.configure_optimizers
    if optimizer is not None:
        module.configure_optimizers = lambda: optimizer(module.parameters())  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with TrainingRun(plan, module, optimizer) as run:
            _train(run, tensors, progress, log_dir)
    finally:
        if optimizer is not None:
            module.configure_optimizers = own_optimizers
    losses, predictions = run.history()
    return FitResult(
        weights={name: to_array(value) for name, value in module.state_dict().items()},
        losses=losses,
        predictions=predictions,
        examples=plan.order(0, plan.epochs).reshape(-1, plan.batch_size),
        steps=plan.epochs * plan.steps_per_epoch,
        epochs=plan.epochs,
        resumed_from=run.first,
        seconds=run.seconds,
        notes=tuple(run.notes),
    )


def _wrong_kinds(module: Any, data: Any, optimizer: Any) -> list[str]:
    problems = []
    if not isinstance(module, L.LightningModule):
        problems.append(f"module is {in_words(module)}, expected a LightningModule")
    elif next(module.parameters(), None) is None:
        problems.append("module has no parameters to train")
    if not isinstance(data, tuple | list):
        problems.append(f"data is {in_words(data)}, expected a tuple of arrays")
    else:
        for place, leaf in enumerate(data):
            try:
                to_tensor(leaf)
            except (TypeError, ValueError):
                problems.append(f"data[{place}] is {in_words(leaf)}, expected an array of numbers")
    if optimizer is not None and not callable(optimizer):
        problems.append(f"optimizer is {in_words(optimizer)}, expected a function that makes one from the parameters")
    return problems


def _train(
    run: TrainingRun, tensors: list[torch.Tensor], progress: bool, log_dir: str | os.PathLike[str] | None
) -> None:
    plan, module = run.plan, run.module
    with (
        _quiet(),
        progress_bar("training in PyTorch Lightning", plan.epochs, done=run.first, enabled=progress) as show,
    ):
        run.show = show
        if log_dir:
            run.logger = open_logger(log_dir, run.log_file, first_step=run.first * plan.steps_per_epoch)
        device = next(module.parameters()).device
        trainer = L.Trainer(
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=1,
            max_epochs=plan.epochs,
            callbacks=[run],
            plugins=[run.io],
            logger=run.logger or False,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        # Give the loader a generator of its own, so that it does not advance the one that the module draws from.
        loader = DataLoader(TensorDataset(*tensors), batch_sampler=_Batches(plan), generator=torch.Generator())
        with _signals_as_they_were(trainer):
            trainer.fit(module, loader, ckpt_path=run.place if run.first else None, weights_only=True)


@contextmanager
def _signals_as_they_were(trainer: L.Trainer) -> Iterator[None]:
    """Leave signals to the caller. Lightning would turn SIGTERM into exit code 0, and SIGINT into exit code 1."""
    # Lightning has no switch for this.
    trainer._signal_connector.register_signal_handlers = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning has turned it into SystemExit
            raise error.__context__ from None
        raise
    finally:
        if in_main_thread:  # after the first SIGINT Lightning ignores it
            signal.signal(signal.SIGINT, handler)


class _Batches:
    """A batch sampler that yields the plan's batches. Lightning tells it the epoch, also after a resume."""

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


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's remarks on hardware, logging and loaders, which tell the caller nothing new."""
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
