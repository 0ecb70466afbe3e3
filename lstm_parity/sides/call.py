"""One call of a model: everything it is computed from, and the loss that is differentiated."""

from dataclasses import dataclass

import numpy as np

from lstm_shared.specs import Spec

Arrays = dict[str, np.ndarray]

# What a backend computed: stage -> name -> array, in the order of computation. The stages are "forward", "loss",
# "gradient" and "adam". In "adam", the first axis of each array is the steps.
Observation = dict[str, Arrays]


@dataclass(frozen=True)
class Call:
    """Everything that one forward and backward pass is computed from, as NumPy arrays.

    Attributes:
        spec: the model and its sizes.
        weights: the weight dictionary.
        inputs: by hand, prices ``(*series, days)``; otherwise as for ``jax_lstm.lstm``, ``lstm_cell`` or ``forecast``.
        state: the initial states by name: ``long_memory`` and ``short_memory`` by hand, otherwise ``h`` and ``c``.
            Empty to call the model without a state.
        cotangents: random numbers of order 1 for every forward array. The loss is their inner product with the forward
            arrays, so that no gradient is too small to be judged.
        batch_first, lengths, reset: as in ``jax_lstm.lstm``.
    """

    spec: Spec
    weights: Arrays
    inputs: np.ndarray
    state: Arrays
    cotangents: Arrays
    batch_first: bool = False
    lengths: np.ndarray | None = None
    reset: np.ndarray | None = None
