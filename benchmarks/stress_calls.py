"""Ways to call: with arguments or constants, compiled in different ways, and under different settings of JAX."""

import threading
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from stress_tasks import Task
from stress_way import close_over, expected, general, of_lstm, square


@general
def arguments(task: Task) -> Any:
    return jax.jit(task.run)(*task.arguments), expected(task)


@general
def weights_closed_over(task: Task) -> Any:
    return close_over(task, {0})


@general
def data_closed_over(task: Task) -> Any:
    return close_over(task, {1})


@general
def all_closed_over(task: Task) -> Any:
    return close_over(task, set(range(len(task.arguments))))


@of_lstm
def state_closed_over(task: Task) -> Any:
    return close_over(task, {2})


@general
def weights_donated(task: Task) -> Any:
    def run(weights: Any, *rest: Any) -> Any:
        return task.run(weights, *rest), jax.tree.map(lambda leaf: leaf * 2, weights)

    weights, *rest = jax.tree.map(jnp.array, task.arguments)
    (results, doubled), _ = jax.jit(run, donate_argnums=0)(weights, *rest), None
    return (results, doubled), (expected(task), jax.tree.map(lambda leaf: leaf * 2, task.arguments[0]))


@general
def eager(task: Task) -> Any:
    return task.run(*task.arguments), expected(task)


@general
def jit_in_jit(task: Task) -> Any:
    inner = jax.jit(task.run)
    return jax.jit(lambda: inner(*task.arguments))(), expected(task)


@general
def compiled_ahead(task: Task) -> Any:
    program = jax.jit(partial(task.run, task.arguments[0])).lower(*task.arguments[1:]).compile()
    return program(*task.arguments[1:]), expected(task)


@general
def export(task: Task) -> Any:
    """Export, serialize and read again. Call the result directly, and with constants inside another program."""
    from jax import export as exporting

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.asarray(leaf).dtype), task.arguments)
    with_arguments = exporting.export(jax.jit(lambda *flat: jax.tree.leaves(task.run(*flat))))(*shapes)
    closed = exporting.export(jax.jit(lambda *rest: jax.tree.leaves(task.run(task.arguments[0], *rest))))(*shapes[1:])
    with_arguments, closed = (exporting.deserialize(program.serialize()) for program in (with_arguments, closed))
    wanted = jax.tree.leaves(expected(task))
    ours = [
        with_arguments.call(*task.arguments),
        jax.jit(lambda *rest: with_arguments.call(task.arguments[0], *rest))(*task.arguments[1:]),
        closed.call(*task.arguments[1:]),
    ]
    return ours, [wanted] * 3


@general
def threads(task: Task) -> Any:
    results: list[Any] = [None] * 8

    def work(n: int) -> None:
        results[n] = jax.jit(lambda data: task.run(task.arguments[0], data, *task.arguments[2:]))(task.arguments[1])

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results, [expected(task)] * 8


@general
def clear_caches(task: Task) -> Any:
    run = jax.jit(partial(task.run, task.arguments[0]))
    first = run(*task.arguments[1:])
    jax.clear_caches()
    return [first, run(*task.arguments[1:])], [expected(task)] * 2


@general
def x64(task: Task) -> Any:
    with jax.enable_x64(True):
        wide = task._replace(
            arguments=jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), task.arguments),
        )
        ours = [close_over(wide, {0})[0], jax.jit(task.run)(*wide.arguments), jax.jit(task.run)(*task.arguments)]
        return ours, [expected(wide), expected(wide), expected(task)]


@general
def disable_jit(task: Task) -> Any:
    """Use only the first three steps or examples, because each operation takes milliseconds."""
    weights, data, *rest = task.arguments
    task = task._replace(arguments=(weights, jax.tree.map(lambda leaf: leaf[:3], data), *rest))
    wanted = expected(task)
    with jax.disable_jit():
        return task.run(*task.arguments), wanted


@general
def debug_nans(task: Task) -> Any:
    with jax.debug_nans(True):
        return close_over(task, {0})


@general
def strict_promotion(task: Task) -> Any:
    task = task.options.get("strict", task)
    wanted = [expected(task), jax.jit(jax.grad(square(task.plain)))(*task.arguments)]
    with jax.numpy_dtype_promotion("strict"):
        arguments = jax.tree.map(jnp.asarray, task.arguments)
        return [jax.jit(task.run)(*arguments), jax.jit(jax.grad(square(task.run)))(*arguments)], wanted
