"""The three kinds of models that ``verdict.py`` draws. Each has a few shapes, so that XLA compiles each shape once.

- "random": weights from U(±1/√hidden), as frameworks initialise them, and the by-hand model with N(0, 1). The shapes
  cover every option of ``torch.nn.LSTM``, cells and forecasters.
- "trained-like": weights with what the trained models of ``parity_tests/helpers/real_models.py`` have in common. The
  singular values of each recurrent block fall off as a power of their rank (0.3 to 1 in those models). The candidate's
  block holds each unit back: its left and right singular vectors have an alignment of -0.1 to -0.35. The recurrent gain
  is 2 to 4 times the initial one, the bias of the forget gate is near +1, and inputs are as large as 4. One model in
  five is a real one.
- "ill-conditioned": random weights with ``weight_hh`` times 6, 12 or 20, over 60 to 160 steps. Rounding errors grow
  until they are as large as the outputs.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lstm_shared import describe, init_by_hand, init_forecaster, init_lstm
from lstm_shared.specs import ByHandSpec, CellSpec

sys.path.append(str(Path(__file__).parents[1] / "parity_tests" / "helpers"))  # real_models and look_alikes

Weights = dict[str, np.ndarray]
GAINS = (6.0, 12.0, 20.0)


@dataclass(frozen=True)
class Shape:
    """Sizes and options: everything for which XLA has to compile again.

    Attributes:
        make: (rng) -> weights.
        leading: sizes of the axes of the inputs before the features, in the order that the model takes.
        options: batch_first, lengths, reset, as ``check`` takes them.
    """

    name: str
    make: Callable[[np.random.Generator], Weights]
    leading: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """The model and inputs of one trial.

    Attributes:
        seed: seed for the cotangents, and for the state if it is not given. Each shape has one seed, because both are
            constants in the compiled program.
        state: initial state; None to let ``check`` draw it.
    """

    name: str
    weights: Weights
    inputs: np.ndarray
    options: dict[str, Any]
    state: tuple[np.ndarray, np.ndarray] | None
    seed: int


def _seed_of(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _lstm(*sizes: int, **options: Any) -> Callable[[np.random.Generator], Weights]:
    return lambda rng: init_lstm(*sizes, seed=_seed_of(rng), dtype=np.float64, **options)


def _forecaster(*sizes: int, **options: Any) -> Callable[[np.random.Generator], Weights]:
    return lambda rng: init_forecaster(*sizes, seed=_seed_of(rng), dtype=np.float64, **options)


def _cell(*sizes: int) -> Callable[[np.random.Generator], Weights]:
    return lambda rng: {name.removesuffix("_l0"): array for name, array in _lstm(*sizes)(rng).items()}


def _real(name: str) -> Callable[[np.random.Generator], Weights]:
    def weights(rng: np.random.Generator) -> Weights:
        from real_models import real_weights  # pyright: ignore[reportMissingImports]  in parity_tests/helpers

        return {weight: array.astype(np.float64) for weight, array in real_weights(name).items()}

    return weights


_RESET = np.random.default_rng(0).random((40, 3)) < 0.1

RANDOM = (
    Shape("LSTM", _lstm(5, 8), (40, 3)),
    Shape("LSTM-unbatched", _lstm(1, 16), (30,)),
    Shape("LSTM-batch-first", _lstm(8, 32), (2, 16), {"batch_first": True}),
    Shape("LSTM-no-bias", _lstm(6, 5, bias=False), (30, 1)),
    Shape("LSTM-reset", _lstm(5, 8), (40, 3), {"reset": _RESET}),
    Shape("LSTM-bidirectional-ragged", _lstm(5, 7, bidirectional=True), (20, 4), {"lengths": np.array([20, 7, 13, 2])}),
    Shape("LSTM-2-layer-bidirectional", _lstm(3, 6, num_layers=2, bidirectional=True), (24, 2)),
    Shape("LSTM-2-layer-projected", _lstm(4, 8, num_layers=2, proj_size=3), (20, 3)),
    Shape("cell", _cell(6, 8), (3,)),
    Shape("forecaster", _forecaster(4, 8, 2), (3, 20)),
    Shape("by-hand", lambda rng: init_by_hand(_seed_of(rng), np.float64), (3, 8)),
)
TRAINED = (
    Shape("LSTM", _lstm(8, 16), (60, 2)),
    Shape("LSTM-one-row", _lstm(4, 32), (100, 1)),
    Shape("LSTM-2-layer", _lstm(8, 16, num_layers=2), (40, 2)),
    Shape("LSTM-3-layer", _lstm(8, 32, num_layers=3), (120, 2)),
    Shape("LSTM-bidirectional-ragged", _lstm(6, 12, bidirectional=True), (50, 3), {"lengths": np.array([21, 50, 34])}),
    Shape("LSTM-projected", _lstm(8, 24, proj_size=6), (40, 2)),
    Shape("cell", _cell(16, 16), (3,)),
    Shape("forecaster", _forecaster(6, 16, 3), (2, 40)),
)
REAL = (
    Shape("voice-encoder", _real("voice-encoder"), (40, 1)),
    Shape("language-identifier", _real("language-identifier"), (24, 1)),
    Shape("vad-cell", _real("vad-cell"), (2,)),
    Shape("mandarin-tagger", _real("mandarin-tagger"), (20, 2)),
    Shape("protein-tagger", _real("protein-tagger"), (40, 2)),
)
ILL = (
    *(Shape(f"LSTM-{h}", _lstm(5, h), (time, 2)) for time, h in ((60, 16), (60, 32), (100, 8), (160, 8), (160, 16))),
    Shape("LSTM-2-layer", _lstm(5, 16, num_layers=2), (60, 2)),
    Shape("LSTM-bidirectional", _lstm(5, 8, bidirectional=True), (60, 2)),
)
KINDS = ("random", "trained-like", "ill-conditioned")


def draw_model(kind: str, rng: np.random.Generator, *, by_hand: bool = True) -> Model:
    """Draw one model of a kind with its inputs. ``by_hand`` says whether it may be the by-hand model."""
    shapes = {"random": RANDOM, "trained-like": TRAINED, "ill-conditioned": ILL}[kind]
    if not by_hand:
        shapes = tuple(shape for shape in shapes if shape.name != "by-hand")
    if real := kind == "trained-like" and rng.random() < 0.2:
        shapes = REAL
    number = int(rng.integers(len(shapes)))
    shape = shapes[number]
    weights, name, size = shape.make(rng), shape.name, 1.0
    if kind == "trained-like":
        size = rng.uniform(1, 4)
        weights = weights if real else _as_trained(weights, rng)
    elif kind == "ill-conditioned":
        gain = float(rng.choice(GAINS))
        name = f"{name}, gain {gain:.0f}, {shape.leading[0]} steps"
        weights = {n: array * gain if "weight_hh" in n else array for n, array in weights.items()}
    spec = describe(weights)
    lstm: Any = getattr(spec, "lstm", spec)
    features = () if isinstance(spec, ByHandSpec) else (lstm.input_size,)
    inputs = size * rng.standard_normal((*shape.leading, *features))
    state = None
    if not isinstance(spec, ByHandSpec) and rng.random() < 0.5:  # otherwise check draws it
        unbatched = not isinstance(spec, CellSpec) and inputs.ndim == 2
        first = shape.options.get("batch_first") or name.startswith("forecaster")
        batch = () if unbatched else (shape.leading[0 if first or isinstance(spec, CellSpec) else 1],)
        rows = batch if isinstance(spec, CellSpec) else (lstm.num_layers * len(lstm.directions), *batch)
        state_size = lstm.hidden_size if isinstance(spec, CellSpec) else lstm.state_size
        state = (np.tanh(rng.standard_normal((*rows, state_size))), rng.standard_normal((*rows, lstm.hidden_size)))
    return Model(name, weights, inputs, shape.options, state, seed=number)


def sources() -> dict[str, str]:
    """Return where each real model comes from on this machine: "wheel" or "look-alike"."""
    from real_models import source  # pyright: ignore[reportMissingImports]  in parity_tests/helpers

    return {shape.name: source(shape.name) for shape in REAL}


def _as_trained(weights: Weights, rng: np.random.Generator) -> Weights:
    gain, inputs_gain = rng.uniform(2, 4), rng.uniform(1, 3)
    made = {}
    for name, array in weights.items():
        if "weight_hh" in name:
            blocks = np.split(array, 4)
            array = np.concatenate([_trained_block(b * gain, k == 2, rng) for k, b in enumerate(blocks)])
        elif "weight_ih" in name:
            array = array * inputs_gain
        elif "bias_ih" in name:
            size = len(array) // 4
            array = array + 0.3 * rng.standard_normal(array.shape)
            array[size : 2 * size] += 1
        made[name] = array
    return made


def _trained_block(block: np.ndarray, holds_back: bool, rng: np.random.Generator) -> np.ndarray:
    """Return a recurrent block of a gate with the same sum of squares and the singular values of a trained one."""
    left, _, right = np.linalg.svd(block, full_matrices=False)
    values = np.arange(1, len(right) + 1) ** -rng.uniform(0.3, 1)
    if holds_back and block.shape[0] == block.shape[1]:
        alignment = -rng.uniform(0.1, 0.35)
        left, _ = np.linalg.qr(alignment * right.T + np.sqrt(1 - alignment**2) * left)
        left *= np.sign(np.sum(left * right.T, axis=0)) * -1  # QR may flip the sign of vectors
    return (left * values) @ right * (np.linalg.norm(block) / np.linalg.norm(values))
