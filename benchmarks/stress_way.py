"""What is common to the ways to call: their registers, what the plain loop gives, and examples to map over."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from stress_tasks import Task

# way(task) -> (what came out, what the plain loop gives with everything an argument of a jit)
Way = Callable[[Task], tuple[Any, Any]]

GENERAL: dict[str, Way] = {}  # for every task
OF_LSTM: dict[str, Way] = {}  # for those that call ``lstm``: with weights, inputs and state
TWO_DEVICES = {"pmap", "shard map", "sharded weights"}  # these need the processor to be two


def general(function: Way) -> Way:
    GENERAL[function.__name__.strip("_").replace("_", " ")] = function
    return function


def of_lstm(function: Way) -> Way:
    OF_LSTM[function.__name__.replace("_", " ")] = function
    return function


def expected(task: Task) -> Any:
    return jax.jit(task.plain)(*task.arguments)


def square(run: Callable[..., Any]) -> Callable[..., Any]:
    """A number that depends on everything that comes out."""
    return lambda *arguments: sum(jnp.sum(jnp.asarray(leaf) ** 2) for leaf in jax.tree.leaves(run(*arguments)))


def close_over(task: Task, places: set[int]) -> tuple[Any, Any]:
    """The arguments at ``places`` are constants of the program."""

    def run(*given: Any) -> Any:
        rest = iter(given)
        return task.run(*(whole if n in places else next(rest) for n, whole in enumerate(task.arguments)))

    given = [whole for n, whole in enumerate(task.arguments) if n not in places]
    return jax.jit(run)(*given), expected(task)


def some_of(whole: Any, factors: tuple[float, ...] = (1.0, 0.5, -1.0)) -> Any:
    """As many examples as factors, stacked."""
    return jax.tree.map(lambda leaf: np.stack([np.asarray(leaf) * np.float32(factor) for factor in factors]), whole)


def each(task: Task, place: int, stacked: Any, count: int) -> Any:
    """The plain loop on each of the stacked examples of one argument."""

    def alone(n: int) -> Any:
        one = jax.tree.map(lambda leaf: leaf[n], stacked)
        return jax.jit(task.plain)(*(one if at == place else whole for at, whole in enumerate(task.arguments)))

    return jax.tree.map(lambda *leaves: np.stack(leaves), *map(alone, range(count)))
