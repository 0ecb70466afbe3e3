"""Ways to call: inside JAX's transforms and control flow, and on several devices."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from stress_tasks import Task
from stress_way import each, expected, general, of_lstm, some_of, square


@general
def vmap_over_weights(task: Task) -> Any:
    stacked = some_of(task.arguments[0])
    many = jax.vmap(lambda weights: task.run(weights, *task.arguments[1:]))
    return jax.jit(many)(stacked), each(task, 0, stacked, 3)


@general
def vmap_over_data(task: Task) -> Any:
    stacked = some_of(task.arguments[1])
    many = jax.vmap(lambda data: task.run(task.arguments[0], data, *task.arguments[2:]))
    return jax.jit(many)(stacked), each(task, 1, stacked, 3)


@general
def scan(task: Task) -> Any:
    stacked = some_of(task.arguments[1])

    def step(carry: Any, data: Any) -> Any:
        return carry, task.run(task.arguments[0], data, *task.arguments[2:])

    return jax.jit(lambda stacked: lax.scan(step, 0, stacked)[1])(stacked), each(task, 1, stacked, 3)


@general
def while_loop(task: Task) -> Any:
    def again(carry: Any) -> Any:
        count, _ = carry
        return count + 1, jax.tree.map(jnp.asarray, task.run(*task.arguments))

    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(task.run, *task.arguments))
    return jax.jit(lambda n: lax.while_loop(lambda c: c[0] < n, again, (0, start))[1])(2), expected(task)


@general
def cond(task: Task) -> Any:
    weights, *rest = task.arguments

    def run(yes: Any, rest: Any) -> Any:
        doubled = jax.tree.map(lambda leaf: leaf * 2, weights)
        return lax.cond(yes, lambda: task.run(weights, *rest), lambda: task.run(doubled, *rest))

    return jax.jit(run)(True, rest), expected(task)


@general
def checkpoint(task: Task) -> Any:
    arguments = task.arguments
    ours = jax.jit(lambda data: jax.grad(jax.checkpoint(square(task.run)))(arguments[0], data, *arguments[2:]))
    return ours(arguments[1]), jax.jit(jax.grad(square(task.plain)))(*arguments)


@general
def grad(task: Task) -> Any:
    weights, data, *rest = task.arguments
    ours = [
        jax.jit(jax.grad(square(task.run), (0, 1)))(weights, data, *rest),
        jax.jit(jax.grad(lambda data: square(task.run)(weights, data, *rest)))(data),
        jax.jit(jax.grad(lambda weights: square(task.run)(weights, data, *rest)))(weights),
    ]
    both = jax.jit(jax.grad(square(task.plain), (0, 1)))(*task.arguments)
    return ours, [both, both[1], both[0]]


@general
def jvp(task: Task) -> Any:
    weights, *rest = task.arguments

    def along(run: Any, weights: Any) -> Any:
        return jax.jvp(lambda weights: square(run)(weights, *rest), (weights,), (weights,))

    ours = jax.jit(lambda: along(task.run, jax.tree.map(jnp.asarray, weights)))()
    return ours, jax.jit(partial(along, task.plain))(weights)


@general
def hessian(task: Task) -> Any:
    """Take the Hessian with respect to a step along the weights, so that it stays small."""
    weights, *rest = task.arguments

    def curvature(run: Any, weights: Any) -> Any:
        def along(length: Any) -> Any:
            return square(run)(jax.tree.map(lambda leaf: leaf * length, weights), *rest)

        return jax.hessian(along)(jnp.float32(1))

    return jax.jit(lambda: curvature(task.run, weights))(), jax.jit(partial(curvature, task.plain))(weights)


@general
def pmap(task: Task) -> Any:
    ours, wanted = [], []
    for devices in (1, 2):
        stacked = some_of(task.arguments[1], (1.0, 0.5)[:devices])
        run = jax.pmap(partial(task.run, task.arguments[0]), in_axes=(0, *[None] * (len(task.arguments) - 2)))
        ours.append(run(stacked, *task.arguments[2:]))
        wanted.append(each(task, 1, stacked, devices))
    return ours, wanted


def mesh(devices: int, kind: AxisType = AxisType.Auto) -> Mesh:
    return jax.make_mesh((devices,), ("each",), (kind,), devices=jax.devices()[:devices])


@general
def shard_map(task: Task) -> Any:
    ours, wanted = [], []
    for devices in (1, 2):
        stacked = some_of(task.arguments[1], (1.0, 0.5)[:devices])

        def local(data: Any) -> Any:
            one = jax.tree.map(lambda leaf: leaf[0], data)
            return jax.tree.map(lambda leaf: leaf[None], task.run(task.arguments[0], one, *task.arguments[2:]))

        spec = PartitionSpec("each")
        run = jax.shard_map(local, mesh=mesh(devices), in_specs=spec, out_specs=spec, check_vma=False)
        ours.append(jax.jit(run)(stacked))
        wanted.append(each(task, 1, stacked, devices))
    return ours, wanted


def _spread(weights: Any, devices: Mesh) -> Any:
    """Return the weights with their first axis split over both devices, where it divides evenly."""

    def place(leaf: Any) -> Any:
        even = np.ndim(leaf) and len(leaf) % devices.size == 0
        return jax.device_put(leaf, NamedSharding(devices, PartitionSpec("each") if even else PartitionSpec()))

    return jax.tree.map(place, weights)


@general
def sharded_weights(task: Task) -> Any:
    weights = _spread(task.arguments[0], mesh(2))
    ours = [jax.jit(task.run)(weights, *task.arguments[1:])]
    ours += [jax.jit(lambda weights: task.run(weights, *task.arguments[1:]))(weights)]
    return ours, [expected(task)] * 2


@of_lstm
def streaming(task: Task) -> Any:
    """Call once a step, with a scan that carries the state."""
    weights, inputs, state = task.arguments

    def step(state: Any, features: Any) -> Any:
        outputs, state = task.run(weights, features[None], state)
        return state, outputs[0]

    def run(inputs: Any, state: Any) -> Any:
        state, outputs = lax.scan(step, jax.tree.map(jnp.asarray, state), inputs)
        return outputs, state

    bidirectional = task.options["bidirectional"] or task.options["num_layers"] > 1
    return (expected(task) if bidirectional else jax.jit(run)(inputs, state)), expected(task)
