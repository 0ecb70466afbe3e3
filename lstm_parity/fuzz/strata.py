"""The first cases of a search: they combine every two options, and every option with every class of sizes.

Each kind of model has a covering array (``covering``) over its options and the sizes at which ``jax_lstm`` takes
another path (``size_classes``). Combinations of more than two levels, in which the fast paths do most, come first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from jax_lstm.recurrences.choose import chunk_steps
from lstm_parity.fuzz.configurations import Configuration
from lstm_parity.fuzz.covering import CoveringArray, Pair, Row
from lstm_parity.fuzz.draw import INPUT_MAGNITUDES, SEEDS, SPECIALS, WEIGHT_MAGNITUDES
from lstm_parity.fuzz.reach import STEPS
from lstm_parity.fuzz.size_classes import batch_classes, hidden_classes, path_of, shares_a_loop

_LONG = STEPS[-1]

# JAX compiles at least this share of the configurations, as it does for users. The others run operation by operation.
COMPILED_SHARE = 1 / 4

# Three wide layers, and the largest layers with the most rows, are expensive and take no path of their own.
_WIDEST_OF_THREE_LAYERS = 128
_LARGEST_STATE = 64 * 256

_OPTIONS: dict[str, dict[str, Any]] = {
    "implementation": {name: name for name in ("auto", "scan", "chunked", "single-kernel")},
    "compiled": {"by operation": False, "compiled": True},
    "dtype": {name: name for name in ("float64", "float32", "bfloat16")},
    "layers": {"1": 1, "2": 2, "3": 3},
    "bidirectional": {"one direction": False, "both directions": True},
    "bias": {"bias": True, "no bias": False},
    "layout": {name: name for name in ("time first", "batch first", "unbatched")},
    "state": {name: name for name in ("zeros", "given", "left out")},
    "lengths": {name: name for name in ("none", "ragged", "some empty")},
    "unfit_padding": {"finite padding": False, "unfit padding": True},
    "resets": {"no resets": False, "resets": True},
}
_USUAL = {
    "dtype": "float64",
    "compiled": "by operation",
    "layers": "1",
    "steps": _LONG,
}
_KINDS: dict[str, tuple[str, ...]] = {
    "LSTM": (*_OPTIONS, "projection", "steps", "batch", "inputs", "hidden"),
    "forecaster": (
        *("implementation", "compiled", "dtype", "layers", "bidirectional", "bias", "state"),
        *("projection", "steps", "batch"),
    ),
    "cell": ("compiled", "dtype", "bias", "layout", "state", "batch", "inputs", "hidden"),
    "by hand": ("compiled", "dtype", "layout", "state", "steps", "batch"),
}


def strata(seed: int) -> list[Configuration]:
    """Return the configurations of every kind's covering array, most important first.

    Args:
        seed: decides which of many arrays, and the data of each configuration. The same seed gives the same ones.
    """
    rng = np.random.default_rng(seed)
    arrays = {kind: array_of(kind) for kind in _KINDS}
    rows = {kind: array.rows(rng, _first(kind)) for kind, array in arrays.items()}
    # The kinds are mixed, each in its own order, after the combinations that come first.
    first = len(_first("LSTM"))
    order = [(0.0, "LSTM", row) for row in rows["LSTM"][:first]]
    rows["LSTM"] = rows["LSTM"][first:]
    order += [((n + 0.5) / len(found), kind, row) for kind, found in rows.items() for n, row in enumerate(found)]
    order.sort(key=lambda place: place[0])
    # In the first configurations, nothing is unusual but the combination itself.
    found = [_configuration(kind, row, rng, plain=n < first) for n, (_, kind, row) in enumerate(order)]
    by_operation = [n for n, configuration in enumerate(found) if not configuration.compiled]
    more = math.ceil(len(found) * COMPILED_SHARE) - (len(found) - len(by_operation))
    for n in rng.permutation(by_operation)[: max(more, 0)]:
        found[n] = replace(found[n], compiled=True)
    return found


def array_of(kind: str) -> CoveringArray:
    """Return the factors of a kind of model, and the levels that are never combined."""
    levels: dict[str, Sequence[str]] = {name: tuple(values) for name, values in _OPTIONS.items()}
    levels["projection"] = ("no projection", "projection")
    levels["steps"] = STEPS
    levels["batch"] = tuple(map(_name, batch_classes()))
    levels["inputs"] = ("1", "more")
    levels["hidden"] = tuple(map(_name, hidden_classes()))
    few = _name_of(3, batch_classes())
    if kind == "forecaster":
        levels["steps"] = ("one step", "part of a chunk", _LONG)
        levels["batch"] = ("0", "1", few)
    elif kind in ("cell", "by hand"):
        levels["layout"] = ("time first", "unbatched")
        levels["batch"] = ("0", "1", few)
        levels["hidden"] = ("1", _name_of(4, hidden_classes()), _name_of(200, hidden_classes()))
        levels["steps"] = ("no steps", "one step", "part of a chunk", _LONG)
    factors = {factor: levels[factor] for factor in _KINDS[kind]}
    return CoveringArray(factors, _excluded(factors), _USUAL)


def _excluded(factors: Mapping[str, Sequence[str]]) -> set[Pair]:
    """Return the pairs of levels that contradict each other or cost more than they show."""

    def never(**levels: str | list[str]) -> set[Pair]:
        (one, other), values = levels, [v if isinstance(v, list) else [v] for v in levels.values()]
        return {frozenset(((one, a), (other, b))) for a, b in product(*values)}

    batches, hiddens = (
        {_name(sizes): sizes[0] for sizes in classes} for classes in (batch_classes(), hidden_classes())
    )
    double = np.dtype("float64")
    not_small = [n for n, hidden in hiddens.items() if path_of("auto", 8, 1, 5, hidden, double)[0] != "single-kernel"]
    found = never(layout="unbatched", batch=[name for name, batch in batches.items() if batch != 1])
    found |= never(implementation="single-kernel", batch=[name for name, batch in batches.items() if batch != 1])
    found |= never(implementation="single-kernel", hidden=not_small)
    found |= never(implementation="single-kernel", dtype="bfloat16")
    found |= never(bidirectional="both directions", resets="resets")
    found |= never(projection="projection", hidden="1")
    found |= never(lengths="none", unfit_padding="unfit padding")
    found |= never(steps="no steps", unfit_padding="unfit padding")
    found |= never(steps="no steps", state="left out")
    found |= never(layers="3", hidden=[name for name, hidden in hiddens.items() if hidden >= _WIDEST_OF_THREE_LAYERS])
    for name, batch in batches.items():
        wide = [other for other, hidden in hiddens.items() if hidden * batch > _LARGEST_STATE]
        found |= never(batch=name, hidden=wide)
        chunk = chunk_steps(batch)
        shortest = {"part of a chunk": 3, "one chunk": 2, "a chunk and a rest": 2, _LONG: 2}
        found |= never(batch=name, steps=[steps for steps, least in shortest.items() if chunk < least])
    present = {(factor, level) for factor, levels in factors.items() for level in levels}
    return {pair for pair in found if pair <= present}


def _first(kind: str) -> list[Row]:
    """Return combinations of more than two levels, where faults of the fast paths hide; the first 30 cases have all."""
    if kind != "LSTM":
        return []
    hidden, batch = hidden_classes(), batch_classes()
    together, wide = _name_of(4, hidden), _name_of(10**9, hidden)
    apart = next(_name(sizes) for sizes in hidden if sizes[0] > 1 and not shares_a_loop(sizes[0]))
    few, many, most = (_name_of(size, batch) for size in (3, 40, 64))
    both, resets = {"bidirectional": "both directions"}, {"resets": "resets"}
    compiled, kernel = {"compiled": "compiled"}, {"implementation": "single-kernel", "batch": "1"}
    chunked, scan = {"implementation": "chunked"}, {"implementation": "scan"}
    combinations: list[dict[str, str]] = [
        chunked | both | {"hidden": together, "batch": few},
        chunked | both | {"hidden": apart, "batch": many},
        chunked | resets | {"batch": few, "state": "given", "projection": "no projection"},
        kernel | resets | {"state": "given"},
        {"implementation": "auto"} | resets | compiled | {"batch": many, "projection": "projection"},
        {"implementation": "auto"} | both | compiled | {"hidden": together, "batch": few, "lengths": "ragged"},
        chunked | both | {"hidden": apart, "batch": few, "lengths": "some empty", "projection": "projection"},
        chunked | resets | {"hidden": together, "batch": many, "lengths": "ragged"},
        kernel | both | compiled | {"lengths": "ragged"},
        scan | both | {"batch": few, "lengths": "some empty"},
        scan | resets | compiled | {"batch": few},
        {"implementation": "auto"} | resets | {"hidden": wide, "batch": most, "lengths": "ragged"},
        chunked | both | compiled | {"hidden": apart, "batch": few, "inputs": "1"},
        {"implementation": "auto"} | both | {"batch": "1", "hidden": together, "projection": "projection"},
        chunked | both | {"hidden": together, "batch": many, "steps": "several chunks", "projection": "projection"},
        chunked | resets | {"batch": few, "steps": "a chunk and a rest"},
    ]
    usual = {"dtype": "float64", "steps": _LONG, "compiled": "by operation"}
    return [usual | combination for combination in combinations]


def _configuration(kind: str, row: Row, rng: np.random.Generator, *, plain: bool) -> Configuration:
    """Make a configuration with the levels of a row, and draw the rest."""
    values = {name: _OPTIONS[name][level] for name, level in row.items() if name in _OPTIONS}
    batch = _size(row.get("batch", "1"), batch_classes(), rng, row.get("steps"))
    hidden = _size(row["hidden"], hidden_classes(), rng) if "hidden" in row else int(rng.integers(2, 6))
    if row.get("projection") == "projection":
        values["projection"] = int(rng.integers(1, min(hidden - 1, 3) + 1))
    if kind != "by hand":
        values |= {"hidden": hidden, "inputs": 1 if row.get("inputs") == "1" else int(rng.integers(2, 8))}
    values |= {"steps": _steps(row.get("steps", "one step"), chunk_steps(batch), rng), "batch": batch}
    values |= {"outputs": int(rng.integers(1, 4)), "seed": int(rng.choice(SEEDS))}
    if not plain:
        values["weight_magnitude"] = float(rng.choice(WEIGHT_MAGNITUDES))
        values["input_magnitude"] = float(rng.choice(INPUT_MAGNITUDES))
        values["special"] = str(rng.choice(SPECIALS))
    return Configuration(kind=kind, **values).fitting()


def _steps(level: str, chunk: int, rng: np.random.Generator) -> int:
    if level in ("no steps", "one step"):
        return STEPS.index(level)
    if level == "part of a chunk":
        return int(rng.integers(2, chunk))
    chunks = 1 if "one" in level or level.startswith("a ") else 2 if chunk > 8 else int(rng.integers(2, 4))
    return chunks * chunk + (int(rng.integers(1, chunk)) if "rest" in level else 0)


def _size(name: str, classes: Sequence[range], rng: np.random.Generator, steps: str | None = None) -> int:
    """Draw a size of a class: near its start, or its end; of the last class, its start.

    With ``steps``, draw only sizes whose chunks are as long as those of the first.
    """
    sizes = next(sizes for sizes in classes if _name(sizes) == name)
    near = [size for size in (sizes[0], sizes[0] + 1, sizes[0] + 3, sizes[-1]) if size in sizes]
    if sizes is classes[-1]:
        near = [sizes[0]]
    if steps is not None:
        near = [size for size in near if chunk_steps(size) == chunk_steps(sizes[0])] or [sizes[0]]
    return int(rng.choice(near))


def _name(sizes: range) -> str:
    return str(sizes[0])


def _name_of(size: int, classes: Sequence[range]) -> str:
    """Return the name of the class that has this size, or of the last class."""
    return _name(next((sizes for sizes in classes if size in sizes), classes[-1]))
