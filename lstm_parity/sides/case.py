"""One case to check: weights, inputs, initial states, and the fixed random cotangents of the loss."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import ml_dtypes  # noqa: F401  teaches NumPy the name bfloat16
import numpy as np
from numpy.typing import ArrayLike

from lstm_parity.annotations import States, Weights
from lstm_parity.sides.call import Call, Observation
from lstm_parity.sides.kinds import Given, ModelKind, kind_of
from lstm_parity.sides.kinds.records import DRAWN_BATCH, drawn_time, native
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.finite import not_finite
from lstm_shared.specs import Spec, in_words

__all__ = ["DRAWN_BATCH", "DRAWN_TIME", "Case", "Observation", "make_case"]

DRAWN_TIME = drawn_time()


@dataclass(frozen=True)
class Case(Call):
    """Everything a backend needs to compute the observations of a check: a call, and the Adam steps after it.

    Attributes:
        steps: the number of Adam steps to take.
        seed: the seed from which the cotangents (and the inputs, if none were given) are drawn.
    """

    steps: int = 0
    seed: int = 0

    @property
    def kind(self) -> ModelKind[Spec]:
        """The adapter of the model."""
        return kind_of(self.spec)

    @property
    def time(self) -> int:
        """The number of steps in the inputs; by hand, the number of days; 1 for a cell."""
        return self.kind.time(self)

    @property
    def time_axis(self) -> int:
        """The index of the time axis in the inputs. Not for a cell, which has none."""
        return self.kind.time_axis(self)

    def without_state(self) -> "Case":
        """Return the case without a state: implementations then start from zero."""
        return replace(self, state={})

    def first_steps(self, steps: int) -> "Case":
        """Return the case with its sequences cut off after ``steps`` steps (days). Not for a cell, which has one."""
        axis = self.time_axis

        def cut(array: np.ndarray, axis: int = axis) -> np.ndarray:
            return array[(slice(None),) * axis + (slice(steps),)]

        by_step = ("outputs", "long_memory", "short_memory")
        return replace(
            self,
            inputs=cut(self.inputs),
            cotangents={name: cut(array) if name in by_step else array for name, array in self.cotangents.items()},
            lengths=None if self.lengths is None else np.minimum(self.lengths, steps),
            reset=None if self.reset is None else cut(self.reset),
        )

    @property
    def read_inputs(self) -> np.ndarray:
        """The inputs without the padding, which no model reads. With lengths, the shape is (steps read, features)."""
        if self.lengths is None:
            return self.inputs
        steps = np.arange(self.time).reshape(-1, 1) < np.atleast_1d(self.lengths)
        steps = steps.T if self.inputs.ndim == 3 and self.batch_first else steps
        return self.inputs[steps.reshape(self.inputs.shape[:-1])]

    def not_finite(self) -> list[str]:
        """Return a line for each weight, state and input array that holds NaN or infinity."""
        return not_finite({**self.weights, **self.state, "inputs": self.read_inputs})

    def astype(self, dtype: str) -> "Case":
        """Return the case with all floating-point arrays rounded to ``dtype``. Numbers too large become infinite."""

        def cast(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: array.astype(np.dtype(dtype)) for name, array in arrays.items()}

        with np.errstate(over="ignore"):  # ``not_finite`` reports it
            return replace(
                self,
                weights=cast(self.weights),
                inputs=self.inputs.astype(np.dtype(dtype)),
                state=cast(self.state),
                cotangents=cast(self.cotangents),
            )


def make_case(
    weights: Weights,
    inputs: ArrayLike | None = None,
    *,
    state: States | None = None,
    batch_first: bool = False,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    steps: int = 10,
    seed: int = 0,
    draw_state: bool = False,
) -> Case:
    """Check the arguments of ``check`` and fill in what was left out.

    Args:
        draw_state: whether to draw a state that is left out, as ``check`` does. Otherwise, and always for the
            by-hand model, the state is zero.

    Raises:
        WeightsError, InputError: if the backends would refuse an argument, or if a weight, a state or an input outside
            the padding is NaN or infinite.
    """
    spec = describe(weights)
    arrays = {name: native(weights[name]) for name in spec.shapes}
    WeightsError.raise_any(not_finite(arrays))
    rng = np.random.default_rng(seed)
    kind = kind_of(spec)
    if not kind.takes_sequence_options and (lengths is not None or reset is not None):
        raise InputError(f"lengths and reset are for an LSTM; these are the weights of {in_words(spec)}")
    call = kind.make(arrays, Given(inputs, state, batch_first, lengths, reset), rng)
    case = Case(**vars(call), steps=steps, seed=seed)
    if draw_state and state is None and kind.draws_state:
        case = replace(case, state={name: _drawn_state(name, array.shape, rng) for name, array in case.state.items()})
    InputError.raise_any(case.not_finite())
    return case


def _drawn_state(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw a state that the model could have reached: h is within (-1, 1), c may be larger."""
    drawn = rng.standard_normal(shape)
    return np.tanh(drawn) if name in ("h", "short_memory") else drawn
