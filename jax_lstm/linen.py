"""``LSTM`` as a Flax linen module: ``torch.nn.LSTM``'s arguments, and its ``state_dict()`` as ``params``."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike

from jax_lstm.arguments import wrong_options, wrong_precision
from jax_lstm.stack import lstm
from lstm_shared.argument_kinds import wrong_probability, wrong_switches
from lstm_shared.describe import require_spec
from lstm_shared.errors import InputError
from lstm_shared.model_arguments import wrong_dtype, wrong_sizes
from lstm_shared.specs import LSTMSpec


class LSTM(nn.Module):
    """All of ``torch.nn.LSTM``; see ``jax_lstm.lstm`` for shapes and options.

    ``variables["params"]`` is the weight dictionary: the names, shapes and initial distribution (U(±1/√hidden_size))
    are torch's, and ``{"params": weights}`` with any LSTM dictionary are this module's variables.

    Args are torch's, with its meanings and defaults, and:
        param_dtype: dtype of new weights.
        precision, implementation, recompute: as in ``jax_lstm.lstm``.

    Raises:
        InputError: everything that is wrong with the arguments.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    param_dtype: DTypeLike = jnp.float32
    precision: PrecisionLike = None
    implementation: str = "auto"
    recompute: int | None = None

    def __post_init__(self):
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.bias, self.bidirectional, self.proj_size)
        InputError.raise_any(
            wrong_sizes(*sizes)
            + wrong_switches(batch_first=self.batch_first)
            + wrong_probability("dropout", self.dropout)
            + wrong_dtype(self.param_dtype, "param_dtype")
            + wrong_precision(self.precision)
            + wrong_options(self.implementation, self.recompute)
        )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[Array, tuple[Array, Array]]:
        """(outputs, (h_n, c_n)). Training with dropout: ``deterministic=False`` and ``rngs={"dropout": key}``.

        Raises:
            WeightsError: ``params`` is not a dictionary of these sizes. The message names everything that differs.
            InputError: as ``jax_lstm.lstm``.
        """
        InputError.raise_any(wrong_switches(deterministic=deterministic))
        spec = LSTMSpec(
            self.input_size, self.hidden_size, self.num_layers, self.bias, self.bidirectional, self.proj_size
        )
        if not self.is_initializing():
            # Flax would ignore what this module has no name for, such as a reverse direction.
            require_spec(self.variables.get("params", {}), spec)
        initializer = uniform_initializer(self.hidden_size)
        params = {name: self.param(name, initializer, shape, self.param_dtype) for name, shape in spec.shapes.items()}
        dropout = 0.0 if deterministic else self.dropout
        return lstm(
            params,
            inputs,
            state,
            batch_first=self.batch_first,
            lengths=lengths,
            reset=reset,
            dropout=dropout,
            key=self.make_rng("dropout") if dropout else None,
            precision=self.precision,
            implementation=self.implementation,
            recompute=self.recompute,
        )


def uniform_initializer(hidden_size: int) -> Callable[..., Array]:
    """torch's: U(±1/√hidden_size) for every weight and bias, as ``initializer(key, shape, dtype)``."""
    bound = hidden_size**-0.5

    def initialize(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize
