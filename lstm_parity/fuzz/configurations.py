"""A case in a few words: the model, its sizes and options, a seed. The arrays follow from these.

So a search varies and shrinks some twenty values instead of thousands of numbers.
"""

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from lstm_parity.fuzz.size_classes import path_of
from lstm_parity.sides.case import Case, make_case
from lstm_parity.sides.kinds import Sizes, kind_named, kind_of

# The value of an option.
Value = str | float

# With large weights and many steps or hidden units, two right implementations differ chaotically. Up to hidden size 7
# and 9 steps, weights of up to 2 leave room. Above that, weights are at most 1, divided by √hidden if a layer is wider
# than 7, as in initial weights.
_LONGEST_OF_LARGE_WEIGHTS = 9
_LARGEST_NARROW = 7
_RESET_SHARE = 0.3


@dataclass(frozen=True)
class Configuration:
    """The values that a case is made from, and how JAX runs it. The defaults are the simplest values.

    Attributes:
        kind: "LSTM", "cell", "forecaster" or "by hand".
        compiled: whether JAX compiles the case or runs it operation by operation.
        implementation: the ``implementation`` of ``jax_lstm.lstm``.
        dtype: the dtype of all arrays.
        special: what replaces some numbers: "zeros", "signed zeros", "subnormals" or "one huge input"; empty for none.
        weight_magnitude, input_magnitude: the numbers are drawn between plus and minus these.
        seed: the seed for everything that is drawn.
        steps: the number of steps; by hand, of days.
        batch, inputs, hidden, outputs, layers: sizes; ``outputs`` is for a forecaster only.
        projection: the projection size; 0 for none.
        layout: "time first", "batch first" or "unbatched".
        state: "zeros", "given" (random numbers), or "left out" of the call.
        lengths: "none", "ragged", or "some empty", which is ragged with some sequences of length 0.
        unfit_padding: whether the padding holds NaN and infinities.
        resets: whether the state is zeroed before some steps.
    """

    kind: str = "LSTM"
    compiled: bool = False
    implementation: str = "auto"
    dtype: str = "float64"
    special: str = ""
    weight_magnitude: float = 0.5
    input_magnitude: float = 1.0
    seed: int = 0
    steps: int = 1
    batch: int = 1
    inputs: int = 1
    hidden: int = 1
    outputs: int = 1
    layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    projection: int = 0
    layout: str = "time first"
    state: str = "zeros"
    lengths: str = "none"
    unfit_padding: bool = False
    resets: bool = False

    def fitting(self) -> "Configuration":
        """Return the same configuration with conflicting options fixed, so that each value can vary by itself."""
        fit: dict[str, Value] = {}
        kind = kind_named(self.kind)
        if kind.batch_first:  # it predicts from the last step, so it needs one
            fit |= {"layout": "batch first", "steps": max(self.steps, 1)}
        if not kind.has_implementations:
            fit |= {"implementation": "auto", "layout": "unbatched" if self.layout == "unbatched" else "time first"}
        if fit.get("layout", self.layout) == "unbatched":
            fit |= {"batch": 1}
        if not kind.takes_sequence_options:
            fit |= {"lengths": "none", "resets": False}
        if self.bidirectional:
            fit |= {"resets": False}
        if self.state == "left out" and not fit.get("steps", self.steps):  # torch would have nothing to differentiate
            fit |= {"state": "zeros"}
        fit |= {"projection": min(self.projection, self.hidden - 1)}
        fitted = replace(self, **fit)
        return fitted if _single_kernel_fits(fitted) else replace(fitted, implementation="auto")

    def case(self) -> Case:
        """Make the case, in its own dtype.

        Raises:
            InputError: two options conflict, which cannot happen after ``fitting``.
        """
        rng = np.random.default_rng((1, self.seed))
        spec = kind_named(self.kind).spec_of(self._sizes())
        kind = kind_of(spec)
        rows = () if self.layout == "unbatched" else (self.batch,)
        weights = {name: self._array(rng, self._weight_magnitude(), *shape) for name, shape in spec.shapes.items()}
        shape = kind.input_shape(rows, self.steps, batch_first=self.layout == "batch first")
        inputs = self._array(rng, self.input_magnitude, *shape)
        if self.special == "one huge input" and inputs.size:
            inputs.flat[rng.integers(inputs.size)] = 1e6
        options: dict[str, Any] = {}
        if self.state == "given":
            options["state"] = tuple(self._array(rng, 1.0, *shape) for shape in kind.state_shapes(rows))
        if kind.takes_sequence_options:
            options["batch_first"] = self.layout == "batch first"
        if self.resets:
            options["reset"] = rng.random(shape[:-1]) < _RESET_SHARE
        if self.lengths != "none":
            shortest = 0 if self.lengths == "some empty" else min(1, self.steps)
            options["lengths"] = rng.integers(shortest, self.steps + 1, rows)
            if self.lengths == "some empty":
                options["lengths"] *= rng.random(rows) < 2 / 3
            if self.unfit_padding:
                _spoil_padding(rng, inputs, options["lengths"], options["batch_first"])
        case = make_case(weights, inputs, **options, steps=0, seed=self.seed).astype(self.dtype)
        return case.without_state() if self.state == "left out" else case

    def _sizes(self) -> Sizes:
        return Sizes(
            inputs=self.inputs,
            hidden=self.hidden,
            outputs=self.outputs,
            layers=self.layers,
            bias=self.bias,
            bidirectional=self.bidirectional,
            projection=self.projection,
        )

    def _weight_magnitude(self) -> float:
        wide = not kind_named(self.kind).single_unit and self.hidden > _LARGEST_NARROW
        if not wide and self.steps <= _LONGEST_OF_LARGE_WEIGHTS:
            return self.weight_magnitude
        return min(self.weight_magnitude, 1.0) / (self.hidden**0.5 if wide else 1.0)

    def _array(self, rng: np.random.Generator, magnitude: float, *shape: int) -> np.ndarray:
        """Draw numbers; if ``special`` says so, replace a third by zeros, zeros of both signs, or subnormals."""
        values = magnitude * rng.uniform(-1, 1, shape)
        chosen = rng.random(shape) < 1 / 3
        subnormal = float(ml_dtypes.finfo(np.dtype(self.dtype)).smallest_subnormal)
        kinds = {"zeros": 0.0, "signed zeros": np.copysign(0.0, values), "subnormals": np.sign(values) * 5 * subnormal}
        return np.where(chosen, kinds[self.special], values) if self.special in kinds else values


def _single_kernel_fits(wanted: Configuration) -> bool:
    """Return whether "auto" would choose "single-kernel" in every layer too, if this asks for it by name; else True."""
    if wanted.implementation != "single-kernel":
        return True
    path = path_of("auto", wanted.steps, wanted.batch, wanted.inputs, wanted.hidden, np.dtype(wanted.dtype))
    return path.implementation == "single-kernel"


def _spoil_padding(rng: np.random.Generator, inputs: np.ndarray, lengths: np.ndarray, batch_first: bool) -> None:
    """Put NaN and infinities into the padding, from where they must reach nothing."""
    time_first = np.swapaxes(inputs, 0, 1) if batch_first else inputs
    steps = np.arange(len(time_first))
    padding = steps[:, None] >= lengths if lengths.ndim else steps >= lengths
    time_first[padding] = rng.choice([np.nan, np.inf, -np.inf], time_first[padding].shape)
