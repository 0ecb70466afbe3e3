"""The types that annotations of several rooms share: weights as callers give them, and what JSON can say."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

# Name -> array of NumPy, JAX or torch, or a number, as a caller may give them.
Weights = Mapping[str, ArrayLike]
# The same as they are read from files and drawn: by hand, single numbers.
NumPyWeights = Mapping[str, np.ndarray | float]
# A pair of states as a caller may give them.
States = Sequence[ArrayLike]

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | None"
JsonObject = dict[str, Json]
