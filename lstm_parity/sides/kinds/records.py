"""What is handed to the kinds of models and comes back from them, and what they share to read it."""

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

# Of JAX: (weights, inputs, state) -> name -> array. Of torch: (inputs, state) -> name -> tensor.
JaxArrays: TypeAlias = "dict[str, jax.Array]"
TorchArrays: TypeAlias = "dict[str, Tensor]"
JaxForward: TypeAlias = "Callable[[JaxArrays, jax.Array, JaxArrays], JaxArrays]"
TorchForward: TypeAlias = "Callable[[Tensor, TorchArrays], TorchArrays]"
# By the derivatives of the loss by the forward arrays, those by the weights and by "inputs", "h" and "c".
Backward = Callable[[Arrays], Arrays]
# Name of an array -> for each of its places, which one its number comes from, as a flat index.
Orders = dict[str, np.ndarray]

# Rows of inputs that are drawn when none are given.
DRAWN_BATCH = 3


def drawn_time() -> int:
    """Steps of inputs that are drawn: two whole chunks of the fast backward pass and a remainder."""
    from jax_lstm.recurrences.choose import chunk_steps

    return 2 * chunk_steps(DRAWN_BATCH) + 5


class Given(NamedTuple):
    """What a caller gave for a case, unchecked; None for what is to be filled in."""

    inputs: ArrayLike | None
    state: States | None = None
    batch_first: bool = False
    lengths: ArrayLike | None = None
    reset: ArrayLike | None = None


class SequenceOptions(TypedDict):
    """The options that every function over sequences takes, in both backends."""

    batch_first: bool
    lengths: np.ndarray | None
    reset: np.ndarray | None


class Asked(NamedTuple):
    """What ``diagnose`` was given beside the weights, as arrays; ``calls`` are the outputs of one call, or of two."""

    inputs: np.ndarray
    calls: list[np.ndarray]
    state: Sequence[np.ndarray] | None
    lengths: np.ndarray | None
    batch_first: bool


class Layers(NamedTuple):
    """A call and its outputs as those of an LSTM, time-major and with a batch axis, in the dtypes that were given.

    Attributes:
        weights: by the names of ``torch.nn.LSTM``.
        inputs: (time, batch, input_size).
        state: h and c, (layers·directions, batch, size) each.
        valid: (time, batch), False in the padding; None without lengths.
        seen: the outputs of each call.
        known: where the outputs were seen; None for everywhere.
    """

    spec: LSTMSpec
    weights: Arrays
    inputs: np.ndarray
    state: tuple[np.ndarray, np.ndarray]
    valid: np.ndarray | None
    seen: list[np.ndarray]
    known: np.ndarray | None = None


class Sizes(NamedTuple):
    """All sizes that a model of any kind may have; each kind takes those that it has."""

    inputs: int
    hidden: int
    outputs: int
    layers: int
    bias: bool
    bidirectional: bool
    projection: int


def native(value: ArrayLike) -> np.ndarray:
    """As an array in this machine's byte order, which both frameworks need."""
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def native_pair(state: States | None) -> Any:
    """A pair of states as arrays; anything else as it is, to be refused by name."""
    return tuple(map(native, state)) if isinstance(state, tuple | list) else state


def given_pair(state: Mapping[str, T]) -> tuple[T, T] | None:
    """The initial states as the functions of both backends take them."""
    return (state["h"], state["c"]) if state else None
