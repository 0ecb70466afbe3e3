"""What the pictures of a record share: a style for each contender, axes with plain numbers, title and legend."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lstm_parity.bench.contenders.registry import OURS, REFERENCE
from lstm_parity.bench.record.record import Record
from lstm_shared.printable import printable

# The same colour and marker for a contender in every picture. Ours is the only strong colour.
STYLES: Mapping[str, tuple[str, str]] = {
    OURS: ("#c62828", "o"),
    "jax-scan": ("#e3a39b", "o"),
    "jax-sync": ("#e3a39b", "s"),
    "jax-step": ("#e3a39b", "D"),
    "flax": ("#6f9bc4", "s"),
    "flax-nnx": ("#a3c3de", "D"),
    "haiku": ("#7fb08d", "^"),
    "equinox": ("#a995c4", "v"),
    "keras": ("#c9a66b", "P"),
    REFERENCE: ("#444444", "o"),
    "torch-cell": ("#9a9a9a", "X"),
    "torch-compile": ("#9a9a9a", "*"),
    "lightning": ("#9a9a9a", "h"),
}
_OTHER = "#9a9a9a", "o"

WIDTH = 8.0  # inches. Text of 10 points stays readable when a page shows the picture 800 pixels wide.
_LONGEST_DEVICE = 50  # characters that fit into the title


def marker(name: str) -> dict[str, Any]:
    """Return the options that draw a contender's marker."""
    color, shape = STYLES.get(name, _OTHER)
    return {"color": color, "marker": shape, "markersize": 7.5 if name == OURS else 5, "markeredgewidth": 0}


def plain_numbers(axis: Axis) -> None:
    """Give a log axis as many ticks as it has room for, written out."""
    low, high = axis.get_view_interval()
    ratio = high / low
    digits = (1,) if ratio > 300 else (1, 3) if ratio > 30 else (1, 2, 5) if ratio > 8 else (1, 2, 3, 5, 7)
    ticks = [digit * 10.0**power for power in range(-4, 8) for digit in digits]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def add_title(figure: Figure, text: str, record: Record, spread: str) -> None:
    """Add a title: what the picture shows, on which processor, with how many threads, and how it draws the spread."""
    gpu = record.settings.get("device") == "gpu" and record.device.get("gpu")
    device = str(gpu or record.device.get("cpu") or "an unknown processor")[:_LONGEST_DEVICE]
    threads, rounds = (record.settings.get(name, "?") for name in ("threads", "rounds"))
    settings = f"{device}, {threads} thread{'' if threads == 1 else 's'} each; {spread}: spread of {rounds} rounds"
    title = figure.suptitle(f"{text}\n{printable(settings)}", fontsize=11.5)
    title.set_parse_math(False)  # a record may come from anywhere


def add_legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Put the contenders' names below the panels."""
    labels = [f"{name} (ours)" if name == OURS else printable(name) for name in names]
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": min(len(names), 5), "frameon": False}
    for text in figure.legend(handles, labels, fontsize=10, **place).get_texts():
        text.set_parse_math(False)
