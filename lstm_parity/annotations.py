"""Types that several rooms use in their annotations: weights and states as callers pass them, and JSON values."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

# Name -> NumPy, JAX or torch array, or a plain number: the weights as a caller may pass them.
Weights = Mapping[str, ArrayLike]
# Weights that were drawn or read from a file. The by-hand model has plain numbers instead of arrays.
NumPyWeights = Mapping[str, np.ndarray | float]
# A pair of states, as a caller may pass them.
States = Sequence[ArrayLike]

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | None"
JsonObject = dict[str, Json]
