"""Five ways to train the twelve-weight LSTM, one Adam step at a time.

All start from the published weights and alternate between the two companies. Each call trains from the start. The
losses and predictions of the first steps are compared.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, SupportsFloat

import numpy as np

from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders.program import COMPARED_STEPS, Program, Shown
from lstm_parity.sides.adam import LEARNING_RATE
from lstm_shared.training.plan import FitResult

# Each step's loss and prediction.
History = Sequence[tuple[SupportsFloat, SupportsFloat]]

# Adam steps in a call: enough to measure, and not many more.
_PUBLISHED_EPOCHS = 5000  # two steps each, in one compiled loop
_LOOP_STEPS = 200
_EAGER_STEPS = 10


def lightning(case: BenchCase, mode: str, dtype: str) -> Program:
    """Make the program for ``torch_lstm.fit``, which uses the Lightning Trainer."""
    import torch_lstm
    from lstm_parity.bench.contenders.torch_device import DEVICE

    def call() -> FitResult:
        module = torch_lstm.LSTMByHand(case.weights(dtype)).to(DEVICE)
        return torch_lstm.fit(module, case.companies(dtype), epochs=_LOOP_STEPS // 2)

    return _of_fit(call, dtype, _LOOP_STEPS)


def jax_fit(case: BenchCase, mode: str, dtype: str) -> Program:
    """Make the program for ``jax_lstm.fit``: the whole published run in one compiled loop."""
    import jax_lstm
    from lstm_parity.bench.contenders.jax_programs import settings

    weights, data = case.weights(dtype), case.companies(dtype)

    def call() -> FitResult:
        return jax_lstm.fit(jax_lstm.by_hand.loss, weights, data, epochs=_PUBLISHED_EPOCHS)

    return _of_fit(call, dtype, 2 * _PUBLISHED_EPOCHS, within=partial(settings, dtype))


def torch_loop(case: BenchCase, mode: str, dtype: str) -> Program:
    """Make the program for the usual training loop in PyTorch."""
    import torch

    import torch_lstm
    from lstm_parity.bench.contenders.torch_device import DEVICE, finished
    from lstm_shared.tensors import to_tensor

    weights = case.weights(dtype)
    prices, labels = (to_tensor(array).to(DEVICE) for array in case.companies(dtype))

    def call() -> History:
        module = torch_lstm.LSTMByHand(weights).to(DEVICE)
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
        history = []
        for step in range(_LOOP_STEPS):
            company = step % len(labels)
            optimizer.zero_grad()
            prediction = module(prices[company])
            loss = (prediction - labels[company]) ** 2
            loss.backward()
            optimizer.step()
            history.append((loss.detach(), prediction.detach()))
        return finished(history)

    return Program(call, partial(_show, dtype), steps=_LOOP_STEPS)


def jax_step(case: BenchCase, mode: str, dtype: str, *, jit: bool = True) -> Program:
    """Make the program for the usual training loop in JAX: one jitted step, called from Python."""
    import jax
    import jax.numpy as jnp
    import optax
    from jaxtyping import PyTree

    import jax_lstm
    from lstm_parity.bench.contenders.jax_programs import settings

    within = partial(settings, dtype, jit)
    adam = optax.adam(LEARNING_RATE)
    with within():
        weights, (prices, labels) = jax.tree.map(jnp.asarray, (case.weights(dtype), case.companies(dtype)))
        batches = [(prices[company : company + 1], labels[company : company + 1]) for company in range(len(labels))]

    @partial(jax.jit, donate_argnums=0)
    def train(state: PyTree, batch: tuple[jax.Array, jax.Array]) -> PyTree:
        params, optimizer = state
        (loss, predictions), gradient = jax.value_and_grad(jax_lstm.by_hand.loss, has_aux=True)(params, batch)
        updates, optimizer = adam.update(gradient, optimizer, params)
        return (optax.apply_updates(params, updates), optimizer), (loss, predictions[0])

    steps = _LOOP_STEPS if jit else _EAGER_STEPS

    def call() -> History:
        state = jax.tree.map(jnp.copy, (weights, adam.init(weights)))
        history = []
        for step in range(steps):
            state, shown = train(state, batches[step % len(batches)])
            history.append(shown)
        jax.block_until_ready(state)
        return history

    return Program(call, partial(_show, dtype), within=within, steps=steps)


# The same loop without jit, one operation at a time.
jax_eager: Callable[..., Program] = partial(jax_step, jit=False)


def _of_fit(call: Callable[[], FitResult], dtype: str, steps: int, **options: Any) -> Program:
    """Make the program for a backend's ``fit``, which times its steps itself, without set-up and compilation."""

    def show(result: FitResult) -> Shown:
        return _show(dtype, list(zip(result.losses, result.predictions[:, 0], strict=True)))

    return Program(call, show, steps=steps, seconds=lambda result: result.seconds, **options)


def _show(dtype: str, history: History) -> Shown:
    compared = np.array([[float(loss), float(prediction)] for loss, prediction in history[: _shown(dtype)]])
    return {"losses": {"losses": compared[:, 0], "predictions": compared[:, 1]}}


def _shown(dtype: str) -> int:
    """Return how many steps are compared.

    Over the 200 steps of the loop, float32 differs by half of what float64 is allowed over 400.
    """
    return _LOOP_STEPS if dtype == "float64" else COMPARED_STEPS
