"""Plots: training curves of both backends, gates and memories, held-out prices, errors over time."""

import io
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import DAILY, AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_shared.errors import InputError
from lstm_shared.printable import printable
from lstm_shared.safe_writing import write_file
from lstm_shared.traces import ByHandTrace
from lstm_shared.training.plan import FitResult

KINDS = (".png", ".svg", ".pdf")

# The price, the model's prediction, and a prediction that needs no model.
_PRICE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "0.25", "linewidth": 1.8},
    {"color": "tab:blue", "linewidth": 1.8},
    {"color": "tab:orange", "linewidth": 1.2, "linestyle": (0, (4, 2))},
)
# One backend, or both. Both curves coincide, so the second is thinner and dashed, and the first remains visible.
_ALONE: tuple[dict[str, Any], ...] = ({"linewidth": 1.8},)
_BOTH: tuple[dict[str, Any], ...] = (
    {"linewidth": 3.0, "alpha": 0.45},
    {"linewidth": 1.2, "linestyle": (0, (4, 3))},
)
# Hollow markers of different shapes, so that nearly equal values do not hide each other.
_MARKERS: tuple[dict[str, Any], ...] = tuple(
    {"marker": marker, "markersize": size, "fillstyle": "none", "markeredgewidth": 1.5}
    for marker, size in (("o", 10), ("s", 7), ("D", 4))
)


def require_plot_name(path: str | os.PathLike[str]) -> None:
    """Raise an InputError unless the file name ends like that of a plot."""
    if Path(path).suffix.lower() not in KINDS:
        raise InputError(f"{path}: the name of a plot must end in one of {', '.join(KINDS)}")


def training_curves(results: Mapping[str, FitResult], labels: np.ndarray) -> Figure:
    """Plot the three curves of the published run: the loss, and the predictions for label 0 and for label 1.

    Args:
        results: backend -> its run.
        labels: (examples,) the label of each example, 0 or 1.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, *others = figure.subplots(1, 3)
    _plot_loss(left, results)
    for label, axes in enumerate(others):
        for style, (name, result) in zip(_styles(results), results.items(), strict=False):
            chosen = (result.examples >= 0) & (labels[result.examples] == label)
            predictions = result.predictions.reshape(result.examples.shape)
            axes.plot(np.nonzero(chosen)[0] + 1, predictions[chosen], label=name, **style)
        axes.axhline(label, color="0.7", linewidth=0.8, zorder=0)
        _dress(axes, f"out_{label}", "optimizer step", f"prediction (label {label})")
    return figure


def gates_and_memories(trace: ByHandTrace, prices: np.ndarray) -> Figure:
    """Plot the gates in percent, and the price with both memories, over the days of one series."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    days = np.arange(1, len(prices) + 1)
    for name, marker in zip(
        ("long_remember_percent", "potential_remember_percent", "output_percent"), _MARKERS, strict=True
    ):
        left.plot(days, 100 * getattr(trace, name), **marker, label=name)
    _dress(left, "gates", "day", "percent")
    left.set_ylim(-5, 105)
    right.plot(days, prices, marker="+", markersize=13, color="0.4", label="price")
    for name, marker in zip(("potential_memory", "long_memory", "short_memory"), _MARKERS, strict=True):
        right.plot(days, getattr(trace, name), **marker, label=name)
    _dress(right, "memories", "day", "value")
    for axes in (left, right):
        axes.set_xticks(days if len(days) <= 12 else axes.get_xticks())
        axes.set_xlim(0.8, len(days) + 0.2)
    return figure


def held_out_prices(
    results: Mapping[str, FitResult],
    dates: np.ndarray,
    curves: Mapping[str, np.ndarray],
    reach: tuple[float, float] | None,
    unit: str,
) -> Figure:
    """Plot the loss of a run on real prices, and the held-out prices with the predictions for the same days.

    Args:
        results: backend -> its run.
        dates: (days,) the held-out days.
        curves: name -> (days,) prices in their unit: the true ones, the model's, and those of a prediction that needs
            no model, in this order.
        reach: the lowest and the highest price that the model's output can approach, or None if it has no bounds. A
            bound is drawn if it lies within view.
        unit: name of the unit of the prices.
    """
    figure = Figure(figsize=(11, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _plot_loss(left, results)
    for style, (name, prices) in zip(_PRICE_STYLES, curves.items(), strict=True):
        right.plot(dates, prices, label=name, **style)
    low, high = right.get_ylim()
    for word, bound in zip(("lowest", "highest"), reach or (), strict=False):
        if low < bound < high:
            label = f"{word} price the model can predict"
            right.axhline(bound, color="firebrick", linewidth=1.2, linestyle=":", label=label)
    ticks = AutoDateLocator(minticks=3, maxticks={DAILY: 8})  # with more, the 29th and the 1st collide
    right.xaxis.set_major_locator(ticks)
    right.xaxis.set_major_formatter(ConciseDateFormatter(ticks))
    right.tick_params("x", labelsize="small")
    _dress(right, "held-out days", "", unit)
    # Below the axes: inside them, the legend would hide a bound.
    right.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    return figure


def error_picture(errors: Mapping[str, np.ndarray], tolerance: float, title: str) -> Figure:
    """Plot the largest difference at each step: one line per gate and state, and one for the tolerance.

    Args:
        errors: name -> (time,) largest difference.
        tolerance: the largest difference allowed.
        title: what was compared.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    floor = tolerance * 1e-4  # exact agreement lies on this line, as a log scale has no 0
    for marker, (name, error) in zip(itertools.cycle("osD^vP"), errors.items(), strict=False):
        steps, shown = np.arange(len(error)), np.maximum(error, floor)
        axes.plot(steps, shown, marker=marker, fillstyle="none", markersize=5, linewidth=1.0, label=name)
    axes.axhline(tolerance, color="firebrick", linewidth=1.2, linestyle="--", label="tolerance")
    axes.set_yscale("log")
    _dress(axes, f"largest difference at each step: {title}", "step", "difference")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure to a file, whole or not at all. The file name says which kind."""
    write_file(path, figure_bytes(figure, Path(path).suffix[1:].lower()))


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return the figure as the bytes of a "png", "svg" or "pdf" file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def _styles(results: Mapping[str, FitResult]) -> tuple[dict[str, Any], ...]:
    return _BOTH if len(results) > 1 else _ALONE


def _plot_loss(axes: Axes, results: Mapping[str, FitResult]) -> None:
    for style, (name, result) in zip(_styles(results), results.items(), strict=False):
        # The loss jumps between examples; the mean over an epoch shows the descent.
        by_epoch = result.losses.reshape(result.epochs, -1)
        axes.plot(by_epoch.shape[1] * np.arange(1, result.epochs + 1), by_epoch.mean(axis=1), label=name, **style)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    _dress(axes, "train_loss, mean of each epoch", "optimizer step", "squared residual")
    axes.set_yscale("log")


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    for put, text in ((axes.set_title, title), (axes.set_xlabel, x), (axes.set_ylabel, y)):
        put(printable(text), parse_math=False)  # a price column may be called "$\\price$"
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
