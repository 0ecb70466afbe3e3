"""A model trained on real prices: its predictions for the held-out days, and how far off they are."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from lstm_parity.annotations import JsonObject, NumPyWeights
from lstm_parity.sides.kinds import kind_of
from lstm_parity.training.backends import Backend, predict
from lstm_shared.describe import describe
from lstm_shared.prices.files import PriceSeries
from lstm_shared.prices.windows import HeldOutScore, PriceData, score_held_out

_REACH_BY_HAND = (-1.0, 1.0)  # the range of its short-term memory, in scaled prices


@dataclass(frozen=True)
class HeldOut:
    """The held-out days and the model's predictions for them.

    Attributes:
        dates: the date of each day.
        actual, predicted: (days,) prices in their own unit.
        day_before: (days,) the price of the day before each, which "tomorrow = today" predicts.
        score: the model's errors, and those of two predictions that need no model.
        reach: the lowest and highest price that the model's output can come near, in the price's unit. None if the
            output has no bounds; ``score.unreachable`` then means nothing.
    """

    dates: Any
    actual: np.ndarray
    predicted: np.ndarray
    day_before: np.ndarray
    score: HeldOutScore
    reach: tuple[float, float] | None

    @classmethod
    def of(cls, backend: Backend, weights: NumPyWeights, series: PriceSeries, prices: PriceData) -> Self:
        """Predict the held-out days with trained weights."""
        by_hand = kind_of(describe(weights)).single_unit
        inputs = model_array(prices.held_out[0], by_hand)
        predictions = predict(backend, weights, inputs).reshape(len(inputs))
        scaled = _REACH_BY_HAND if by_hand else None
        score = score_held_out(prices, predictions, reach=scaled)
        actual = prices.held_out_prices
        day_before = np.concatenate([prices.training_prices[-1:], actual[:-1]])
        reach = None
        if scaled is not None:
            low, high = prices.unscale(scaled)
            reach = float(low), float(high)
        return cls(series.dates[-len(actual) :], actual, prices.unscale(predictions), day_before, score, reach)

    def to_dict(self) -> JsonObject:
        """Return the score and the predictions, ready for JSON."""
        return {"held_out": asdict(self.score), "held_out_predictions": self.predicted.tolist()}


def model_array(array: np.ndarray, by_hand: bool) -> np.ndarray:
    """Return inputs or labels as the model takes them: a forecaster's get a last axis of features."""
    return array if by_hand else array[..., None]
