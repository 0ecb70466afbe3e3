"""Whole cases as hypothesis draws them: a model, its sizes and options, and the data.

Only sizes, options and a seed are drawn by hypothesis, and the arrays from that seed: so it shrinks a configuration
instead of thousands of numbers.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies

from lstm_parity.cases import Case, make_case
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec

# Hypothesis mixes constants that it finds in loaded modules into what it draws. It leaves those below 100 alone, so
# within 0..99 a seed gives the same cases whatever else is loaded.
_SEEDS = strategies.integers(0, 99)

# The simplest first: that is where hypothesis shrinks to. With weights beyond these, correct code parts chaotically.
_WEIGHT_MAGNITUDES = (0.5, 1.0, 0.1, 0.01, 2.0)
_INPUT_MAGNITUDES = (1.0, 1.0, 1.0, 0.01, 30.0, 1000.0)
_TIMES = (*range(1, 10), 0, 17)  # 17: a whole chunk of the fast backward pass and one step more
# Over 17 steps weights of 2 use up to 80 % of the tolerance on right code, those of 1 up to 10 %.
_LONGEST_OF_LARGE_WEIGHTS = 9
_BATCHES = (1, 2, 3, 4, 0)
_LARGEST_SIZE = 7
_KINDS = ("LSTM",) * 7 + ("cell", "forecaster", "by hand")
_DTYPES = ("float64",) * 6 + ("float32", "bfloat16")
_SPECIALS = ("",) * 5 + ("zeros", "signed zeros", "subnormals", "one huge input")


@strategies.composite
def drawn_cases(draw: Callable[..., Any]) -> Case:
    """A case in its own dtype. Each option shrinks to what it is listed first as."""

    def whole(low: int, high: int) -> int:
        return draw(strategies.integers(low, high))

    def one_of(*values: Any) -> Any:
        return draw(strategies.sampled_from(values))

    kind, dtype, special = one_of(*_KINDS), one_of(*_DTYPES), one_of(*_SPECIALS)
    weight_magnitude, input_magnitude = one_of(*_WEIGHT_MAGNITUDES), one_of(*_INPUT_MAGNITUDES)
    rng = np.random.default_rng(draw(_SEEDS))

    def array(magnitude: float, *shape: int) -> np.ndarray:
        return _with_special(rng, magnitude * rng.uniform(-1, 1, shape), special, dtype)

    time, batch = one_of(*_TIMES), one_of(*_BATCHES)
    time = min(time, _LONGEST_OF_LARGE_WEIGHTS) if weight_magnitude > 1 else time
    options: dict[str, Any] = {}
    if kind == "by hand":
        spec, shape = ByHandSpec(), one_of((time,), (batch, time))
        states = (shape[:-1], shape[:-1])
    elif kind == "cell":
        spec = CellSpec(whole(1, _LARGEST_SIZE), whole(1, _LARGEST_SIZE), one_of(True, False))
        rows = one_of((batch,), ())
        shape, states = (*rows, spec.input_size), ((*rows, spec.hidden_size),) * 2
    else:
        lstm = _draw_lstm(whole, one_of)
        spec = ForecasterSpec(lstm, whole(1, 3)) if kind == "forecaster" else lstm
        layout = one_of("time first", "batch first", "unbatched") if kind == "LSTM" else "batch first"
        time = max(time, 1) if kind == "forecaster" else time  # it predicts from the last step
        rows = () if layout == "unbatched" else (batch,)
        leading = (*rows, time) if layout == "batch first" else (time, *rows)
        shape = (*leading, lstm.input_size)
        states = tuple(
            (lstm.num_layers * len(lstm.directions), *rows, size) for size in (lstm.state_size, lstm.hidden_size)
        )
        if kind == "LSTM":
            options["batch_first"] = layout == "batch first"
            resets = one_of(False, False, True)  # drawn for every model: hypothesis then shrinks each option by itself
            if resets and not lstm.bidirectional:
                options["reset"] = rng.random(leading) < 0.3
            if one_of(False, True):
                options["lengths"] = np.reshape([whole(0, time) for _ in range(batch if rows else 1)], rows).astype(int)
    weights = {name: array(weight_magnitude, *shape) for name, shape in spec.shapes.items()}
    inputs = array(input_magnitude, *shape)
    if special == "one huge input" and inputs.size:
        inputs.flat[rng.integers(inputs.size)] = 1e6
    if kind != "forecaster" and one_of(False, True):
        options["state"] = tuple(array(1.0, *shape) for shape in states)
    if "lengths" in options and one_of(False, True):
        _spoil_padding(rng, inputs, options["lengths"], options["batch_first"])
    return make_case(weights, inputs, **options, steps=0, seed=whole(0, 99)).astype(dtype)


def _draw_lstm(whole: Callable[[int, int], int], one_of: Callable[..., Any]) -> LSTMSpec:
    hidden_size = whole(1, _LARGEST_SIZE)
    return LSTMSpec(
        input_size=whole(1, _LARGEST_SIZE),
        hidden_size=hidden_size,
        num_layers=whole(1, 3),
        bias=one_of(True, False),
        bidirectional=one_of(False, True),
        proj_size=min(one_of(0, 0, 0, 1, 2, 3), hidden_size - 1),
    )


def _with_special(rng: np.random.Generator, values: np.ndarray, special: str, dtype: str) -> np.ndarray:
    """A third of the values replaced by zeros, zeros of both signs, or numbers below the smallest normal one."""
    chosen = rng.random(values.shape) < 1 / 3
    subnormal = float(ml_dtypes.finfo(np.dtype(dtype)).smallest_subnormal)
    kinds = {"zeros": 0.0, "signed zeros": np.copysign(0.0, values), "subnormals": np.sign(values) * 5 * subnormal}
    return np.where(chosen, kinds[special], values) if special in kinds else values


def _spoil_padding(rng: np.random.Generator, inputs: np.ndarray, lengths: np.ndarray, batch_first: bool) -> None:
    """NaN and infinities past every sequence's end: they must reach nothing."""
    time_first = np.swapaxes(inputs, 0, 1) if batch_first else inputs
    steps = np.arange(len(time_first))
    padding = steps[:, None] >= lengths if lengths.ndim else steps >= lengths
    time_first[padding] = rng.choice([np.nan, np.inf, -np.inf], time_first[padding].shape)
