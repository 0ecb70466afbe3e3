"""Shared code for the ways to call: their registries, the results of the plain loop, and examples to map over."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from stress_tasks import Task

# way(task) -> (its results, those of the plain loop under jit with everything as an argument)
Way = Callable[[Task], tuple[Any, Any]]

GENERAL: dict[str, Way] = {}  # for every task
OF_LSTM: dict[str, Way] = {}  # for tasks that call ``lstm`` with weights, inputs and state
TWO_DEVICES = {"pmap", "shard map", "sharded weights"}  # these need the processor to be split into two devices


def general(function: Way) -> Way:
    GENERAL[function.__name__.strip("_").replace("_", " ")] = function
    return function


def of_lstm(function: Way) -> Way:
    OF_LSTM[function.__name__.replace("_", " ")] = function
    return function


def expected(task: Task) -> Any:
    return jax.jit(task.plain)(*task.arguments)


def square(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that sums the squares of everything that ``run`` returns."""
    return lambda *arguments: sum(jnp.sum(jnp.asarray(leaf) ** 2) for leaf in jax.tree.leaves(run(*arguments)))


def close_over(task: Task, places: set[int]) -> tuple[Any, Any]:
    """Run the task with the arguments at ``places`` as constants of the program."""

    def run(*given: Any) -> Any:
        rest = iter(given)
        return task.run(*(whole if n in places else next(rest) for n, whole in enumerate(task.arguments)))

    given = [whole for n, whole in enumerate(task.arguments) if n not in places]
    return jax.jit(run)(*given), expected(task)


def some_of(whole: Any, factors: tuple[float, ...] = (1.0, 0.5, -1.0)) -> Any:
    """Stack one example for each factor."""
    return jax.tree.map(lambda leaf: np.stack([np.asarray(leaf) * np.float32(factor) for factor in factors]), whole)


def each(task: Task, place: int, stacked: Any, count: int) -> Any:
    """Run the plain loop on each stacked example of one argument, and stack the results."""

    def alone(n: int) -> Any:
        one = jax.tree.map(lambda leaf: leaf[n], stacked)
        return jax.jit(task.plain)(*(one if at == place else whole for at, whole in enumerate(task.arguments)))

    return jax.tree.map(lambda *leaves: np.stack(leaves), *map(alone, range(count)))
