"""The LSTM by hand: twelve scalar weights, and the published run that trained them.

The model, its data and its results come from *The StatQuest Illustrated Guide to Neural Networks and AI*, chapter 8,
and its notebook. Names keep the article's words. Weights ending in 1 multiply the short-term memory, those ending in 2
the input value. ``lr`` is long remember (forget gate), ``pr`` potential remember (input gate), ``p`` potential memory
(candidate), ``o`` the output gate.
"""

import numpy as np

BY_HAND: tuple[str, ...] = (
    "wlr1", "wlr2", "blr1",
    "wpr1", "wpr2", "bpr1",
    "wp1", "wp2", "bp1",
    "wo1", "wo2", "bo1",
)  # fmt: skip

# Four days of prices for each company. The label is the price on day five.
COMPANY_PRICES = np.array([[0.0, 0.5, 0.25, 1.0], [1.0, 0.5, 0.25, 1.0]])
COMPANY_LABELS = np.array([0.0, 1.0])

# The published run starts from torch's seed 42. The numbers are written out here, so that nothing depends on a random
# stream.
PUBLISHED_INIT: dict[str, float] = {
    "wlr1": 0.33669036626815796, "wlr2": 0.12880940735340118, "blr1": 0.0,
    "wpr1": 0.23446236550807953, "wpr2": 0.23033303022384644, "bpr1": 0.0,
    "wp1": -1.1228563785552979, "wp2": -0.18632829189300537, "bp1": 0.0,
    "wo1": 2.2082014083862305, "wo2": -0.637997031211853, "bo1": 0.0,
}  # fmt: skip

# The weights after 5000 epochs, as printed: two decimals.
PUBLISHED_TRAINED: dict[str, float] = {
    "wlr1": 2.70, "wlr2": 1.63, "blr1": 1.62,
    "wpr1": 2.00, "wpr2": 1.65, "bpr1": 0.62,
    "wp1": 1.41, "wp2": 0.94, "bp1": -0.32,
    "wo1": 4.38, "wo2": -0.19, "bo1": 0.59,
}  # fmt: skip

# epochs -> predictions for company A and company B, recomputed in float64 to seven decimals. One epoch is two Adam
# steps (learning rate 1e-3, loss = squared residual of one company), A then B.
PUBLISHED_PREDICTIONS: dict[int, tuple[float, float]] = {
    0: (-0.0376530, -0.0382717),
    2000: (0.4342005, 0.6170909),
    3000: (0.2707603, 0.7533790),
    5000: (0.0021682, 0.9692642),
}

# The article computes one step by hand, from memories that are not zero.
WORKED_EXAMPLE_WEIGHTS: dict[str, float] = {
    "wlr1": 2.7, "wlr2": 2.2, "blr1": 2.3,
    "wpr1": 1.1, "wpr2": 0.8, "bpr1": 0.8,
    "wp1": 0.4, "wp2": 1.2, "bp1": 0.9,
    "wo1": 0.3, "wo2": 2.9, "bo1": 2.1,
}  # fmt: skip
WORKED_EXAMPLE_INPUT = 1.0
WORKED_EXAMPLE_MEMORIES = (2.0, 1.0)  # long, short
WORKED_EXAMPLE_RESULT: dict[str, float] = {
    "long_remember_percent": 0.99925397,
    "potential_remember_percent": 0.93702664,
    "potential_memory": 0.98661430,
    "output_percent": 0.99503320,
    "long_memory": 2.92299183,
    "short_memory": 0.98929553,
}
