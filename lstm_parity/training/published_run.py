"""The published run: train both backends from the published initial weights, and compare with the published figures."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from lstm_parity.compare.rows import Row, compare
from lstm_parity.compare.tolerance import TRAJECTORY_FACTOR
from lstm_parity.training.backends import BACKENDS, Backend, predict, train
from lstm_shared.by_hand import (
    COMPANY_LABELS,
    COMPANY_PRICES,
    PUBLISHED_INIT,
    PUBLISHED_PREDICTIONS,
    PUBLISHED_TRAINED,
)
from lstm_shared.training.plan import FitResult

# The figures were computed in float64 and are printed to seven decimals. float32 reaches four: over 10,000 steps, its
# rounding moves the prediction by about 1e-6.
_HALF_A_DIGIT = {"float64": 0.5e-7, "float32": 0.5e-4}

QUICK_EPOCHS = 200  # 400 steps: enough for a wrong gradient to show, few enough to take about a minute


@dataclass(frozen=True)
class GoldenRun:
    """The results of the published run.

    Attributes:
        dtype: the precision of the training.
        stages: the epochs after which the predictions were taken. As published, the run is resumed from a checkpoint at
            each.
        predictions: backend -> stage -> (company A, company B).
        results: backend -> the run's FitResult, with its whole history.
        seconds: backend -> training seconds over all stages, without compilation.
        compile_seconds: backend -> seconds spent compiling.
    """

    dtype: str
    stages: tuple[int, ...]
    predictions: dict[Backend, dict[int, tuple[float, float]]]
    results: dict[Backend, FitResult]
    seconds: dict[Backend, float]
    compile_seconds: dict[Backend, float]

    def departures(self) -> list[str]:
        """Return a line for each published figure that a backend does not reach; empty if all are reached."""
        problems = []
        # a little more than half a digit, because the difference itself is rounded
        allowed = 1.01 * _HALF_A_DIGIT[self.dtype]
        for backend, by_stage in self.predictions.items():
            for stage, predictions in by_stage.items():
                for company, value, published in zip(
                    "AB", predictions, PUBLISHED_PREDICTIONS.get(stage, ()), strict=False
                ):
                    if not abs(value - published) <= allowed:
                        problems.append(
                            f"{backend}: company {company} after {stage} epochs: {value:.7f}, published {published:.7f}"
                        )
            if self.stages[-1] == max(PUBLISHED_PREDICTIONS):
                for name, published in PUBLISHED_TRAINED.items():
                    value = float(self.results[backend].weights[name])
                    if not abs(value - published) <= 0.5001e-2:
                        problems.append(f"{backend}: {name} is {value:.4f} at the end, published {published:.2f}")
        return problems

    def trajectory_rows(self) -> list[Row]:
        """Compare the two backends' losses and predictions over 400 steps, and their weights if the run ends there."""
        steps = 2 * QUICK_EPOCHS

        def curves(result: FitResult) -> dict[str, np.ndarray]:
            arrays = {"losses": result.losses[:steps], "predictions": result.predictions[:steps]}
            return arrays | (result.weights if result.steps == steps else {})

        jax, torch = (curves(self.results[backend]) for backend in BACKENDS)
        return compare(
            f"{steps} steps", jax, torch, dtype=self.dtype, sides=("jax", "torch"), allowed=TRAJECTORY_FACTOR
        )

    def table(self) -> Table:
        """Return the published figures and those of both backends as a rich table."""
        table = Table(header_style="bold", box=None, pad_edge=False)
        table.add_column("epochs", justify="right")
        table.add_column("company")
        table.add_column("published", justify="right")
        for backend in self.predictions:
            table.add_column(f"{backend}, {self.dtype}", justify="right")
        for stage in self.stages:
            for index, company in enumerate("AB"):
                published = PUBLISHED_PREDICTIONS.get(stage)
                table.add_row(
                    str(stage),
                    company,
                    "" if published is None else f"{published[index]:.7f}",
                    *(f"{by_stage[stage][index]:.7f}" for by_stage in self.predictions.values()),
                )
        return table


def golden_run(
    dtype: str = "float64",
    *,
    stages: Iterable[int] = tuple(PUBLISHED_PREDICTIONS),
    backends: tuple[Backend, ...] = BACKENDS,
    progress: bool = False,
) -> GoldenRun:
    """Train from the published initial weights as the article does: to each stage, then on from its checkpoint.

    Args:
        dtype: the precision to train in, "float64" or "float32".
        stages: the epochs after which predictions are taken.
        backends: the backends to train with.
        progress: show a progress bar.
    """
    stages = tuple(stages)
    initial = {name: np.asarray(value, dtype) for name, value in PUBLISHED_INIT.items()}
    prices = COMPANY_PRICES.astype(dtype)
    data = (prices, COMPANY_LABELS.astype(dtype))
    run = GoldenRun(dtype, stages, {}, {}, {}, {})
    for backend in backends:
        run.predictions[backend] = {0: _pair(predict(backend, initial, prices))}
        run.seconds[backend] = run.compile_seconds[backend] = 0.0
        with tempfile.TemporaryDirectory() as directory:
            for stage in stages:
                if stage == 0:
                    continue
                result = train(
                    backend,
                    initial,
                    data,
                    epochs=stage,
                    checkpoint_dir=Path(directory) / "checkpoints",
                    checkpoint_every=stage,
                    resume=True,
                    progress=progress,
                )
                run.results[backend] = result
                run.seconds[backend] += result.seconds
                run.compile_seconds[backend] += result.compile_seconds
                run.predictions[backend][stage] = _pair(predict(backend, result.weights, prices))
    return run


def _pair(predictions: np.ndarray) -> tuple[float, float]:
    return float(predictions[0]), float(predictions[1])
