"""Pictures of a record: how many times as fast as torch each contender is, and how it scales."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lstm_parity.bench.cases import MODES, curve
from lstm_parity.bench.contenders.registry import CONTENDERS, OURS, REFERENCE
from lstm_parity.bench.record.measurements import Measurement
from lstm_parity.bench.record.record import Record
from lstm_parity.bench.record.summary import against_reference, as_times

# A colour for each contender, the same in every picture; the related ones in one hue, ours the strongest.
_COLORS = {
    "torch": "#4d4d4d",
    "torch-cell": "#8c8c8c",
    "torch-compile": "#b8b8b8",
    "lightning": "#d9a441",
    "jax": "#c0392b",
    "jax-scan": "#e8998d",
    "jax-sync": "#a3301c",
    "jax-eager": "#f3cfc9",
    "jax-step": "#d9705f",
    "flax": "#1f77b4",
    "flax-nnx": "#74b3dd",
    "haiku": "#2a9d62",
    "equinox": "#8e63b5",
    "keras": "#17a2a2",
}
_OTHER = "#999999"
_NOT_DRAWN = (REFERENCE, "jax-eager")
_BAR = 0.16  # inches
_AXES = {"T": "steps", "B": "batch", "H": "hidden size"}


def ratio_bars(record: Record) -> Figure | None:
    """Horizontal bars by case and contender, a column for each mode; torch eager is the line at 1.

    None without any case that torch was timed on, scaling curves apart. Without jit, JAX is a hundred times slower and
    would press the others together: the tables have it, the picture has not.
    """
    ratios = _ratios(record)
    modes = [mode for mode in MODES if any(found == mode for found, _ in ratios)]
    cases = [name for name in record.cases if any(case == name for _, case in ratios)]
    if not modes:
        return None
    heights = [max(len(ratios.get((mode, case), {})) for mode in modes) for case in cases]
    inches = _BAR * (sum(heights) + 1.2 * len(cases)) + 1.5
    figure = Figure(figsize=(2.2 + 4.2 * len(modes), max(2.6, inches)), layout="constrained")
    columns = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    # the place of each case's first bar, from the top
    places = np.concatenate([[0.0], np.cumsum(np.array(heights) + 1.2)])[:-1]
    for axes, mode in zip(columns, modes, strict=True):
        for case, place in zip(cases, places, strict=True):
            _draw_case(axes, ratios.get((mode, case), {}), place)
        axes.axvline(1, color=_COLORS[REFERENCE], linewidth=1)
        axes.set_xscale("log")
        left, right = axes.get_xlim()
        axes.set_xlim(left / (right / left) ** 0.12, right * (right / left) ** 0.12)  # room for the numbers
        _plain_numbers(axes.xaxis)
        axes.set_title(mode)
        axes.set_xlabel("times as fast as torch eager")
        _dress(axes)
        axes.tick_params("y", length=0)
    columns[0].set_yticks(places + (np.array(heights) - 1) / 2, cases)
    columns[0].set_ylim(places[-1] + heights[-1], -1)
    shown = [name for name in CONTENDERS if any(name in group for group in ratios.values())]
    handles = [columns[0].barh([0], [1], height=0, color=_COLORS.get(name, _OTHER)) for name in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=min(len(shown), 7), frameon=False)
    return figure


def scaling_curves(record: Record) -> Figure | None:
    """Microseconds a step over T, B and H, a row for each mode; None without scaling curves in the record."""
    groups = record.groups()
    lines = {
        (mode, axis): _line(groups, mode, axis)
        for mode in MODES
        for axis in _AXES
        if any(case.curve == axis for case in record.cases.values())
    }
    lines = {place: found for place, found in lines.items() if found}
    modes, axes_shown = (list(dict.fromkeys(part)) for part in zip(*lines, strict=True)) if lines else ([], [])
    if not lines:
        return None
    size = (3.8 * len(axes_shown) + 0.6, 3.1 * len(modes) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(modes), len(axes_shown), squeeze=False)
    for row, mode in zip(grid, modes, strict=True):
        for axes, axis in zip(row, axes_shown, strict=True):
            for name, points in lines.get((mode, axis), {}).items():
                values = list(points.values())
                middle, low, high = (np.array([1e6 * part for part in column]) for column in zip(*values, strict=True))
                width = 2.2 if name == OURS else 1.3
                axes.plot(
                    list(points),
                    middle,
                    marker="o",
                    markersize=3,
                    linewidth=width,
                    color=_COLORS.get(name, _OTHER),
                    label=name,
                )
                axes.fill_between(list(points), low, high, color=_COLORS.get(name, _OTHER), alpha=0.15, linewidth=0)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            ticks = list(curve(axis))
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            _plain_numbers(axes.yaxis)
            axes.set_title(mode)
            axes.set_xlabel(_AXES[axis])
            axes.set_ylabel("µs a step")
            _dress(axes)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _ratios(record: Record) -> dict[tuple[str, str], dict[str, tuple[float, float, float]]]:
    """(mode, case) -> contender -> (median, lowest, highest) times as fast as torch; scaling points apart."""
    found: dict[tuple[str, str], dict[str, tuple[float, float, float]]] = {}
    if _only_curves(record):
        return found
    for (case, mode), group in record.groups().items():
        if record.cases[case].curve:
            continue
        for name in CONTENDERS:
            ratio = against_reference(group[name], group) if name in group and name not in _NOT_DRAWN else None
            if ratio is not None:
                found.setdefault((mode, case), {})[name] = (ratio.median, ratio.lowest, ratio.highest)
    return found


def _only_curves(record: Record) -> bool:
    """Whether nothing was timed but points of scaling curves, among which the one that all of them share."""
    points = {name for axis in _AXES for name in curve(axis).values()}
    return set(record.cases) <= points and any(case.curve for case in record.cases.values())


def _draw_case(axes: Axes, group: Mapping[str, tuple[float, float, float]], place: float) -> None:
    for row, (name, (middle, low, high)) in enumerate(group.items()):
        y = place + row
        # from 1, so that slower goes left and faster right
        axes.barh(y, middle - 1, left=1, height=0.85, color=_COLORS.get(name, _OTHER))
        axes.plot([low, high], [y, y], color="0.15", linewidth=0.8)
        side = {"ha": "left", "xytext": (3, 0)} if middle >= 1 else {"ha": "right", "xytext": (-3, 0)}
        end = max(middle, high) if middle >= 1 else min(middle, low)
        axes.annotate(as_times(middle), (end, y), textcoords="offset points", va="center", fontsize=6, **side)


def _line(
    groups: Mapping[tuple[str, str], Mapping[str, Measurement]], mode: str, axis: str
) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Contender -> value of the axis -> seconds a step: median over the rounds, least and most."""
    lines: dict[str, dict[int, tuple[float, float, float]]] = {}
    for value, case in curve(axis).items():
        for name, one in groups.get((case, mode), {}).items():
            if one.rounds:
                points = lines.setdefault(name, {})
                points[value] = (float(np.median(one.a_step)), min(one.a_step), max(one.a_step))
    # h64 belongs to all curves; contenders that were timed there alone have no curve
    return {name: points for name, points in lines.items() if len(points) > 1}


def _plain_numbers(axis: Axis) -> None:
    """A log axis with as many ticks as its range has room for, written out."""
    low, high = axis.get_view_interval()
    fine = (1, 1.2, 1.4, 1.7, 2, 2.5, 3, 3.5) if high / low < 2 else (1, 1.5, 2, 3)
    digits = (1,) if high / low > 300 else (1, 2, 5) if high / low > 6 else (*fine, 4, 5, 6, 7, 8, 9)
    ticks = [digit * 10.0**power for power in range(-4, 8) for digit in digits]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _dress(axes: Axes) -> None:
    axes.grid(alpha=0.25, axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
