"""Pictures: training curves of both backends over each other, gates and memories over the days."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_shared.errors import InputError
from lstm_shared.printable import printable
from lstm_shared.safe_writing import write_file
from lstm_shared.traces import ByHandTrace
from lstm_shared.training.plan import FitResult

KINDS = (".png", ".svg", ".pdf")

# Both backends lie on top of each other: the second is drawn thinner and broken, so that both are seen.
_STYLES: tuple[dict[str, Any], ...] = (
    {"linewidth": 3.0, "alpha": 0.45},
    {"linewidth": 1.2, "linestyle": (0, (4, 3))},
)


def require_plot_name(path: str | os.PathLike[str]) -> None:
    """Raise an InputError unless the file name is that of a picture."""
    if Path(path).suffix.lower() not in KINDS:
        raise InputError(f"{path}: the name of a plot must end in one of {', '.join(KINDS)}")


def training_curves(results: Mapping[str, FitResult], labels: np.ndarray) -> Figure:
    """The published run's three curves: the loss, and the predictions for label 0 and for label 1, step by step.

    Args:
        results: name of the backend -> its run.
        labels: (examples,) the labels of the examples, 0 or 1.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, *others = figure.subplots(1, 3)
    _plot_loss(left, results)
    for label, axes in enumerate(others):
        for style, (name, result) in zip(_STYLES, results.items(), strict=False):
            chosen = (result.examples >= 0) & (labels[result.examples] == label)
            predictions = result.predictions.reshape(result.examples.shape)
            axes.plot(np.nonzero(chosen)[0] + 1, predictions[chosen], label=name, **style)
        axes.axhline(label, color="0.7", linewidth=0.8, zorder=0)
        _dress(axes, f"out_{label}", "optimizer step", f"prediction (label {label})")
    return figure


def gates_and_memories(trace: ByHandTrace, prices: np.ndarray) -> Figure:
    """The gates as percentages, and the price with both memories, over the days of one series."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    days = np.arange(1, len(prices) + 1)
    for name in ("long_remember_percent", "potential_remember_percent", "output_percent"):
        left.plot(days, 100 * getattr(trace, name), marker="o", label=name)
    _dress(left, "gates", "day", "percent")
    left.set_ylim(-3, 103)
    right.plot(days, prices, marker=".", color="0.6", label="price")
    for name in ("potential_memory", "long_memory", "short_memory"):
        right.plot(days, getattr(trace, name), marker="o", label=name)
    _dress(right, "memories", "day", "value")
    for axes in (left, right):
        axes.set_xticks(days if len(days) <= 12 else axes.get_xticks())
        axes.set_xlim(0.8, len(days) + 0.2)
    return figure


def held_out_prices(
    name: str, result: FitResult, dates: np.ndarray, actual: np.ndarray, predicted: np.ndarray, unit: str
) -> Figure:
    """The loss of a run on real prices, and the held-out prices beside its predictions for the same days."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _plot_loss(left, {name: result})
    right.plot(dates, actual, color="0.4", label="price")
    right.plot(dates, predicted, label="prediction, made one step before")
    _dress(right, "held-out days", "", unit)
    right.tick_params("x", rotation=30)
    return figure


def error_picture(errors: Mapping[str, np.ndarray], tolerance: float, title: str) -> Figure:
    """The largest difference at each step, a line for each gate and state, with the tolerance as a line above.

    Args:
        errors: name -> (time,).
        tolerance: what is allowed.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    floor = tolerance * 1e-4  # a log scale has no place for 0: exact agreement lies on this line
    for name, error in errors.items():
        axes.plot(np.arange(len(error)), np.maximum(error, floor), marker="o", markersize=3, label=name)
    axes.axhline(tolerance, color="firebrick", linewidth=1.2, linestyle="--", label="tolerance")
    axes.set_yscale("log")
    _dress(axes, f"largest difference at each step: {title}", "step", "difference")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the picture whole or not at all; its kind follows from the file name."""
    write_file(path, figure_bytes(figure, Path(path).suffix[1:].lower()))


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """The picture as a file of this kind: "png", "svg" or "pdf"."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def _plot_loss(axes: Axes, results: Mapping[str, FitResult]) -> None:
    for style, (name, result) in zip(_STYLES, results.items(), strict=False):
        # steps of one example jump from one to the next; the mean of an epoch shows the descent
        by_epoch = result.losses.reshape(result.epochs, -1)
        axes.plot(by_epoch.shape[1] * np.arange(1, result.epochs + 1), by_epoch.mean(axis=1), label=name, **style)
    _dress(axes, "train_loss, mean of each epoch", "optimizer step", "squared residual")
    axes.set_yscale("log")


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    for put, text in ((axes.set_title, title), (axes.set_xlabel, x), (axes.set_ylabel, y)):
        put(printable(text), parse_math=False)  # a column of prices may be called "$\\price$"
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
