"""What every kind of model provides: facts about it, and how to make, compute and judge a call of it."""

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
    """The adapter of one model. The defaults below fit most kinds; each kind overrides what is different.

    Attributes:
        spec: the model and its sizes.
        spec_type: the class of its specs.
        name: the name of the kind, as ``fuzz`` prints it and ``kind_named`` takes it.
        says: the name of the main output: the forward array that a port returns first and that ``diagnose`` explains.
        states: the names of its initial states.
        returns: what a port of it returns, in words.
        no_port: why ports of it cannot be judged; empty if they can.
        prefix: the prefix of the weights of the LSTM inside it.
        single_unit: whether it is one unit whose weights are single numbers, without sums or rows of gates.
        has_steps: whether it runs over steps. If not, it has no traces, and it cannot be cut to fewer steps.
        says_each_step: whether its main output has a time axis.
        trace_axes: how many axes a trace has before those of the inputs.
        batch_first: whether its inputs are always (batch, time, features) with at least one step.
        draws_state: whether a check draws its state, and also calls it without one.
        takes_sequence_options: whether it takes ``batch_first``, ``lengths`` and ``reset``.
        has_implementations: whether ``jax_lstm`` has several implementations of it.
        has_layouts: whether its weights can be converted to the layouts of other frameworks.
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
        """The LSTM that runs over its sequences; None for a cell and for the by-hand model."""
        return None

    @property
    def has_bias(self) -> bool:
        """Whether the model has biases. The by-hand model always has them."""
        return True

    @property
    def both_directions(self) -> bool:
        """Whether its main output holds both directions side by side."""
        return False

    def time_axis(self, call: Call) -> int:
        """Return the index of the time axis in the inputs, for a kind that has steps."""
        return 1 if call.inputs.ndim == 3 and call.batch_first else 0

    def time(self, call: Call) -> int:
        """Return the number of steps in the inputs; by hand, the number of days; 1 for a cell."""
        return call.inputs.shape[self.time_axis(call)]

    def multiplies_inputs(self, name: str) -> bool:
        """Return whether the weight of this name multiplies the inputs themselves."""
        return name.rpartition(".")[2].removesuffix("_reverse") in ("weight_ih", "weight_ih_l0")

    # How a call of it is made

    @classmethod
    @abstractmethod
    def spec_of(cls, sizes: Sizes) -> Spec:
        """Return the model of these sizes."""

    @abstractmethod
    def input_shape(self, rows: tuple[int, ...], steps: int, *, batch_first: bool) -> tuple[int, ...]:
        """Return the shape of inputs with ``steps`` steps; ``rows`` is () or (batch,)."""

    @abstractmethod
    def state_shapes(self, rows: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of its initial states, in the order of ``states``."""

    def zero_state(self, rows: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the initial states to use if none were given."""
        first, second = self.state_shapes(rows)
        return np.zeros(first), np.zeros(second)

    @abstractmethod
    def make(self, weights: Arrays, given: Given, rng: np.random.Generator) -> Call:
        """Check what was given and fill in what was left out. A state that was left out is zero.

        Raises:
            InputError: if the backends would refuse an argument.
        """

    def require_steps(self, shape: tuple[int, ...]) -> None:
        """Raise an InputError if a model with inputs of this shape computes nothing that could be compared."""

    # How it is computed

    @abstractmethod
    def jax_forward(self, call: Call, implementation: str) -> JaxForward:
        """Return the forward pass in JAX. If the call has no state, the model is called without one."""

    @abstractmethod
    def torch_forward(self, module: "nn.Module", call: Call) -> TorchForward:
        """Return the forward pass of the torch reference module. If the call has no state, it is called without one."""

    @abstractmethod
    def exact(self, call: Call) -> tuple[Arrays, Backward]:
        """Return the forward arrays in NumPy and the function for the gradients. The call's arrays are long double."""

    def jax_trace(self, call: Call) -> ByHandTrace | LSTMTrace:
        """Return every gate and state, computed by JAX."""
        raise NotImplementedError(f"a {self.name} has no trace")

    def torch_trace(self, call: Call) -> ByHandTrace | LSTMTrace:
        """Return every gate and state, computed by torch."""
        raise NotImplementedError(f"a {self.name} has no trace")

    @abstractmethod
    def orders(self, call: Call, rng: np.random.Generator) -> Orders | None:
        """Draw an order of hidden units and input features, for every array; None if there is only one unit."""

    # How its ports are judged and explained

    def named(self, returned: object) -> dict[str, object] | None:
        """Return what a port returned, by forward array name; None if it does not have the form of ``returns``."""
        if not isinstance(returned, tuple | list):
            return {"outputs": returned}
        if len(returned) == 2 and isinstance(returned[1], tuple | list) and len(returned[1]) == 2:
            return {"outputs": returned[0], "h_n": returned[1][0], "c_n": returned[1][1]}
        return None

    @abstractmethod
    def layers(self, weights: Arrays, asked: Asked) -> Layers:
        """Turn the arguments of ``diagnose`` into those of an LSTM.

        Raises:
            InputError: if the arguments are wrong; it names every problem.
        """

    # How it is trained. The defaults are a forecaster's; its functions refuse the weights of other models.

    def jax_loss(self) -> "Loss":
        """Return the loss function for ``jax_lstm.fit``."""
        import jax_lstm

        return jax_lstm.forecaster.loss

    def jax_predict(self, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
        """Predict what follows each sequence, in JAX."""
        import jax_lstm

        return np.asarray(jax_lstm.forecast(weights, inputs, batch_first=True))

    def torch_predict(self, weights: NumPyWeights, inputs: np.ndarray) -> np.ndarray:
        """Predict what follows each sequence, in torch."""
        import torch_lstm
        from lstm_shared.tensors import to_array, to_tensor

        return to_array(torch_lstm.Forecaster(weights)(to_tensor(inputs)))
