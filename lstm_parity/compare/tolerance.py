"""The comparison policy: how close two backends must be. All tolerances are decided here and nowhere else.

A result is right if it is the exact result for weights, inputs and states that are off by a rounding error. How far
apart two such results may be depends on the model:

- **Well conditioned**: ``|a - b| <= K · eps(dtype) · scale``, where scale is max(1, largest magnitude in the reference
  group). All outputs together are one group, all gradients together another. Purely relative or ULP tests are wrong
  here: when terms of a gradient cancel, correct code is off by a thousand eps relative to what is left.
- **Ill conditioned** (trained weights, long inputs, many optimizer steps): ``RESPONSE_FACTOR`` times the distance by
  which the reference itself moves when its numbers move by one ulp. ``conditioning.py`` measures that response.
- **A response above** ``limit(dtype)`` · scale: nothing can be judged, because almost any result would be within the
  tolerance. If an output responds that strongly, no gradient is judged either. The check then judges as many of the
  first steps as it can, and says so.

Adam divides each gradient by its own size, so its steps have a tolerance of their own: ``adam_tolerance``.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from lstm_parity.sides import adam
from lstm_parity.sides.kinds import kind_of
from lstm_shared.finite import largest_magnitude
from lstm_shared.specs import Spec

Arrays = Mapping[str, np.ndarray]

# The precision that decides the verdict, if it is among those compared.
VERDICT_DTYPE = "float64"

# K for the by-hand model and for all others. ``factor`` has the measurements.
BY_HAND_FACTOR = 128.0
LSTM_FACTOR = 64.0

# A right result may be this many times the reference's largest response away. On ill-conditioned models
# (benchmarks/verdict.py: recurrent gains of 6 to 20 over 60 to 160 steps), right outputs and gradients were up to 3.6
# times the response away in 1,000 pairs. In other pairs they were up to 13 times the response away, near the last step
# that can be judged, where a rounding error grows by half at every step. The factor is five times that. Even so, the
# tolerance is at most 6e-5 in float64 (``limit``), a thousandth of the change that a mistake makes in such a model.
RESPONSE_FACTOR = 64.0

# Inputs up to this size count as order 1, for which K was measured.
ORDINARY_INPUT = 4.0

# K for the weights after 400 Adam steps from the published initial weights, in float64 (measured: at most 1).
TRAJECTORY_FACTOR = 64


def eps(dtype: str) -> float:
    """Return the distance from 1 to the next larger number in this floating-point dtype."""
    return float(ml_dtypes.finfo(np.dtype(dtype)).eps)


def factor(spec: Spec, steps: int) -> float:
    """Return K, the number of eps allowed, for a model and a number of steps (days).

    By hand, with weights from N(0, 1) and prices of order 1, the worst of 1,000 random dictionaries used 2.6 eps over
    4 days and 48 eps over 64 days. Over more days, rounding keeps growing with their number.

    The other models are judged relative to the largest magnitude of a group. It grows with the length of the sums, just
    as their rounding error does. Measured from hidden size 4 to 512 and 6 to 1,000 steps, with up to three layers and
    both directions: outputs used at most 2.0 eps and gradients 9.1 eps in float64 (small sizes, biases of order 1).
    Adam steps used 38 eps of their larger tolerance (float32, hidden size 512, weights whose gradient almost vanishes).
    """
    if kind_of(spec).single_unit:
        return 32.0 if steps <= 4 else BY_HAND_FACTOR * max(1.0, steps / 64)
    return LSTM_FACTOR


def input_factor(k: float, scale: float, largest_input: float) -> float:
    """Return K for the gradient of a weight that multiplies inputs, which can be large.

    This gradient is each input times the gradient before a nonlinearity. In a saturated gate, 1 - tanh² is off by eps
    however small it is, and so is its product with the gradient. A large input multiplies that error, which can then
    exceed the scale of the gradients. By hand, over 23 days of prices from N(0, 1000²), it came to 1.3 times what K
    allows; JAX was 145 eps from the exact gradient. Moving every number by one ulp moves nothing there, so the measured
    response does not cover it.

    Args:
        k: K for the other gradients.
        scale: the scale of all gradients.
        largest_input: the largest magnitude in the inputs.
    """
    return k * max(1.0, largest_input / (ORDINARY_INPUT * scale))


def group_scale(group: Arrays) -> float:
    """Return max(1, largest finite magnitude in the group)."""
    return scale_of(*group.values())


def scale_of(*arrays: np.ndarray) -> float:
    """Return max(1, largest finite magnitude in these arrays)."""
    return max([1.0, *map(largest_magnitude, arrays)])


def limit(dtype: str) -> float:
    """Return the largest response to a rounding error, as a share of the scale, at which a result is still judged.

    The limit is 1e-6 in float64 and 1.2e-3 in float32. A mistake moves outputs by at least a few hundredths, so it
    stays far outside the tolerance. In half precision eps is 1e-3 or more; there the limit is the tolerance itself.
    """
    return max(1e-6, min(1e4 * eps(dtype), 1.2e-3), LSTM_FACTOR * eps(dtype))


def adam_tolerance(gradients: np.ndarray, errors: np.ndarray, weight_tolerance: float) -> np.ndarray:
    """Return how far a weight may be off after each Adam step, as ``(steps, *shape)``.

    Adam moves a weight by learning rate · m / √v, where m and v are the running means of its gradient and of its
    squared gradient (Kingma & Ba 2015). So an error in the gradient moves the weight by learning rate · error / √v, in
    that step and in those after it.

    Args:
        gradients: the gradients that the reference stepped with, ``(steps, *shape)``.
        errors: how far the gradients of each step may be off, (steps,).
        weight_tolerance: the tolerance for the rounding of the weights themselves.
    """
    by_step = (-1, *(1,) * (gradients.ndim - 1))
    steps = np.arange(1, len(gradients) + 1).reshape(by_step)
    squares = np.zeros(gradients.shape, np.float64)
    mean = np.zeros(gradients.shape[1:], np.float64)
    for step, gradient in enumerate(gradients.astype(np.float64)):
        mean = adam.BETA_2 * mean + (1 - adam.BETA_2) * gradient**2
        squares[step] = mean / (1 - adam.BETA_2 ** (step + 1))
    so_far = np.maximum.accumulate(errors).reshape(by_step)  # the running mean keeps the errors of earlier steps
    moved = adam.LEARNING_RATE * np.cumsum(so_far / np.maximum(np.sqrt(squares), adam.EPSILON), axis=0)
    # Whatever the gradients are, a step is never longer than a few learning rates.
    return weight_tolerance + np.minimum(moved, 4 * adam.LEARNING_RATE * steps)


def adam_judges(tolerance: np.ndarray) -> np.ndarray:
    """Return, for each step and weight, whether the tolerance tells right from wrong.

    It does if it is at most half of learning rate · steps, about the distance that Adam has moved the weight by then.
    """
    steps = np.arange(1, len(tolerance) + 1).reshape(-1, *(1,) * (tolerance.ndim - 1))
    return tolerance <= adam.LEARNING_RATE * steps / 2
