"""A case in a few words: the model, its sizes and options, a seed. The arrays follow from these.

So a search varies, and makes smaller, some twenty values in the place of thousands of numbers.
"""

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from lstm_parity.fuzz.size_classes import path_of
from lstm_parity.sides.case import Case, make_case
from lstm_parity.sides.kinds import Sizes, kind_named, kind_of

# What an option may be.
Value = str | float

# Right code parts chaotically where large weights meet many steps, or many hidden units. Up to hidden 7 and 9 steps,
# weights of up to 2 leave room. Beyond, they are at most 1, over √hidden where a layer is wider than 7: as initialised.
_LONGEST_OF_LARGE_WEIGHTS = 9
_LARGEST_NARROW = 7
_RESET_SHARE = 0.3


@dataclass(frozen=True)
class Configuration:
    """What a case is made from, and how JAX runs it. The defaults are the simplest values.

    Attributes:
        kind: "LSTM", "cell", "forecaster" or "by hand".
        compiled: whether JAX compiles it, or runs it operation by operation.
        implementation: that of ``jax_lstm.lstm``.
        dtype: of all its arrays.
        special: what stands here and there in the arrays: "zeros", "signed zeros", "subnormals", "one huge input".
        weight_magnitude, input_magnitude: the numbers are drawn between plus and minus these.
        seed: of everything that is drawn.
        steps: of the sequences; days by hand.
        batch, inputs, hidden, outputs, layers: sizes; ``outputs`` is that of a forecaster.
        projection: 0 for none.
        layout: "time first", "batch first" or "unbatched".
        state: "zeros", "given" (random numbers), or "left out" of the call.
        lengths: "none", "ragged", or "some empty": ragged, with sequences of length 0 among them.
        unfit_padding: whether NaN and infinities stand past every sequence's end.
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
        """The same without options that do not go together: every value can then be varied by itself."""
        fit: dict[str, Value] = {}
        kind = kind_named(self.kind)
        if kind.batch_first:  # and it predicts from the last step
            fit |= {"layout": "batch first", "steps": max(self.steps, 1)}
        if not kind.has_implementations:
            fit |= {"implementation": "auto", "layout": "unbatched" if self.layout == "unbatched" else "time first"}
        if fit.get("layout", self.layout) == "unbatched":
            fit |= {"batch": 1}
        if not kind.takes_sequence_options:
            fit |= {"lengths": "none", "resets": False}
        if self.bidirectional:
            fit |= {"resets": False}
        if self.state == "left out" and not fit.get("steps", self.steps):  # torch has nothing to differentiate then
            fit |= {"state": "zeros"}
        fit |= {"projection": min(self.projection, self.hidden - 1)}
        fitted = replace(self, **fit)
        return fitted if _single_kernel_fits(fitted) else replace(fitted, implementation="auto")

    def case(self) -> Case:
        """The case, in its own dtype.

        Raises:
            InputError: options that do not go together; ``fitting`` has none.
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
        """Numbers, a third of them replaced by zeros, zeros of both signs, or numbers too small to be normal."""
        values = magnitude * rng.uniform(-1, 1, shape)
        chosen = rng.random(shape) < 1 / 3
        subnormal = float(ml_dtypes.finfo(np.dtype(self.dtype)).smallest_subnormal)
        kinds = {"zeros": 0.0, "signed zeros": np.copysign(0.0, values), "subnormals": np.sign(values) * 5 * subnormal}
        return np.where(chosen, kinds[self.special], values) if self.special in kinds else values


def _single_kernel_fits(wanted: Configuration) -> bool:
    """Whether "single-kernel" may be asked for by name: where "auto" takes it too, in every layer."""
    if wanted.implementation != "single-kernel":
        return True
    path = path_of("auto", wanted.steps, wanted.batch, wanted.inputs, wanted.hidden, np.dtype(wanted.dtype))
    return path.implementation == "single-kernel"


def _spoil_padding(rng: np.random.Generator, inputs: np.ndarray, lengths: np.ndarray, batch_first: bool) -> None:
    """NaN and infinities past every sequence's end: they must reach nothing."""
    time_first = np.swapaxes(inputs, 0, 1) if batch_first else inputs
    steps = np.arange(len(time_first))
    padding = steps[:, None] >= lengths if lengths.ndim else steps >= lengths
    time_first[padding] = rng.choice([np.nan, np.inf, -np.inf], time_first[padding].shape)
