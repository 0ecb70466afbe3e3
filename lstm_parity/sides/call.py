"""One call of a model: what it is computed from, and which loss of it is differentiated."""

from dataclasses import dataclass

import numpy as np

from lstm_shared.specs import Spec

Arrays = dict[str, np.ndarray]

# What a backend computed: stage -> name -> array, in the order of computation. Stages are "forward", "loss",
# "gradient" and "adam"; in the last the arrays have the steps as their first axis.
Observation = dict[str, Arrays]


@dataclass(frozen=True)
class Call:
    """Everything that one forward and backward pass is computed from; NumPy arrays throughout.

    Attributes:
        inputs: by hand, prices (*series, days); else as for ``jax_lstm.lstm``, ``lstm_cell`` or ``forecast``.
        state: the initial states by name: ``long_memory`` and ``short_memory`` by hand, else ``h`` and ``c``. Empty
            where the model is to be called without one.
        cotangents: for every forward array, the random numbers of order 1 whose inner product with it is the loss; no
            gradient is then too small to be judged.
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
