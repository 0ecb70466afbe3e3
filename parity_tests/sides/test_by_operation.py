"""A program gives the same result operation by operation as compiled, also where NumPy moves the numbers."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_lstm.compiler.one_kernel import one_kernel
from lstm_parity.sides.by_operation import by_operation

RNG = np.random.default_rng(3)
MATRIX = RNG.standard_normal((5, 4)).astype(np.float32)


def padding(*config):
    return lambda x: lax.pad(x, jnp.asarray(7, x.dtype), config)


def updated(x, *starts):
    return lax.dynamic_update_slice(x, 2 * x[1:4, :2], starts)


PROGRAMS = {
    "pad": padding((1, 2, 0), (0, 3, 0)),
    "pad between": padding((0, 1, 2), (2, 0, 1)),
    "pad by less than nothing": padding((-1, -2, 0), (2, -1, 0)),
    "pad between and cut": padding((-2, 3, 1), (-1, -1, 3)),
    "pad away": padding((-2, -3, 0), (0, 0, 0)),
    "slice": lambda x: lax.slice(x, (1, 0), (4, 3)),
    "slice by strides": lambda x: lax.slice(x, (0, 1), (5, 4), (2, 3)),
    "derivative of a slice by strides": jax.grad(lambda x: jnp.sum(lax.slice(x, (0, 1), (5, 4), (2, 3)) ** 2)),
    "dynamic slice": lambda x: lax.dynamic_slice(x, (jnp.argmax(x[:, 0]), 1), (2, 3)),
    "dynamic slice past the end": lambda x: lax.dynamic_slice(x, (4, 3), (3, 2)),
    "dynamic slice before the start": lambda x: lax.dynamic_slice(x, (-9, jnp.int32(-9)), (3, 2)),
    "dynamic update": lambda x: updated(x, 2, 1),
    "dynamic update past the end": lambda x: updated(x, 4, jnp.argmax(x[0])),
    "select": lambda x: lax.select(x > 0, x, -2 * x),
    "select one of three": lambda x: lax.select_n((x > 0).astype(jnp.int32) + (x > 0.5), x, 2 * x, 3 * x),
    "convert and round": lambda x: x.astype(jnp.bfloat16).astype(jnp.float32) + x.astype(jnp.int32),
    "barrier": lambda x: lax.optimization_barrier((x + 1, x * 2)),
    "one kernel": one_kernel(lambda x: {"sum": x.sum(0), "twice": 2 * x}),
    "column and row": lambda x: (x[:, :1] < x[:1]) & (x[:, :1] * x[:1] > 0),
    "array and number": lambda x: 2 * x,
    "numbers alone": lambda x: jnp.sum(x[0, 0] * x[1, 1]),
    "no elements": lambda x: -x[:0],
    "hyperbolic tangent": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "power": lambda x: x**3,
    "loop that writes its steps": lambda x: lax.fori_loop(0, 5, lambda k, y: y.at[4 - k].set(y[k] + 1), x),
    "loop of no steps": lambda x: lax.fori_loop(0, 0, lambda k, y: y + 1, x),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_bit_by_bit_what_it_gives_compiled(name, dtype):
    x = MATRIX.astype(jnp.dtype(dtype))
    ours, compiled = (jax.tree.map(np.asarray, run(PROGRAMS[name])(x)) for run in (by_operation, jax.jit))
    jax.tree.map(partial(np.testing.assert_array_equal, strict=True), ours, compiled)
    np.testing.assert_array_equal(x, MATRIX.astype(jnp.dtype(dtype)))  # and the input was not changed


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """A list that gets an entry for every program that JAX compiles."""
    found: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def test_what_only_moves_numbers_compiles_nothing(compiled):
    def moves(x):
        padded = lax.pad(x, jnp.float32(0), ((1, 0, 0), (0, 1, 0)))
        return lax.dynamic_update_slice(padded, lax.dynamic_slice(x, (1, 1), (2, 2)), (0, 1))[::2].T

    by_operation(moves)(np.ones((7, 11), np.float32))
    assert not compiled
    by_operation(lambda x: x + 1)(np.ones((7, 11), np.float32))
    assert len(compiled) == 1


def test_an_operation_element_by_element_is_compiled_once_for_arrays_of_many_shapes(compiled):
    run = by_operation(lambda x: jnp.tanh(x) * x)
    for shape in ((7, 11), (5, 13), (3, 5, 5), (100,)):  # 65 to 100 elements
        run(np.ones(shape, np.float32))
    assert len(compiled) == 2
    run(np.ones((7, 11, 2), np.float32))
    assert len(compiled) == 4
