"""All ways to call a function that JAX compiles. Each runs a task and returns its results and the plain loop's."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import stress_calls
import stress_transforms
from stress_tasks import Task
from stress_way import GENERAL, OF_LSTM, TWO_DEVICES, Way, expected, general, of_lstm

try:
    import equinox
except ImportError:
    equinox = None

# The other two modules are imported because they register their ways.
__all__ = ["TWO_DEVICES", "stress_calls", "stress_transforms", "ways"]


@of_lstm
def linen(task: Task) -> Any:
    import jax_lstm.linen

    weights, inputs, state = task.arguments
    module = jax_lstm.linen.LSTM(**task.options)
    closed = jax.jit(lambda inputs: module.apply({"params": weights}, inputs, state))(inputs)
    return [closed, jax.jit(module.apply)({"params": weights}, inputs, state)], [expected(task)] * 2


@of_lstm
def nnx(task: Task) -> Any:
    from flax import nnx

    import jax_lstm.nnx

    weights, inputs, state = task.arguments
    module = jax_lstm.nnx.LSTM.from_weights(weights, implementation=task.options["implementation"])
    ours = [
        jax.jit(lambda inputs: module(inputs, state))(inputs),
        nnx.jit(lambda module, inputs: module(inputs, state))(module, inputs),
    ]
    return ours, [expected(task)] * 2


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["run"])
@dataclass(frozen=True)
class Model:
    weights: Any
    run: Any

    def __call__(self, *arguments: Any) -> Any:
        return self.run(self.weights, *arguments)


@general
def dataclass_module(task: Task) -> Any:
    model = Model(task.arguments[0], task.run)
    ours = [jax.jit(model.__call__)(*task.arguments[1:])]
    ours += [jax.jit(lambda model, *rest: model(*rest))(model, *task.arguments[1:])]
    return ours, [expected(task)] * 2


if equinox is not None:

    class EquinoxModel(equinox.Module):
        weights: Any
        run: Any = equinox.field(static=True)

        def __call__(self, *arguments: Any) -> Any:
            return self.run(self.weights, *arguments)

    @general
    def equinox_module(task: Task) -> Any:
        assert equinox is not None
        model = EquinoxModel(task.arguments[0], task.run)
        ours = [jax.jit(model.__call__)(*task.arguments[1:])]
        ours += [equinox.filter_jit(lambda model, *rest: model(*rest))(model, *task.arguments[1:])]
        return ours, [expected(task)] * 2


def ways(implementation: str) -> dict[str, Way]:
    return GENERAL if implementation == "fit" else {**GENERAL, **OF_LSTM}
