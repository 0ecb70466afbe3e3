"""One case to check: a dictionary, inputs, initial states, and the fixed random cotangents of the loss."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from lstm_shared.by_hand import COMPANY_PRICES
from lstm_shared.describe import ByHandSpec, Spec, describe
from lstm_shared.inputs import require_prices

# What a backend computed: stage -> name -> array, in the order of computation. Stages are "forward", "loss",
# "gradient" and "adam"; in the last the arrays have the steps as their first axis.
Observation = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """Everything a backend needs to compute the observations of a check; NumPy arrays throughout.

    Attributes:
        inputs: by hand, prices (*series, days).
        state: the initial states by name; by hand ``long_memory`` and ``short_memory``.
        cotangents: for every forward array, the random numbers of order 1 whose inner product with it is the loss; no
            gradient is then too small to be judged.
        steps: Adam steps to take.
        seed: where the cotangents (and inputs, if none were given) come from.
    """

    spec: Spec
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    state: dict[str, np.ndarray]
    cotangents: dict[str, np.ndarray]
    steps: int
    seed: int

    def astype(self, dtype: str) -> "Case":
        """The same case with every array rounded to this dtype."""

        def cast(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: array.astype(ml_dtypes.finfo(np.dtype(dtype)).dtype) for name, array in arrays.items()}

        return replace(
            self,
            weights=cast(self.weights),
            inputs=self.inputs.astype(np.dtype(dtype)),
            state=cast(self.state),
            cotangents=cast(self.cotangents),
        )


def make_case(
    weights: Mapping[str, Any], inputs: Any = None, *, state: Any = None, steps: int = 10, seed: int = 0
) -> Case:
    """Check the arguments of ``check`` and fill in what was left out.

    Raises:
        WeightsError, InputError: as the backends would say it.
    """
    spec = describe(weights)
    arrays = {name: np.asarray(weights[name]) for name in spec.shapes}
    if isinstance(spec, ByHandSpec):
        return _by_hand_case(arrays, inputs, state, steps, seed)
    raise TypeError(f"no check for {spec}")


def _by_hand_case(weights: dict[str, np.ndarray], inputs: Any, state: Any, steps: int, seed: int) -> Case:
    prices = np.asarray(COMPANY_PRICES if inputs is None else inputs)
    long_memory, short_memory = (np.asarray(memory) for memory in ((0.0, 0.0) if state is None else state))
    require_prices(prices.shape, prices.dtype, long_memory.shape, short_memory.shape)
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.standard_normal(prices.shape) for name in ("long_memory", "short_memory")}
    memories = {"long_memory": long_memory, "short_memory": short_memory}
    state = {name: np.broadcast_to(memory, prices.shape[:-1]) for name, memory in memories.items()}
    return Case(ByHandSpec(), weights, prices, state, cotangents, steps, seed)
