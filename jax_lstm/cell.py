"""``lstm_cell``: one step of one layer, like ``torch.nn.LSTMCell``."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax.lax import PrecisionLike
from jaxtyping import Array, ArrayLike, Float

from jax_lstm.arguments import wrong_precision
from jax_lstm.arrays import accumulation_dtype, to_jax
from jax_lstm.recurrences.step import DirectionWeights, Product, lstm_step
from lstm_shared.argument_kinds import as_array, as_arrays
from lstm_shared.describe import describe_as
from lstm_shared.inputs import require_cell_inputs
from lstm_shared.specs import CellSpec


def lstm_cell(
    params: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    precision: PrecisionLike = None,
) -> tuple[Float[Array, "*batch hidden"], Float[Array, "*batch hidden"]]:
    """Run one step, with the equations of ``torch.nn.LSTMCell``.

    Args:
        params: the ``state_dict()`` of a ``torch.nn.LSTMCell``: ``weight_ih`` (4·hidden_size, input_size),
            ``weight_hh`` (4·hidden_size, hidden_size), and optionally ``bias_ih`` and ``bias_hh`` (4·hidden_size,).
        inputs: (batch, input_size) or (input_size,).
        state: (h, c), each (batch, hidden_size) or (hidden_size,); zeros if left out.
        precision: precision of the matrix products, as in ``jax.numpy.matmul``.

    Returns:
        (h, c) after the step. h has the inputs' dtype; c is at least float32.

    Raises:
        WeightsError: ``params`` is not an LSTM cell's dictionary.
        InputError: another argument is wrong. Both errors name everything that is wrong.
    """
    spec = describe_as(params, CellSpec)
    problems = wrong_precision(precision)
    inputs = as_array("inputs", inputs, problems)
    state = as_arrays(state, ("h", "c"), problems)
    require_cell_inputs(spec, inputs, state, problems)
    inputs = to_jax(inputs)
    accumulate = accumulation_dtype(inputs.dtype)
    if state is None:
        h = c = jnp.zeros((*inputs.shape[:-1], spec.hidden_size), accumulate)
    else:
        h, c = map(to_jax, state)
    weights = {name: to_jax(params[name]).astype(accumulate) for name in spec.shapes}
    step = lstm_step(
        DirectionWeights(
            weights["weight_ih"].T,
            weights["weight_hh"].T,
            weights["bias_ih"] + weights["bias_hh"] if spec.bias else None,
            None,
        ),
        inputs,
        h.astype(inputs.dtype),
        c.astype(accumulate),
        Product(inputs.dtype, accumulate, precision),
    )
    return step.h, step.cell
