"""Prepare price series for training: cut them into windows, scale them without looking ahead, score predictions."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole
from lstm_shared.prices.files import PriceSeries


@dataclass(frozen=True)
class PriceData:
    """Scaled windows to train on, and held-out ones. Pass ``train`` to ``fit`` as its data.

    Attributes:
        train: inputs (examples, window) and labels (examples,), scaled. Neither contains a held-out price.
        held_out: inputs (held-out days, window) and labels (held-out days,), scaled by the same ``low`` and ``high``.
            The first windows reach back into the training days.
        low: the price that is scaled to 0, the lowest of the training days.
        high: the price that is scaled to 1, the highest of the training days.
        training_prices: (training days,) float64, in the price's unit.
        held_out_prices: (held-out days,) float64, in the price's unit.
    """

    train: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]
    low: float
    high: float
    training_prices: np.ndarray
    held_out_prices: np.ndarray

    def scale(self, prices: Any) -> np.ndarray:
        """Scale prices in their own unit. The result has the same shape, and the dtype of the windows."""
        return _scaled(np.asarray(prices, np.float64), self.low, self.high).astype(self.train[0].dtype)

    def unscale(self, values: Any) -> np.ndarray:
        """Convert scaled values back to float64 prices of the same shape, in the price's unit."""
        return np.asarray(values).astype(np.float64) * (self.high - self.low) + self.low


class PriceError(NamedTuple):
    """The error of predictions, in the price's unit."""

    root_mean_square: float
    mean_absolute: float


@dataclass(frozen=True)
class HeldOutScore:
    """The errors over the held-out days: the model's, and those of two baselines that it has to beat.

    Attributes:
        model: the model's error.
        tomorrow_is_today: the error of predicting the price of the day before.
        training_mean: the error of predicting the mean of the training prices every day.
        days: number of held-out days.
        unreachable: number of these days whose price is outside the range of the model's output.
    """

    model: PriceError
    tomorrow_is_today: PriceError
    training_mean: PriceError
    days: int
    unreachable: int


def windows(series: Any, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every window of ``days`` consecutive values, and the value of the day after as its label.

    Args:
        series: (length,) numbers; integers become float64.
        days: length of a window, which must be shorter than the series.

    Returns:
        Copies: inputs (length - days, days) and labels (length - days,).

    Raises:
        InputError: the series is not one row of numbers, or is not longer than the window.
    """
    array = _numbers(series, "series")
    _require_days(days)
    if len(array) <= days:
        raise InputError(
            f"a window of {days} days and the day after need {days + 1} prices, the series has {len(array)}: "
            "give a longer series or a smaller window"
        )
    return np.lib.stride_tricks.sliding_window_view(array[:-1], days).copy(), array[days:].copy()


def prepare_prices(
    series: PriceSeries | Any, window: int, *, held_out: float = 0.2, dtype: Any = np.float32
) -> PriceData:
    """Hold out the last days, scale all prices by the lowest and highest of the earlier ones, and cut windows.

    Args:
        series: the result of ``read_prices``, or (days,) prices.
        window: number of days in an input.
        held_out: the fraction of the days to hold out, between 0 and 1; rounded to whole days, at least one.
        dtype: floating-point dtype of the windows.

    Raises:
        InputError: arguments are wrong (the message lists everything), prices are not finite, the training prices are
            all the same, or there are too few days for one training window and one held-out window.
    """
    source = str(series.source) if isinstance(series, PriceSeries) else "prices"
    prices = _numbers(series.prices if isinstance(series, PriceSeries) else series, source).astype(np.float64)
    _require_days(window, "window")
    problems: list[str] = []
    if not 0 < held_out < 1:
        problems.append(f"held_out is {held_out}, expected a fraction of the days between 0 and 1, such as 0.2")
    if "float" not in np.dtype(dtype).name:
        problems.append(f"dtype is {np.dtype(dtype).name}, expected a floating-point one, such as float32")
    if bad := int(np.sum(~np.isfinite(prices))):
        problems.append(f"{source}: {bad} of {len(prices)} prices are NaN or infinite: remove or repair these days")
    InputError.raise_any(problems)
    held_out_days = max(1, round(len(prices) * held_out))
    training_days = len(prices) - held_out_days
    if training_days <= window:
        raise InputError(
            f"{source}: too few days: a window of {window} needs {window + 1} training days, but of {len(prices)} days "
            f"{held_out_days} are held out and {max(training_days, 0)} are left: give more days or a smaller window"
        )
    training, rest = prices[:training_days], prices[training_days:]
    low, high = float(training.min()), float(training.max())
    if low == high:
        raise InputError(
            f"{source}: all {training_days} training prices are {low:g}, so there is no range to scale to 0..1: "
            "expected prices that change: check the column, or hold out fewer days"
        )
    scaled = _scaled(prices, low, high).astype(dtype)
    return PriceData(
        train=windows(scaled[:training_days], window),
        held_out=windows(scaled[training_days - window :], window),
        low=low,
        high=high,
        training_prices=training,
        held_out_prices=rest,
    )


def score_held_out(
    data: PriceData, predictions: Any, *, reach: tuple[float, float] | None = (-1.0, 1.0)
) -> HeldOutScore:
    """Score a model's outputs for the held-out inputs, and compare them with two predictions that need no model.

    Args:
        data: the result of ``prepare_prices``.
        predictions: (held-out days,) or (held-out days, 1) scaled outputs of the model for ``data.held_out[0]``.
        reach: the open interval of the model's outputs; a label on its edge counts as unreachable. The default is that
            of the by-hand model. Pass None for a linear head, which can reach everything.

    Raises:
        InputError: the predictions have a wrong shape, or are NaN or infinite, or the reach is empty.
    """
    actual, outputs = data.held_out_prices, np.asarray(predictions)
    days = len(actual)
    problems: list[str] = []
    if outputs.shape not in ((days,), (days, 1)):
        problems.append(
            f"predictions have shape {outputs.shape}, expected one per held-out day: ({days},) or ({days}, 1)"
        )
    outputs = outputs.astype(np.float64).reshape(-1)
    if bad := int(np.sum(~np.isfinite(outputs))):
        problems.append(
            f"{bad} of {outputs.size} predictions are NaN or infinite, expected numbers: did the training diverge?"
        )
    if reach is not None and not reach[0] < reach[1]:
        problems.append(f"reach is {reach}, expected (low, high) with low below high, or None")
    InputError.raise_any(problems)
    labels = _scaled(actual, data.low, data.high)
    return HeldOutScore(
        model=_error(data.unscale(outputs), actual),
        tomorrow_is_today=_error(np.concatenate([data.training_prices[-1:], actual[:-1]]), actual),
        training_mean=_error(data.training_prices.mean(), actual),
        days=days,
        unreachable=0 if reach is None else int(np.sum((labels <= reach[0]) | (labels >= reach[1]))),
    )


def _numbers(series: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(series)
    except ValueError as error:
        raise InputError(f"{name}: rows of different lengths, expected one row of prices, shape (days,)") from error
    problems: list[str] = []
    if array.ndim != 1:
        problems.append(f"{name}: has shape {array.shape}, expected one row of prices, shape (days,)")
    if array.dtype.kind not in "iu" and "float" not in array.dtype.name:
        problems.append(f"{name}: holds {array.dtype}, expected numbers")
    InputError.raise_any(problems)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def _require_days(days: Any, name: str = "days") -> None:
    if not is_whole(days):
        raise InputError(f"{name} is {days!r}, expected a positive whole number of days in a window")


def _scaled(prices: np.ndarray, low: float, high: float) -> np.ndarray:
    return (prices - low) / (high - low)


def _error(predicted: np.ndarray, actual: np.ndarray) -> PriceError:
    difference = predicted - actual
    return PriceError(float(np.sqrt(np.mean(difference**2))), float(np.mean(np.abs(difference))))
