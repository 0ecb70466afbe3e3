"""Convert the by-hand model to an LSTM with one feature and one hidden unit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_shared.describe import require_by_hand
from lstm_shared.names import BY_HAND_GATES


def by_hand_to_lstm(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the twelve scalars as an ``nn.LSTM(1, 1)`` dictionary: gate order (i, f, g, o), second bias zero.

    Raises:
        WeightsError: the dictionary is not a by-hand model.
    """
    require_by_hand(weights)

    def stack(pattern: str) -> np.ndarray:
        return np.stack([np.asarray(weights[pattern.format(gate)]) for gate in BY_HAND_GATES])

    bias = stack("b{}1")
    return {
        "weight_ih_l0": stack("w{}2")[:, None],
        "weight_hh_l0": stack("w{}1")[:, None],
        "bias_ih_l0": bias,
        "bias_hh_l0": np.zeros_like(bias),
    }
