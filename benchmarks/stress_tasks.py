"""Tasks for the stress test: LSTMs and trainings on both sides of every size at which ``jax_lstm`` branches."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jax_lstm
from jax_lstm.compiler.one_kernel import LARGEST_ARRAY
from jax_lstm.recurrences.choose import (
    CHUNK_ROWS,
    LARGEST_SINGLE_KERNEL,
    LONGEST_CHUNK,
    SHARED_LOOP,
    chunk_steps,
    features_first,
    one_product,
)
from lstm_shared import PUBLISHED_INIT, init_lstm


class Task(NamedTuple):
    """Something to call in every way.

    Attributes:
        name: a name, with the sizes.
        run: (*arguments) -> pytree of floating-point arrays, by the implementation under test.
        plain: like ``run``, but by the plain loop.
        arguments: two or more pytrees of float32 arrays: the weights, the data, and any others.
        options: settings that some ways need; the Flax modules need the sizes and the implementation.
    """

    name: str
    run: Callable[..., Any]
    plain: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any] = {}  # noqa: RUF012


class Size(NamedTuple):
    steps: int
    batch: int
    inputs: int
    hidden: int
    bidirectional: bool = False
    layers: int = 1
    projection: int = 0

    def __str__(self) -> str:
        extra = (
            "×2" * self.bidirectional + f" {self.layers} layers" * (self.layers > 1) + " proj" * bool(self.projection)
        )
        return f"T{self.steps} B{self.batch} I{self.inputs} H{self.hidden}{extra}"


# Sizes with a batch of one. Closed-over weights used to abort the process on the first four.
SINGLE = (
    Size(5, 1, 32, 32),
    Size(5, 1, 16, 32),
    Size(4, 1, 1, 64),
    Size(4, 1, 8, 64),
    Size(3, 1, 3, 4, projection=2),
    Size(1, 1, 3, 4),
    Size(0, 1, 2, 5),
    Size(3, 1, 2, 2, bidirectional=True, layers=2),
)
ABORTED = 4
BATCHED = (Size(4, 2, 3, 4), Size(3, 3, 3, 5, bidirectional=True, layers=2, projection=2), Size(0, 2, 3, 4))

# XLA copies constants of more bytes than this into a kernel. Measured: it copies 10,004 bytes and not 10,000.
XLA_LARGE_CONSTANT = 10_000


def edges(predicate: Callable[[int], Any], numbers: range) -> Iterator[int]:
    """Yield the numbers on both sides of every change of the predicate."""
    for number in numbers[:-1]:
        if predicate(number) != predicate(number + 1):
            yield from (number, number + 1)


def single_edges() -> list[Size]:
    """Return sizes around the largest model for a single kernel, and around the constants that XLA copies into one."""
    hidden = 64
    largest = LARGEST_SINGLE_KERNEL // hidden - hidden
    inputs = XLA_LARGE_CONSTANT // (4 * 4 * 10)  # 4 gates of 10 units in 4 bytes
    return [Size(3, 1, largest + more, hidden) for more in (0, 1)] + [Size(3, 1, inputs + more, 10) for more in (0, 1)]


def batched_edges() -> list[Size]:
    """Return sizes around the limits of the shared loop, the chunks, one product a step, and features first."""
    float32 = jnp.float32
    sizes = [Size(3, 2, 3, hidden, True) for hidden in edges(SHARED_LOOP.__contains__, range(1, 65))]
    for batch in (2, *edges(chunk_steps, range(CHUNK_ROWS // 4, CHUNK_ROWS // 4 + 3))):
        chunk = chunk_steps(batch)
        sizes += [Size(steps, batch, 2, 3) for steps in (chunk - 1, chunk, chunk + 1, 2 * chunk + 1)]
    sizes += [Size(LONGEST_CHUNK + 1, CHUNK_ROWS + 1, 2, 3)]
    for saving in (False, True):
        at_once = partial(one_product, dtype=float32, saving=saving)
        by_hidden = edges(partial(at_once, 2, 3), range(1, 300))
        by_batch = edges(partial(at_once, inputs=3, hidden=8), range(1, 65))
        by_inputs = edges(partial(at_once, 2, hidden=8), range(1, 9))
        sizes += [Size(2, 2, 3, hidden) for hidden in by_hidden]
        sizes += [Size(2, batch, 3, 8) for batch in by_batch] + [Size(2, 2, inputs, 8) for inputs in by_inputs]
    sizes += [Size(2, 2, 3, hidden) for hidden in edges(lambda h: features_first(2, h, float32), range(1, 300))]
    sizes += [Size(2, batch, 3, 64) for batch in edges(lambda b: features_first(b, 64, float32), range(1, 100))]
    return list(dict.fromkeys(sizes))


def lstm_task(size: Size, implementation: str) -> Task:
    """Make a task that calls ``lstm`` once, with an initial state."""
    weights = init_lstm(
        size.inputs,
        size.hidden,
        bidirectional=size.bidirectional,
        num_layers=size.layers,
        proj_size=size.projection,
    )
    rng = np.random.default_rng(0)
    rows = (size.layers * (2 if size.bidirectional else 1), size.batch)
    inputs = rng.standard_normal((size.steps, size.batch, size.inputs)).astype(np.float32)
    h = rng.standard_normal((*rows, size.projection or size.hidden)).astype(np.float32)
    c = rng.standard_normal((*rows, size.hidden)).astype(np.float32)

    def called(implementation: str) -> Callable[..., Any]:
        return lambda weights, inputs, state: jax_lstm.lstm(weights, inputs, state, implementation=implementation)

    options = {
        "input_size": size.inputs,
        "hidden_size": size.hidden,
        "num_layers": size.layers,
        "bidirectional": size.bidirectional,
        "proj_size": size.projection,
        "implementation": implementation,
    }
    return Task(str(size), called(implementation), called("scan"), (weights, inputs, (h, c)), options)


def fit_task(
    name: str, loss: Any, params: Any, data: Any, *, schedule: Any = 1e-3, epochs: int = 2, optimizer: Any = None
) -> Task:
    """Make a task that trains for a few epochs and returns the last weights and the losses.

    Its plain version loops over optax's steps. The default optimizer is Adam. The option "strict" then holds the same
    task with gradient descent, because optax's Adam needs promotion.
    """
    options = {}
    if optimizer is None:
        optimizer = optax.adam(schedule)
        options["strict"] = fit_task(name, loss, params, data, epochs=epochs, optimizer=optax.sgd(1e-3))

    def run(params: Any, data: Any) -> Any:
        result = jax_lstm.fit(loss, params, data, epochs=epochs, optimizer=optimizer)
        return result.weights, result.losses

    def plain(params: Any, data: Any) -> Any:
        def step(state: Any, row: Any) -> Any:
            weights, optimizer_state = state
            batch = jax.tree.map(lambda leaf: jnp.asarray(leaf)[row][None], data)
            value, gradient = jax.value_and_grad(lambda weights: loss(weights, batch)[0])(weights)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, weights)
            return (optax.apply_updates(weights, updates), optimizer_state), value

        params = jax.tree.map(jnp.asarray, params)
        rows = np.tile(np.arange(len(jax.tree.leaves(data)[0])), epochs)
        (weights, _), losses = lax.scan(step, (params, optimizer.init(params)), rows)
        return weights, losses

    return Task(name, run, plain, (params, data), options)


def fit_tasks() -> list[Task]:
    """Return tasks for ``fit``.

    They cover the by-hand model (one kernel), constants in the loss and the optimizer, and sizes around the largest
    array.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    by_hand = {name: np.float32(value) for name, value in PUBLISHED_INIT.items()}
    hand_loss, table = jax_lstm.by_hand.loss, draw(XLA_LARGE_CONSTANT // 4 + 1)

    def weighted(params: Any, batch: Any) -> Any:
        value, predictions = hand_loss(params, batch)
        row = jnp.asarray(jnp.abs(batch[1][0]) * 100, jnp.int32)
        return value * jnp.asarray(table)[row], predictions

    def selected(params: Any, batch: Any) -> Any:  # does not read all weights or all data
        value = jnp.where(True, params["a"], params["b"]) * batch[0][0]
        return value**2, batch[0]

    def product(params: Any, batch: Any) -> Any:
        return jnp.mean((params["w"] * batch[0][0]) ** 2), batch[0]

    def looked_up(params: Any, batch: Any) -> Any:  # the gradient scatters
        places = jnp.array([0, 2, 2]) + (batch[0][0] > 0).astype(jnp.int32)
        return jnp.sum(params["w"][places] ** 2 * batch[0][0]), batch[0]

    def schedule(count: Any) -> Any:
        return 1e-3 * jnp.abs(jnp.asarray(table)[count])

    forecaster = {"lstm." + name: array for name, array in init_lstm(3, 4).items()}
    forecaster |= {"fc.weight": draw(1, 4), "fc.bias": draw(1)}
    rows = XLA_LARGE_CONSTANT // 16 + 1  # of four days, 4 bytes each
    return [
        fit_task("by hand", hand_loss, by_hand, (draw(2, 4), draw(2)), epochs=5),
        fit_task("by hand, many rows", hand_loss, by_hand, (draw(rows, 4), draw(rows)), epochs=1),
        fit_task("by hand, no days", hand_loss, by_hand, (draw(3, 0), draw(3))),
        fit_task("table in the loss", weighted, by_hand, (draw(2, 4), draw(2))),
        fit_task("table in the schedule", hand_loss, by_hand, (draw(2, 4), draw(2)), schedule=schedule),
        fit_task("what nothing reads", selected, {"a": draw(), "b": draw()}, (draw(3), draw(3))),
        fit_task("largest array", product, {"w": draw(LARGEST_ARRAY)}, (draw(3),)),
        fit_task("above the largest array", product, {"w": draw(LARGEST_ARRAY + 1)}, (draw(3),)),
        fit_task("a gradient that scatters", looked_up, {"w": draw(5)}, (draw(3),)),
        fit_task("forecaster", jax_lstm.forecaster.loss, forecaster, (draw(3, 5, 3), draw(3, 1))),
    ]


def tasks(implementation: str, place: int, of: int, *, fewer: bool, named: str = "") -> list[Task]:
    """Return the tasks for one pair. The pairs of an implementation share out the sizes among them.

    Each pair gets two of the sizes that used to abort and two or three other small ones. Each size around a threshold
    is in at least one pair.

    Args:
        place, of: the number of this pair among the pairs of the implementation, and how many there are.
        fewer: leave out the sizes around thresholds, and the second of every two others.
        named: return only the task of this name.
    """
    if implementation == "fit":
        tasks = fit_tasks()
        return [task for task in tasks if task.name == named] if named else tasks[place % 2 :: 2] if fewer else tasks
    batch = () if implementation == "single-kernel" else BATCHED
    around = single_edges() + ([] if implementation == "single-kernel" else batched_edges())
    share = [around[(place + step * of) % len(around)] for step in range(1 + len(around) // of)]
    once = SINGLE[place % 2 : ABORTED : 2]
    small = [*SINGLE[ABORTED + place % 2 :: 2], *batch[place % len(BATCHED) :][:1]]
    sizes = [*once[:1], small[place // 2 % len(small)]] if fewer else [*once, *small, *share]
    if named:
        sizes = [size for size in (*SINGLE, *batch, *around) if str(size) == named]
    return [lstm_task(size, implementation) for size in dict.fromkeys(sizes)]
