"""A model trained on real prices: what it says of the days that were held out, and how far off that is."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from lstm_parity.annotations import JsonObject, NumPyWeights
from lstm_parity.sides.kinds import kind_of
from lstm_parity.training.backends import Backend, predict
from lstm_shared.describe import describe
from lstm_shared.prices.files import PriceSeries
from lstm_shared.prices.windows import HeldOutScore, PriceData, score_held_out

_REACH_BY_HAND = (-1.0, 1.0)  # what its short-term memory can be, scaled


@dataclass(frozen=True)
class HeldOut:
    """The held-out days.

    Attributes:
        dates: of each day.
        actual, predicted: (days,) prices in their unit.
        score: the errors, beside those of two predictions that need no model.
        bounded: whether the model's outputs are bounded, so that ``score.unreachable`` says something.
    """

    dates: Any
    actual: np.ndarray
    predicted: np.ndarray
    score: HeldOutScore
    bounded: bool

    @classmethod
    def of(cls, backend: Backend, weights: NumPyWeights, series: PriceSeries, prices: PriceData) -> Self:
        """What trained weights say of them."""
        by_hand = kind_of(describe(weights)).single_unit
        inputs = model_array(prices.held_out[0], by_hand)
        predictions = predict(backend, weights, inputs).reshape(len(inputs))
        score = score_held_out(prices, predictions, reach=_REACH_BY_HAND if by_hand else None)
        actual = prices.held_out_prices
        return cls(series.dates[-len(actual) :], actual, prices.unscale(predictions), score, by_hand)

    def to_dict(self) -> JsonObject:
        """As JSON has it."""
        return {"held_out": asdict(self.score), "held_out_predictions": self.predicted.tolist()}


def model_array(array: np.ndarray, by_hand: bool) -> np.ndarray:
    """Inputs or labels as the model takes them: a forecaster's have a last axis of features."""
    return array if by_hand else array[..., None]
