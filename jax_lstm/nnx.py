"""``LSTM`` as a Flax nnx module, with ``torch.nn.LSTM``'s arguments and one ``nnx.Param`` for each of its names."""

from collections.abc import Mapping
from typing import Any, Self

import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike

from jax_lstm.arguments import wrong_options, wrong_precision
from jax_lstm.arrays import to_jax
from jax_lstm.initial_weights import uniform_initializer
from jax_lstm.stack import lstm
from lstm_shared.argument_kinds import in_words, wrong_probability, wrong_switches
from lstm_shared.describe import describe_as
from lstm_shared.errors import InputError
from lstm_shared.model_arguments import wrong_dtype, wrong_sizes
from lstm_shared.requirements import say_what_to_install
from lstm_shared.specs import LSTMSpec

with say_what_to_install(__name__, {"flax": "Flax"}, extra="jax"):
    from flax import nnx


class LSTM(nnx.Module):
    """All of ``torch.nn.LSTM`` as an nnx module. See ``jax_lstm.lstm`` for shapes and options.

    Dropout is on while ``deterministic`` is False; ``model.train()`` and ``model.eval()`` set it.

    The arguments are torch's, with the same meanings and defaults, plus the following.

    Args:
        param_dtype: dtype of new weights.
        precision, implementation, recompute: as in ``jax_lstm.lstm``.
        rngs: draws the weights from its ``params`` stream and, in training, dropout from its ``dropout`` stream.

    Raises:
        InputError: an argument is wrong. The message names everything that is wrong.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        param_dtype: DTypeLike = jnp.float32,
        precision: PrecisionLike = None,
        implementation: str = "auto",
        recompute: int | None = None,
        rngs: nnx.Rngs,
    ):
        InputError.raise_any(
            wrong_sizes(input_size, hidden_size, num_layers, bias, bidirectional, proj_size)
            + wrong_switches(batch_first=batch_first)
            + wrong_probability("dropout", dropout)
            + wrong_dtype(param_dtype, "param_dtype")
            + wrong_precision(precision)
            + wrong_options(implementation, recompute)
            + ([] if isinstance(rngs, nnx.Rngs) else [f"rngs is {in_words(rngs)}, expected flax.nnx.Rngs"])
        )
        self.spec = LSTMSpec(input_size, hidden_size, num_layers, bias, bidirectional, proj_size)
        self.batch_first = batch_first
        self.dropout = dropout
        self.precision = precision
        self.implementation = implementation
        self.recompute = recompute
        self.deterministic = False
        self.rngs = rngs.fork() if dropout else None
        initializer = uniform_initializer(hidden_size)
        for name, shape in self.spec.shapes.items():
            setattr(self, name, nnx.Param(initializer(rngs.params(), shape, param_dtype)))

    @classmethod
    def from_weights(cls, weights: Mapping[str, ArrayLike], **options: Any) -> Self:
        """Make a module with the sizes and values of an LSTM dictionary; ``options`` are the other arguments.

        Raises:
            WeightsError: the dictionary is not an LSTM's.
        """
        spec = describe_as(weights, LSTMSpec)
        module = cls(**vars(spec), **{"rngs": nnx.Rngs(0), **options})
        for name in spec.shapes:
            setattr(module, name, nnx.Param(to_jax(weights[name])))
        return module

    @property
    def weights(self) -> dict[str, Array]:
        """The weight dictionary with torch's names, which ``jax_lstm.lstm`` and ``lstm_shared.save`` take."""
        return {name: getattr(self, name)[...] for name in self.spec.shapes}

    def __call__(
        self,
        inputs: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return (outputs, (h_n, c_n)), as ``jax_lstm.lstm`` does."""
        dropout = 0.0 if self.deterministic else self.dropout
        return lstm(
            self.weights,
            inputs,
            state,
            batch_first=self.batch_first,
            lengths=lengths,
            reset=reset,
            dropout=dropout,
            key=self.rngs.dropout() if dropout and self.rngs else None,
            precision=self.precision,
            implementation=self.implementation,
            recompute=self.recompute,
        )
