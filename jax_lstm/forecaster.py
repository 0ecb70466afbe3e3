"""The forecaster: an LSTM and a linear head on the last output of each sequence."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jax_lstm.arrays import to_jax
from jax_lstm.stack import lstm
from lstm_shared.describe import describe_as
from lstm_shared.inputs import read_labelled, require_labels
from lstm_shared.specs import ForecasterSpec


def forecast(params: Mapping[str, ArrayLike], inputs: ArrayLike, **lstm_options: Any) -> Float[Array, "*batch output"]:
    """Read sequences and predict from the last output of each.

    Args:
        params: the LSTM's weights with the prefix ``lstm.``, and the head's ``fc.weight`` (output_size, features) and
            ``fc.bias`` (output_size,). This is the ``state_dict()`` of ``torch_lstm.Forecaster``.
        inputs: as in ``lstm``.
        lstm_options: the options of ``lstm``. With ``lengths``, the last output is the one at each sequence's own end;
            for a sequence without steps it is zero.

    Returns:
        (batch, output_size), or (output_size,) for unbatched inputs.

    Raises:
        WeightsError: ``params`` is not a forecaster's dictionary.
        InputError: another argument is wrong. Both errors name everything that is wrong.
    """
    spec = describe_as(params, ForecasterSpec)
    weights = {name.removeprefix("lstm."): params[name] for name in spec.shapes if name.startswith("lstm.")}
    outputs, _ = lstm(weights, inputs, **lstm_options)
    time_axis = 1 if outputs.ndim == 3 and lstm_options.get("batch_first") else 0
    last = _last(jnp.moveaxis(outputs, time_axis, 0), lstm_options.get("lengths"))
    head, bias = (to_jax(params[name]).astype(outputs.dtype) for name in ("fc.weight", "fc.bias"))
    predictions = jnp.matmul(last, head.T, precision=lstm_options.get("precision"))
    return predictions + jnp.broadcast_to(bias, predictions.shape)


def loss(
    params: Mapping[str, ArrayLike], batch: tuple[ArrayLike, ArrayLike]
) -> tuple[Float[Array, ""], Float[Array, "batch output"]]:
    """Return the mean squared error of a batch, for ``fit``.

    Args:
        batch: (inputs (batch, time, input_size), labels (batch, output_size)).

    Returns:
        (loss, predictions (batch, output_size)).

    Raises:
        WeightsError, InputError: as in ``forecast``; also if the batch is not a pair, or the labels do not fit.
    """
    inputs, labels = read_labelled(batch, "inputs")
    predictions = forecast(params, inputs, batch_first=True)
    require_labels(labels, predictions)
    return jnp.mean((predictions - to_jax(labels).astype(predictions.dtype)) ** 2), predictions


def _last(outputs: Float[Array, "time *batch features"], lengths: ArrayLike | None) -> Array:
    if not outputs.shape[0]:
        return jnp.zeros(outputs.shape[1:], outputs.dtype)
    if lengths is None:
        return outputs[-1]
    # Length 0 takes the first output, which is padding and therefore zero.
    rows = jnp.clip(jnp.asarray(lengths) - 1, 0, outputs.shape[0] - 1)
    return jnp.take_along_axis(outputs, rows[None, ..., None], axis=0)[0]
