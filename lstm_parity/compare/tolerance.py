"""The comparison policy: how close two backends must be. The only place where a tolerance is decided.

A result is right if it is the exact result for weights, inputs and states that are off by a rounding error. How far
such results may lie from one another depends on the model:

- **Where it is well conditioned**, ``|a - b| <= K · eps(dtype) · scale``, with scale = max(1, largest magnitude in the
  reference group), a group being all outputs together or all gradients together. Purely relative or ULP tests are wrong
  here: in a gradient that cancels, correct code is off by a thousand eps relative to what is left.
- **Where it is not** (trained weights, long inputs, many optimizer steps), a multiple of how far the reference itself
  moves when its numbers move by one ulp (``conditioning.py`` measures it): ``RESPONSE_FACTOR`` times.
- **Where that is more than ``limit(dtype)`` · scale** nothing can be judged: almost anything would be within it. Where
  this is so of an output, it is so of all gradients. The check then looks at as many first steps as can be judged, and
  says so.

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

# The precision that decides, where it is among those that are compared.
VERDICT_DTYPE = "float64"

# K of the two kinds of model; ``factor`` has the measurements.
BY_HAND_FACTOR = 128.0
LSTM_FACTOR = 64.0

# How many times the reference's largest response to the perturbations a right result may be away. On ill-conditioned
# models (benchmarks/verdict.py: recurrent gains of 6 to 20 over 60 to 160 steps) right outputs and gradients were up to
# 3.6 times away in 1,000 pairs, and 13 times in others, near the end of what can be judged: there a rounding error
# grows by half at every step. With five times that the tolerance still is 6e-5 at most in float64 (``limit``), a
# thousandth of what a mistake makes of such a model.
RESPONSE_FACTOR = 64.0

# Up to here inputs are of order 1, what K was measured for.
ORDINARY_INPUT = 4.0

# K after 400 Adam steps from the published initial weights, in float64 (measured: at most 1).
TRAJECTORY_FACTOR = 64


def eps(dtype: str) -> float:
    """Distance from 1 to the next number in this floating-point dtype."""
    return float(ml_dtypes.finfo(np.dtype(dtype)).eps)


def factor(spec: Spec, steps: int) -> float:
    """K, the number of eps allowed, for a model and a number of steps (days).

    By hand, with weights from N(0, 1) and prices of order 1, the worst of 1,000 random dictionaries used 2.6 eps over
    4 days and 48 over 64; beyond, rounding keeps growing with the days.

    The vector model is judged relative to a group's largest magnitude, which grows with the lengths of its sums as
    their rounding does: from hidden size 4 to 512 and 6 to 1,000 steps, up to three layers and both directions, outputs
    used at most 2.0 eps and gradients 9.1 in float64 (small sizes, biases of order 1), and Adam steps 38 of their grown
    tolerance (float32, hidden size 512, in weights whose gradient almost vanishes).
    """
    if kind_of(spec).single_unit:
        return 32.0 if steps <= 4 else BY_HAND_FACTOR * max(1.0, steps / 64)
    return LSTM_FACTOR


def input_factor(k: float, scale: float, largest_input: float) -> float:
    """K for the gradient of a weight that multiplies inputs: each input times the gradient before a nonlinearity.

    Of a saturated gate 1 - tanh² is off by eps, whatever is left of it, and so is what it multiplies. Large inputs then
    carry that error further than the gradients themselves reach: by hand, over 23 days of prices from N(0, 1000²), to
    1.3 times what K allows, where JAX is 145 eps from the exact gradient. Moving every number by one ulp moves nothing
    there.

    Args:
        scale: of all gradients.
    """
    return k * max(1.0, largest_input / (ORDINARY_INPUT * scale))


def group_scale(group: Arrays) -> float:
    """max(1, largest finite magnitude in the group)."""
    return scale_of(*group.values())


def scale_of(*arrays: np.ndarray) -> float:
    """max(1, largest finite magnitude in these)."""
    return max([1.0, *map(largest_magnitude, arrays)])


def limit(dtype: str) -> float:
    """The largest response to a rounding error, in the group's scale, at which a result is still judged.

    A mistake moves outputs by some hundredths at least, so this leaves it far outside the tolerance: 1e-6 in float64,
    1.2e-3 in float32. Half precision has eps of 1e-3 and more: there it is the tolerance itself.
    """
    return max(1e-6, min(1e4 * eps(dtype), 1.2e-3), LSTM_FACTOR * eps(dtype))


def adam_tolerance(gradients: np.ndarray, errors: np.ndarray, weight_tolerance: float) -> np.ndarray:
    """How far a weight may be off after each Adam step, (steps, *shape).

    Adam moves a weight by learning rate · m / √v, the running means of its gradient and of its gradient squared (Kingma
    & Ba 2015), so an error in the gradient moves it by learning rate · error / √v in that step and in those after it.

    Args:
        gradients: those that the reference's steps took, (steps, *shape).
        errors: how far the gradients of each step may be off, (steps,).
        weight_tolerance: what the weights' own rounding is allowed.
    """
    by_step = (-1, *(1,) * (gradients.ndim - 1))
    steps = np.arange(1, len(gradients) + 1).reshape(by_step)
    squares = np.zeros(gradients.shape, np.float64)
    mean = np.zeros(gradients.shape[1:], np.float64)
    for step, gradient in enumerate(gradients.astype(np.float64)):
        mean = adam.BETA_2 * mean + (1 - adam.BETA_2) * gradient**2
        squares[step] = mean / (1 - adam.BETA_2 ** (step + 1))
    so_far = np.maximum.accumulate(errors).reshape(by_step)  # the mean remembers the errors of the steps before
    moved = adam.LEARNING_RATE * np.cumsum(so_far / np.maximum(np.sqrt(squares), adam.EPSILON), axis=0)
    # Whatever the gradients are, no step is longer than some learning rates.
    return weight_tolerance + np.minimum(moved, 4 * adam.LEARNING_RATE * steps)


def adam_judges(tolerance: np.ndarray) -> np.ndarray:
    """For each step and weight whether its tolerance tells a right Adam from a wrong one: below half of its way."""
    steps = np.arange(1, len(tolerance) + 1).reshape(-1, *(1,) * (tolerance.ndim - 1))
    return tolerance <= adam.LEARNING_RATE * steps / 2
