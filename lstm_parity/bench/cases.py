"""The cases: named shapes with their weights and inputs, and the modes in which they are timed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np

from lstm_parity.annotations import JsonObject
from lstm_shared.by_hand import COMPANY_LABELS, COMPANY_PRICES, PUBLISHED_INIT
from lstm_shared.initial_weights import init_lstm
from lstm_shared.specs import ByHandSpec, LSTMSpec, Spec

FORWARD, GRADIENT, ADAM, TRAINING = "forward", "forward+backward", "adam-step", "training"

# Mode -> what one call computes. The loss is the sum of the squared outputs; the gradient is for every weight.
MODES: dict[str, str] = {
    FORWARD: "the outputs",
    GRADIENT: "the gradient of the loss",
    ADAM: "the gradient and one Adam step",
    TRAINING: "many Adam steps in one call; under one jit in JAX",
}


@dataclass(frozen=True)
class BenchCase:
    """One shape and its options.

    Attributes:
        name: its name on the command line.
        kind: "sequence"; "streaming" (one step a call, carrying the state over); or "by hand" (the twelve-weight model
            on its two companies).
        time, batch, input_size, hidden_size: sizes of the sequences. By hand: 4 days of 1 price, 1 company a batch.
        ragged: whether each sequence has its own length.
        dtype: dtype of weights and inputs.
        curve: for a point of a scaling curve, the axis that varies ("T", "B" or "H"); otherwise empty.
        train_steps: Adam steps in one call in the mode "training".
    """

    name: str
    time: int
    batch: int
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    proj_size: int = 0
    ragged: bool = False
    dtype: str = "float32"
    kind: str = "sequence"
    curve: str = ""
    train_steps: int = 10

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that make sense for this case."""
        return {"streaming": (FORWARD,), "by hand": (TRAINING,)}.get(self.kind, tuple(MODES))

    @property
    def spec(self) -> Spec:
        if self.kind == "by hand":
            return ByHandSpec()
        sizes = self.input_size, self.hidden_size, self.num_layers
        return LSTMSpec(*sizes, bidirectional=self.bidirectional, proj_size=self.proj_size)

    @property
    def parity_dtypes(self) -> tuple[str, ...]:
        """The dtypes in which the numbers are compared before anything is timed.

        Below float32 the tolerance is too wide to find much, so the same program is judged in float32 as well. By hand,
        float64 decides: it compares 200 steps.
        """
        first = {"bfloat16": ("float32",)}.get(self.dtype, ())
        return (*(("float64",) if self.kind == "by hand" else first), self.dtype)

    def weights(self, dtype: str) -> dict[str, np.ndarray]:
        """Return the weight dictionary. Every contender gets the same numbers."""
        if self.kind == "by hand":
            return {name: np.asarray(value, dtype) for name, value in PUBLISHED_INIT.items()}
        options: dict[str, Any] = {"bidirectional": self.bidirectional, "proj_size": self.proj_size}
        sizes = self.input_size, self.hidden_size
        return init_lstm(*sizes, num_layers=self.num_layers, dtype=np.dtype(dtype), **options)

    def inputs(self, dtype: str) -> np.ndarray:
        """Return inputs drawn from N(0, 1), (time, batch, input_size)."""
        return self._draw()[0].astype(np.dtype(dtype))

    def lengths(self) -> np.ndarray | None:
        """Return lengths (batch,), each more than a quarter of ``time`` and the first all of it; None unless ragged."""
        return self._draw()[1] if self.ragged else None

    def companies(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the data for the by-hand model: prices (companies, days) and labels (companies,)."""
        return COMPANY_PRICES.astype(dtype), COMPANY_LABELS.astype(dtype)

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        inputs = rng.standard_normal((self.time, self.batch, self.input_size))
        lengths = rng.integers(self.time // 4 + 1, self.time + 1, self.batch)
        lengths[0] = self.time
        return inputs, lengths

    def in_words(self) -> str:
        """Return the sizes and options as text, to print after the name."""
        if self.kind == "by hand":
            return "12 weights, 4 days, 1 company a step"
        sizes = f"T {self.time}, B {self.batch}, I {self.input_size}, H {self.hidden_size}"
        special = [
            "one step a call" if self.kind == "streaming" else "",
            "bidirectional" if self.bidirectional else "",
            f"{self.num_layers} layers" if self.num_layers > 1 else "",
            f"projected to {self.proj_size}" if self.proj_size else "",
            "ragged" if self.ragged else "",
            self.dtype if self.dtype != "float32" else "",
        ]
        return ", ".join([sizes, *filter(None, special)])

    def to_dict(self) -> JsonObject:
        """Return the fields for JSON; ``BenchCase(**content)`` reverses this."""
        return asdict(self)


_H128 = (128, 64, 64, 128)
_FIELDS = {"T": "time", "B": "batch", "H": "hidden_size"}
_CURVES = {
    "T": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "B": (1, 4, 16, 32, 64, 128, 256),
    "H": (16, 32, 64, 128, 256, 512),
}

_H64 = BenchCase("h64", 64, 32, 32, 64, train_steps=20)  # the point on every scaling curve

_NAMED = (
    BenchCase("tiny", 4, 2, 1, 1, train_steps=200),
    BenchCase("small", 32, 1, 16, 32, train_steps=100),
    _H64,
    BenchCase("h128", *_H128),
    BenchCase("h256", 100, 32, 128, 256),
    BenchCase("h512", 50, 64, 256, 512),
    BenchCase("univariate", 64, 32, 1, 64, train_steps=20),
    BenchCase("long", 2048, 8, 32, 64),
    BenchCase("bidirectional", *_H128, bidirectional=True),
    BenchCase("two-layer", *_H128, num_layers=2),
    BenchCase("projected", *_H128, proj_size=64),
    BenchCase("ragged", *_H128, ragged=True),
    BenchCase("float64", *_H128, dtype="float64"),
    BenchCase("bf16", *_H128, dtype="bfloat16"),
    BenchCase("streaming", 1, 1, 16, 32, kind="streaming"),
    BenchCase("by-hand", 4, 1, 1, 1, kind="by hand"),
)


def curve(axis: str) -> dict[int, str]:
    """Return the points of the scaling curve over "T", "B" or "H": value on the axis -> name of the case."""
    base = getattr(_H64, _FIELDS[axis])
    return {value: _H64.name if value == base else f"{axis}{value}" for value in _CURVES[axis]}


_POINTS = tuple(
    replace(_H64, name=name, curve=axis, **{_FIELDS[axis]: value})
    for axis in _CURVES
    for value, name in curve(axis).items()
    if name != _H64.name
)

CASES: Mapping[str, BenchCase] = {case.name: case for case in (*_NAMED, *_POINTS)}
NAMED_CASES = tuple(case.name for case in _NAMED)
SCALING_CASES = tuple(case.name for case in _POINTS)
