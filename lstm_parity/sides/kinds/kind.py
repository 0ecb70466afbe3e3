"""What every kind of model must say of itself: facts that others ask for, and how a call of it is made and computed."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from lstm_parity.annotations import NumPyWeights
from lstm_parity.sides.call import Arrays, Call
from lstm_parity.sides.kinds.records import Asked, Backward, Given, JaxForward, Layers, Orders, Sizes, TorchForward
from lstm_shared.specs import LSTMSpec, Spec
from lstm_shared.traces import ByHandTrace, LSTMTrace

if TYPE_CHECKING:
    from torch import nn

    from jax_lstm.training import Loss

S = TypeVar("S", bound=Spec, covariant=True)


class ModelKind(ABC, Generic[S]):
    """The adapter of one model. The facts below are those of most kinds; a kind says what is otherwise.

    Attributes:
        spec: the model and its sizes.
        spec_type: the class of its specs.
        name: what the kind is called in a search and in what it has reached.
        says: the forward array that a port returns first and ``diagnose`` explains.
        states: the names of its initial states.
        returns: what a port of it returns, in words.
        no_port: why a port of it is not judged; empty where one is.
        prefix: of the names of the LSTM's weights inside.
        single_unit: whether it is one unit whose weights are single numbers: no sums, no rows of gates.
        has_steps: whether it runs over steps; without them there are no traces, and nothing can be cut off.
        says_each_step: whether what it says has the steps as an axis.
        trace_axes: how many axes of a trace stand before those of the inputs.
        batch_first: whether its inputs are always (batch, time, features), of at least one step.
        draws_state: whether a check draws its state, and also calls it without one.
        takes_sequence_options: whether it takes ``batch_first``, ``lengths`` and ``reset``.
        has_implementations: whether ``jax_lstm`` has several for it.
        has_layouts: whether other frameworks' layouts hold its weights.
        is_nn_lstm: whether ``torch.nn.LSTM(1, 1)`` is a third implementation of it.
    """

    spec_type: ClassVar[type]
    name: ClassVar[str]
    says: ClassVar[str]
    states: ClassVar[tuple[str, str]] = ("h", "c")
    returns: ClassVar[str] = "outputs or (outputs, (h_n, c_n))"
    no_port: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    single_unit: ClassVar[bool] = False
    has_steps: ClassVar[bool] = True
    says_each_step: ClassVar[bool] = True
    trace_axes: ClassVar[int] = 2
    batch_first: ClassVar[bool] = False
    draws_state: ClassVar[bool] = True
    takes_sequence_options: ClassVar[bool] = False
    has_implementations: ClassVar[bool] = False
    has_layouts: ClassVar[bool] = False
    is_nn_lstm: ClassVar[bool] = False

    def __init__(self, spec: S) -> None:
        self.spec: S = spec

    # Facts that depend on the sizes

    @property
    def lstm(self) -> LSTMSpec | None:
        """The LSTM that runs over its sequences; None for a cell and by hand."""
        return None

    @property
    def has_bias(self) -> bool:
        """Whether there are biases: by hand, always."""
        return True

    @property
    def both_directions(self) -> bool:
        """Whether what it says holds both directions side by side."""
        return False

    def time_axis(self, call: Call) -> int:
        """Which axis of the inputs the steps are, where it has steps."""
        return 1 if call.inputs.ndim == 3 and call.batch_first else 0

    def time(self, call: Call) -> int:
        """Steps of the inputs, days by hand, 1 for a cell."""
        return call.inputs.shape[self.time_axis(call)]

    def multiplies_inputs(self, name: str) -> bool:
        """Whether the weight of this name multiplies the inputs themselves."""
        return name.rpartition(".")[2].removesuffix("_reverse") in ("weight_ih", "weight_ih_l0")

    # How a call of it is made

    @classmethod
    @abstractmethod
    def spec_of(cls, sizes: Sizes) -> Spec:
        """The model of these sizes."""

    @abstractmethod
    def input_shape(self, rows: tuple[int, ...], steps: int, *, batch_first: bool) -> tuple[int, ...]:
        """The shape of inputs of so many steps; ``rows`` is () or (batch,)."""

    @abstractmethod
    def state_shapes(self, rows: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of its initial states, in the order of ``states``."""

    def zero_state(self, rows: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Its initial states where none were given."""
        first, second = self.state_shapes(rows)
        return np.zeros(first), np.zeros(second)

    @abstractmethod
    def make(self, weights: Arrays, given: Given, rng: np.random.Generator) -> Call:
        """Check what was given and fill in what was left out; a state that was left out is zero.

        Raises:
            InputError: as the backends would say it.
        """

    def require_steps(self, shape: tuple[int, ...]) -> None:
        """Raise an InputError where of inputs of this shape nothing would be computed, and nothing compared."""

    # How it is computed

    @abstractmethod
    def jax_forward(self, call: Call, implementation: str) -> JaxForward:
        """The model in JAX. Without a state it is called without one."""

    @abstractmethod
    def torch_forward(self, module: "nn.Module", call: Call) -> TorchForward:
        """The reference module of its kind in torch, called likewise."""

    @abstractmethod
    def exact(self, call: Call) -> tuple[Arrays, Backward]:
        """The forward arrays in NumPy, and what computes the gradients; the call's arrays are long double."""

    def jax_trace(self, call: Call) -> ByHandTrace | LSTMTrace:
        """Every gate and state in JAX."""
        raise NotImplementedError(f"a {self.name} has no trace")

    def torch_trace(self, call: Call) -> ByHandTrace | LSTMTrace:
        """Every gate and state in torch."""
        raise NotImplementedError(f"a {self.name} has no trace")

    @abstractmethod
    def orders(self, call: Call, rng: np.random.Generator) -> Orders | None:
        """An order of hidden units and input features, for every array; None where there is one unit only."""

    # How ports of it are judged and explained

    def named(self, returned: object) -> dict[str, object] | None:
        """What a port returned by the names of the forward arrays; None if it is not what ``returns`` says."""
        if not isinstance(returned, tuple | list):
            return {"outputs": returned}
        if len(returned) == 2 and isinstance(returned[1], tuple | list) and len(returned[1]) == 2:
            return {"outputs": returned[0], "h_n": returned[1][0], "c_n": returned[1][1]}
        return None

    @abstractmethod
    def layers(self, weights: Arrays, asked: Asked) -> Layers:
        """What ``diagnose`` was asked, as a question about an LSTM.

        Raises:
            InputError: everything that is wrong with the arguments.
        """

    # How it is trained. What is below is a forecaster's, whose functions refuse the weights of others by name.

    def jax_loss(self) -> "Loss":
        """The loss that ``jax_lstm.fit`` takes."""
        import jax_lstm

        return jax_lstm.forecaster.loss

    def jax_predict(self, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
        """What comes after each sequence, by JAX."""
        import jax_lstm

        return np.asarray(jax_lstm.forecast(weights, inputs, batch_first=True))

    def torch_predict(self, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
        """What comes after each sequence, by torch."""
        import torch_lstm
        from lstm_shared.tensors import to_array, to_tensor

        return to_array(torch_lstm.Forecaster(weights)(to_tensor(inputs)))
