"""The LSTM by hand as pure JAX functions: ``lax.scan`` runs a unit with twelve scalar weights over the days.

Everything is a function of (weights, data), so ``jit``, ``grad``, ``vmap`` and every other transform work. Note the
order of the memories: (long, short), as in the articles. That is (c, h), where ``torch.nn.LSTM`` has (h, c).
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jax_lstm.arrays import common_dtype, outside_jit, to_jax
from lstm_shared.by_hand import BY_HAND
from lstm_shared.describe import require_by_hand
from lstm_shared.inputs import read_labelled, read_numbers, read_prices, require_labels
from lstm_shared.traces import ByHandTrace

Params = Mapping[str, ArrayLike]
Weights = Mapping[str, Array]


def lstm_unit(
    params: Params, input_value: ArrayLike, long_memory: ArrayLike, short_memory: ArrayLike
) -> tuple[Array, Array]:
    """Run one day: how much to remember, what to add and what to output.

    The equations are from Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, as written in
    *The StatQuest Illustrated Guide to Neural Networks and AI*, chapter 8::

        long_remember_percent      = sigmoid(short_memory · wlr1 + input_value · wlr2 + blr1)     # forget gate
        potential_remember_percent = sigmoid(short_memory · wpr1 + input_value · wpr2 + bpr1)     # input gate
        potential_memory           = tanh(short_memory · wp1 + input_value · wp2 + bp1)           # candidate
        long_memory'               = long_memory · long_remember_percent
                                     + potential_remember_percent · potential_memory
        output_percent             = sigmoid(short_memory · wo1 + input_value · wo2 + bo1)        # output gate
        short_memory'              = tanh(long_memory') · output_percent

    Args:
        params: the twelve scalars (``lstm_shared.BY_HAND``).
        input_value: the day's price, a scalar. An array is taken elementwise, as independent units.
        long_memory: the long memory of the day before (the cell state c).
        short_memory: the output of the day before (the hidden state h).

    Returns:
        (long_memory, short_memory) after the day.

    Raises:
        WeightsError: ``params`` is not the by-hand model's dictionary.
        InputError: a value or memory is not a number.
    """
    require_by_hand(params)
    values = read_numbers(input_value=input_value, long_memory=long_memory, short_memory=short_memory)
    arrays = _in_one_dtype(*(to_jax(params[name]) for name in BY_HAND), *map(to_jax, values))
    step = _day(dict(zip(BY_HAND, arrays, strict=False)), *arrays[len(BY_HAND) :])
    return step.long_memory, step.short_memory


def predict(
    params: Params, prices: ArrayLike, long_memory: ArrayLike = 0.0, short_memory: ArrayLike = 0.0
) -> Float[Array, " *series"]:
    """Read the prices day by day and return the last short memory, the prediction for the day after.

    Args:
        params: the twelve scalars; the computation runs in their dtype.
        prices: ``(days,)``, any number of days; or ``(*series, days)`` for independent series.
        long_memory: the long memory before the first day; a scalar, or one per series.
        short_memory: the short memory before the first day, likewise.

    Returns:
        ``()`` or ``(*series,)``: the short memory after the last day. If there are no days, the one given.

    Raises:
        WeightsError: ``params`` is not the by-hand model's dictionary.
        InputError: the prices have no day axis or are whole numbers, or a memory does not fit the series.
    """
    prepared = _prepare(params, prices, long_memory, short_memory)
    return (_predict_compiled if outside_jit(prepared) else _predict)(*prepared)


def _predict(params: Weights, days: Array, memories: tuple[Array, Array]) -> Array:
    def day(memories: tuple[Array, Array], price: Array) -> tuple[tuple[Array, Array], None]:
        step = _day(params, price, *memories)
        return (step.long_memory, step.short_memory), None

    if _no_days(days):
        return memories[1]
    (_, short_memory), _ = lax.scan(day, memories, days)
    return short_memory


def trace(
    params: Params, prices: ArrayLike, long_memory: ArrayLike = 0.0, short_memory: ArrayLike = 0.0
) -> ByHandTrace:
    """Run like ``predict``, and return the gates and both memories of every day, each ``(*series, days)``."""
    prepared = _prepare(params, prices, long_memory, short_memory)
    return (_trace_compiled if outside_jit(prepared) else _trace)(*prepared)


def _trace(params: Weights, days: Array, memories: tuple[Array, Array]) -> ByHandTrace:
    def day(memories: tuple[Array, Array], price: Array) -> tuple[tuple[Array, Array], ByHandTrace]:
        step = _day(params, price, *memories)
        return (step.long_memory, step.short_memory), step

    if _no_days(days):
        return ByHandTrace(*(jnp.moveaxis(days, 0, -1) for _ in ByHandTrace._fields))
    _, steps = lax.scan(day, memories, days)
    return jax.tree.map(lambda field: jnp.moveaxis(field, 0, -1), steps)


_predict_compiled, _trace_compiled = jax.jit(_predict), jax.jit(_trace)


def loss(params: Params, batch: tuple[ArrayLike, ArrayLike]) -> tuple[Float[Array, ""], Float[Array, " batch"]]:
    """Return the mean squared residual of a batch. With one company it is the squared residual of the articles.

    Args:
        params: the twelve scalars.
        batch: (prices (batch, days), labels (batch,)).

    Returns:
        (loss, predictions (batch,)), ready for ``jax.value_and_grad(loss, has_aux=True)``.

    Raises:
        WeightsError, InputError: as in ``predict``; also if the batch is not a pair, or lacks one label per series.
    """
    prices, labels = read_labelled(batch, "prices")
    predictions = predict(params, prices)
    require_labels(labels, predictions)
    return jnp.mean((predictions - to_jax(labels).astype(predictions.dtype)) ** 2), predictions


def _day(params: Weights, price: Array, long_memory: Array, short_memory: Array) -> ByHandTrace:
    def gate(squash: Callable[[Array], Array], name: str) -> Array:
        return squash(short_memory * params[f"w{name}1"] + price * params[f"w{name}2"] + params[f"b{name}1"])

    long_remember_percent = gate(jax.nn.sigmoid, "lr")
    potential_remember_percent = gate(jax.nn.sigmoid, "pr")
    potential_memory = gate(jnp.tanh, "p")
    output_percent = gate(jax.nn.sigmoid, "o")
    long_memory = long_memory * long_remember_percent + potential_remember_percent * potential_memory
    short_memory = jnp.tanh(long_memory) * output_percent
    return ByHandTrace(
        long_remember_percent, potential_remember_percent, potential_memory, output_percent, long_memory, short_memory
    )


def _prepare(
    params: Params, prices: ArrayLike, long_memory: ArrayLike, short_memory: ArrayLike
) -> tuple[dict[str, Array], Array, tuple[Array, Array]]:
    require_by_hand(params)
    prices, *memories = read_prices(prices, long_memory, short_memory)
    arrays = _in_one_dtype(*(to_jax(params[name]) for name in BY_HAND))
    dtype = arrays[0].dtype
    days = jnp.moveaxis(to_jax(prices).astype(dtype), -1, 0)
    long_memory, short_memory = (jnp.broadcast_to(to_jax(memory).astype(dtype), days.shape[1:]) for memory in memories)
    return dict(zip(BY_HAND, arrays, strict=True)), days, (long_memory, short_memory)


def _no_days(days: Array) -> bool:
    """Return whether there are no days: a loop over none fails under ``disable_jit``.

    In a program that is exported for any number of days, the number is not known.
    """
    return isinstance(days.shape[0], int) and days.shape[0] == 0


def _in_one_dtype(*arrays: Array) -> list[Array]:
    """Cast the arrays to the dtype that JAX's usual promotion gives."""
    dtype = common_dtype(*arrays)
    return [array if array.dtype == dtype else array.astype(dtype) for array in arrays]
