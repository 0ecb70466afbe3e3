"""``LSTM`` as a Flax linen module, with ``torch.nn.LSTM``'s arguments and its ``state_dict()`` as ``params``."""

import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike

from jax_lstm.arguments import wrong_options, wrong_precision
from jax_lstm.initial_weights import uniform_initializer
from jax_lstm.stack import lstm
from lstm_shared.argument_kinds import wrong_probability, wrong_switches
from lstm_shared.describe import require_spec
from lstm_shared.errors import InputError
from lstm_shared.model_arguments import wrong_dtype, wrong_sizes
from lstm_shared.requirements import say_what_to_install
from lstm_shared.specs import LSTMSpec

with say_what_to_install(__name__, {"flax": "Flax"}, extra="jax"):
    import flax.linen as nn


class LSTM(nn.Module):
    """All of ``torch.nn.LSTM`` as a linen module. See ``jax_lstm.lstm`` for shapes and options.

    ``variables["params"]`` is the weight dictionary. Its names, shapes and initial distribution (U(±1/√hidden_size))
    are torch's. ``{"params": weights}`` works as this module's variables with any LSTM dictionary of its sizes.

    The arguments are torch's, with the same meanings and defaults, plus the following.

    Args:
        param_dtype: dtype of new weights.
        precision, implementation, recompute: as in ``jax_lstm.lstm``.

    Raises:
        InputError: an argument is wrong. The message names everything that is wrong.
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
        """Return (outputs, (h_n, c_n)), as ``jax_lstm.lstm`` does.

        To train with dropout, pass ``deterministic=False`` and ``rngs={"dropout": key}``.

        Raises:
            WeightsError: ``params`` does not have this module's sizes. The message names everything that differs.
            InputError: as in ``jax_lstm.lstm``.
        """
        InputError.raise_any(wrong_switches(deterministic=deterministic))
        spec = LSTMSpec(
            self.input_size, self.hidden_size, self.num_layers, self.bias, self.bidirectional, self.proj_size
        )
        if not self.is_initializing():
            # Flax would ignore weights that this module has no name for, such as those of a reverse direction.
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
