"""Pictures of a record: how many times as fast as torch each contender is, and how it scales."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter
from matplotlib.transforms import blended_transform_factory

from lstm_parity.bench.cases import CASES, MODES, curve
from lstm_parity.bench.contenders.registry import CONTENDERS, OURS, REFERENCE
from lstm_parity.bench.record.drawing import STYLES, WIDTH, add_legend, add_title, marker, plain_numbers
from lstm_parity.bench.record.measurements import Measurement
from lstm_parity.bench.record.record import Record
from lstm_parity.bench.record.summary import Ratio, against_reference, as_times, strongest
from lstm_shared.printable import printable

_MOST_PANELS = 3
_NOT_DRAWN = (REFERENCE, "jax-eager")
_EDGE = {"markeredgecolor": "#222222", "markeredgewidth": 1.0}  # of the fastest other JAX library
# Ours is in the middle of its row. The others are above and below, so that equal ones do not hide each other.
_HEIGHTS = dict(zip(STYLES, (0, *(-0.34, 0.34, -0.2, 0.2) * 3), strict=True))

_AXES = {"T": "steps", "B": "batch", "H": "hidden size"}
_BASE = CASES["h64"]  # the point that all scaling curves share


class _Row(NamedTuple):
    """One case in one mode: how many times as fast as torch each contender is, and the fastest other JAX library."""

    ratios: dict[str, Ratio]
    best_peer: str


def ratio_bars(record: Record) -> Figure | None:
    """Draw a row for each case, with a marker for each contender on a scale of times as fast as torch.

    Each mode has a panel, but three is the most: the tables have whole training when the other three modes are there.
    They also have what would crowd the rows: our variants where ours is timed too, and JAX without jit, which is a
    hundred times slower. The numbers at the right of a panel are ours.

    Returns:
        None if no case has torch and another contender timed. The points of scaling curves do not count.
    """
    rows = _rows(record)
    modes = [mode for mode in MODES if any(found == mode for found, _ in rows)][:_MOST_PANELS]
    if not modes:
        return None
    cases = [name for name in record.cases if any((mode, name) in rows for mode in modes)]
    figure = Figure(figsize=(WIDTH, 0.34 * len(cases) + 2.3), layout="constrained")
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    for axes, mode in zip(panels, modes, strict=True):
        _draw_panel(axes, [rows.get((mode, case), _Row({}, "")) for case in cases])
        axes.set_title(mode, fontsize=11)
    panels[0].set_yticks(range(len(cases)), [printable(case) for case in cases], fontsize=10.5)
    for label in panels[0].get_yticklabels():
        label.set_parse_math(False)
    panels[0].set_ylim(len(cases) - 0.5, -0.5)
    add_title(figure, "How many times as fast as PyTorch (eager)", record, "lines")
    shown = [row for (mode, _), row in rows.items() if mode in modes]
    markers = {name: marker(name) for name in _names() if any(name in row.ratios for row in shown)}
    if any(row.best_peer for row in shown):
        markers["fastest other JAX library"] = marker("") | _EDGE | {"color": "white"}
    add_legend(figure, [Line2D([], [], linestyle="", **style) for style in markers.values()], list(markers))
    return figure


def scaling_curves(record: Record) -> Figure | None:
    """Draw microseconds per step over T, B and H, one row per mode; None without scaling curves in the record."""
    groups = record.groups()
    lines = {
        (mode, axis): _line(groups, mode, axis)
        for mode in MODES
        for axis in _AXES
        if any(case.curve == axis for case in record.cases.values())
    }
    lines = {place: found for place, found in lines.items() if found}
    if not lines:
        return None
    modes, axes_shown = (list(dict.fromkeys(part)) for part in zip(*lines, strict=True))
    figure = Figure(figsize=(WIDTH, 2.4 * len(modes) + 1.2), layout="constrained")
    grid = figure.subplots(len(modes), len(axes_shown), squeeze=False)
    drawn: dict[str, Line2D] = {}
    for row, mode in zip(grid, modes, strict=True):
        for axes, axis in zip(row, axes_shown, strict=True):
            for name, points in lines.get((mode, axis), {}).items():
                drawn[name] = _draw_line(axes, name, points)
            _dress_curve(axes, axis)
        row[0].set_ylabel(f"{mode}\nµs a step")
    for axes, axis in zip(grid[-1], axes_shown, strict=True):
        axes.set_xlabel(_AXES[axis])
    add_title(figure, f"Time of one step: {_BASE.in_words()}, with one of them varied", record, "bands")
    add_legend(figure, list(drawn.values()), list(drawn))
    return figure


def _rows(record: Record) -> dict[tuple[str, str], _Row]:
    """Return (mode, case) -> its row. Points of scaling curves have no row."""
    rows: dict[tuple[str, str], _Row] = {}
    if _only_curves(record):
        return rows
    for (case, mode), group in record.groups().items():
        if record.cases[case].curve:
            continue
        crowded = OURS in group and bool(group[OURS].rounds)
        names = [name for name in _names() if name in group and name not in _NOT_DRAWN]
        names = [name for name in names if name == OURS or not crowded or CONTENDERS[name].family != "ours"]
        found = {name: against_reference(group[name], group) for name in names}
        ratios = {name: ratio for name, ratio in found.items() if ratio is not None}
        best = strongest(group, lambda family: family == "peer")
        if ratios:
            rows[mode, case] = _Row(ratios, best.contender if best else "")
    return rows


def _names() -> list[str]:
    """Return every contender, in the order of the legend."""
    return list(dict.fromkeys((*STYLES, *CONTENDERS)))


def _only_curves(record: Record) -> bool:
    """Return whether the record holds only scaling curves. The point that all curves share is a named case, too."""
    points = {name for axis in _AXES for name in curve(axis).values()}
    return set(record.cases) <= points and any(case.curve for case in record.cases.values())


def _draw_panel(axes: Axes, rows: list[_Row]) -> None:
    """Draw one mode, the first row at the top."""
    red = STYLES[OURS][0]
    at_the_right: dict[str, Any] = {"transform": blended_transform_factory(axes.transAxes, axes.transData)}
    for y, row in enumerate(rows):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        for name, ratio in row.ratios.items():
            best = name == row.best_peer
            order = 5 if name == OURS else 4 if best else 3
            style = marker(name) | (_EDGE if best else {})
            height = y + _HEIGHTS.get(name, 0.34)
            axes.hlines(height, ratio.lowest, ratio.highest, color=style["color"], linewidth=1.2, zorder=order)
            axes.plot([ratio.median], [height], zorder=order, **style)
        if OURS in row.ratios:
            number = as_times(row.ratios[OURS].median)
            axes.text(1.03, y, number, color=red, fontsize=10, va="center", **at_the_right)
    if any(OURS in row.ratios for row in rows):
        axes.set_title("ours", loc="right", x=1.03, ha="left", fontsize=10, color=red)
    axes.axvline(1, color=STYLES[REFERENCE][0], linewidth=1.2, zorder=2)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, 2))
    plain_numbers(axes.xaxis)
    axes.set_xlabel("slower  ←  × torch  →  faster")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params("y", length=0)


def _draw_line(axes: Axes, name: str, points: Mapping[int, tuple[float, float, float]]) -> Line2D:
    middle, low, high = (np.array([1e6 * part for part in column]) for column in zip(*points.values(), strict=True))
    order = 4 if name == OURS else 3 if name == REFERENCE else 2
    style = marker(name) | {"markersize": 5 if name == OURS else 4, "linewidth": 2.4 if name == OURS else 1.5}
    (line,) = axes.plot(list(points), middle, zorder=order, **style)
    axes.fill_between(list(points), low, high, color=style["color"], alpha=0.15, linewidth=0)
    return line


def _line(
    groups: Mapping[tuple[str, str], Mapping[str, Measurement]], mode: str, axis: str
) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Return contender -> value on the axis -> seconds a step: median, lowest and highest over the rounds."""
    lines: dict[str, dict[int, tuple[float, float, float]]] = {}
    for value, case in curve(axis).items():
        for name, one in groups.get((case, mode), {}).items():
            if one.rounds:
                points = lines.setdefault(name, {})
                points[value] = (float(np.median(one.a_step)), min(one.a_step), max(one.a_step))
    # h64 belongs to all curves. A contender that was timed there alone has no curve.
    return {name: points for name, points in lines.items() if len(points) > 1}


def _dress_curve(axes: Axes, axis: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 4:  # or a difference of a few percent would fill the panel
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / 2, middle * 2)
    ticks = list(curve(axis))
    axes.xaxis.set_major_locator(FixedLocator(ticks if len(ticks) < 7 else ticks[::2]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    plain_numbers(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
