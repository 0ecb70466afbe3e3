"""The records that go into and come out of the kinds of models, and the functions that the kinds share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from lstm_parity.annotations import States
from lstm_parity.sides.call import Arrays
from lstm_shared.specs import LSTMSpec

if TYPE_CHECKING:
    import jax
    from torch import Tensor

T = TypeVar("T")

# In JAX: (weights, inputs, state) -> name -> array. In torch: (inputs, state) -> name -> tensor.
JaxArrays: TypeAlias = "dict[str, jax.Array]"
TorchArrays: TypeAlias = "dict[str, Tensor]"
JaxForward: TypeAlias = "Callable[[JaxArrays, jax.Array, JaxArrays], JaxArrays]"
TorchForward: TypeAlias = "Callable[[Tensor, TorchArrays], TorchArrays]"
# Derivatives of the loss with respect to the forward arrays -> with respect to the weights, "inputs", "h" and "c".
Backward = Callable[[Arrays], Arrays]
# Name of an array -> for each element of the reordered array, the flat index of the original element.
Orders = dict[str, np.ndarray]

# The number of rows to draw if no inputs are given.
DRAWN_BATCH = 3


def drawn_time() -> int:
    """Return how many steps to draw if no inputs are given: two chunks of the fast backward pass and a remainder."""
    from jax_lstm.recurrences.choose import chunk_steps

    return 2 * chunk_steps(DRAWN_BATCH) + 5


class Given(NamedTuple):
    """What a caller passed for a case, unchecked. None means that it will be filled in."""

    inputs: ArrayLike | None
    state: States | None = None
    batch_first: bool = False
    lengths: ArrayLike | None = None
    reset: ArrayLike | None = None


class SequenceOptions(TypedDict):
    """The options that every function on sequences takes, in both backends."""

    batch_first: bool
    lengths: np.ndarray | None
    reset: np.ndarray | None


class Asked(NamedTuple):
    """The arguments of ``diagnose`` except the weights, as arrays. ``calls`` holds the outputs of one or two calls."""

    inputs: np.ndarray
    calls: list[np.ndarray]
    state: Sequence[np.ndarray] | None
    lengths: np.ndarray | None
    batch_first: bool


class Layers(NamedTuple):
    """A call and its outputs, as those of an LSTM, time-major with a batch axis, in the dtypes that were given.

    Attributes:
        spec: the LSTM.
        weights: the weights, by the names of ``torch.nn.LSTM``.
        inputs: (time, batch, input_size).
        state: h and c, (layers·directions, batch, size) each.
        valid: (time, batch), False in the padding; None without lengths.
        seen: the outputs of each call.
        known: True where the outputs are known; None if they are known everywhere.
    """

    spec: LSTMSpec
    weights: Arrays
    inputs: np.ndarray
    state: tuple[np.ndarray, np.ndarray]
    valid: np.ndarray | None
    seen: list[np.ndarray]
    known: np.ndarray | None = None


class Sizes(NamedTuple):
    """All sizes that any kind of model may have. Each kind uses the ones it needs."""

    inputs: int
    hidden: int
    outputs: int
    layers: int
    bias: bool
    bidirectional: bool
    projection: int


def native(value: ArrayLike) -> np.ndarray:
    """Return the value as an array in native byte order, which both frameworks need."""
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def native_pair(state: States | None) -> Any:
    """Return a pair of states as arrays. Anything else is returned unchanged: the checks will name and refuse it."""
    return tuple(map(native, state)) if isinstance(state, tuple | list) else state


def given_pair(state: Mapping[str, T]) -> tuple[T, T] | None:
    """Return the initial states in the form that the functions of both backends take; None if there are none."""
    return (state["h"], state["c"]) if state else None
