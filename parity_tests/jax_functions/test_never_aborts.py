"""However a caller wraps a call, the process survives and gets the same numbers as from the plain loop.

XLA aborts the process over code that it cannot compile into one kernel, so each test has its own process. The pairs are
those of ``benchmarks/stress.py``, which crosses every implementation with every way of calling it.
"""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jax_lstm
from jax_lstm.compiler.one_kernel import fits_one_kernel, one_kernel
from lstm_shared import PUBLISHED_INIT, init_lstm

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
stress, stress_tasks, stress_ways = map(importlib.import_module, ("stress", "stress_tasks", "stress_ways"))

OTHERS = {
    "single-kernel": ("all closed over", "vmap over weights", "sharded weights"),
    "chunked": ("weights closed over", "grad"),
    "fit": (
        "arguments",
        "data closed over",
        "all closed over",
        "vmap over weights",
        "grad",
        "export",
        "clear caches",
        "strict promotion",
    ),
}
PAIRS = [pair for pair in stress.pairs() if pair.split(" × ")[1] in OTHERS.get(pair.split(" × ")[0], ())]
PAIRS += [f"auto × {way}" for way in stress_ways.ways("auto")]


def assert_agrees(outcome) -> None:
    assert outcome.code == 0, "\n".join([f"exit code {outcome.code}", *outcome.output])
    assert outcome.output[-1].startswith("largest difference")


@pytest.mark.parametrize("pair", PAIRS)
def test_the_process_goes_on(pair: str):
    assert_agrees(stress.fresh_process(pair, "--fewer"))


@pytest.mark.parametrize("size", stress_tasks.SINGLE[: stress_tasks.ABORTED], ids=str)
def test_weights_of_this_size_may_be_constants_of_the_program(size):
    assert_agrees(stress.fresh_process("auto × weights closed over", "--task", str(size)))


@pytest.mark.parametrize("name", ["by hand, many rows", "by hand, no days", "table in the loss", "what nothing reads"])
def test_training_may_have_constants_and_what_nothing_reads(name: str):
    assert_agrees(stress.fresh_process("fit × all closed over", "--task", name))


def test_every_way_is_listed_and_each_has_a_test():
    assert len(PAIRS) >= 40
    assert len(set(stress.pairs())) == len(stress.pairs())
    assert set(PAIRS) <= set(stress.pairs())


@pytest.mark.parametrize("batch", [1, 2])
def test_no_steps_where_nothing_is_compiled(batch: int):
    weights, state = init_lstm(3, 4, num_layers=2), (np.ones((2, batch, 4), np.float32),) * 2
    with jax.disable_jit():
        outputs, last = jax_lstm.lstm(weights, np.zeros((0, batch, 3), np.float32), state)
        trace = jax_lstm.lstm_trace(weights, np.zeros((0, batch, 3), np.float32), state)
    assert outputs.shape == (0, batch, 4)
    assert trace.cell.shape == (2, 1, 0, batch, 4)
    for ours, given in zip(last, state, strict=True):
        np.testing.assert_array_equal(ours, given)


# Where XLA cannot compile the kernel and something prevents it, and where the kernel stays.

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the attribute is XLA's CPU backend's")
MARK = 'xla_cpu_small_call = "true"'


def program(run, *arguments) -> str:
    return jax.jit(run).lower(*arguments).as_text()


@on_cpu
@pytest.mark.parametrize("closed", [False, True], ids=["an argument", "closed over"])
def test_a_batch_of_one_stays_in_one_kernel_whose_operands_pass_a_barrier(closed: bool):
    weights, inputs = init_lstm(16, 32), np.ones((3, 1, 16), np.float32)
    if closed:
        text = program(lambda inputs: jax_lstm.lstm(weights, inputs)[0], inputs)
    else:
        text = program(lambda weights, inputs: jax_lstm.lstm(weights, inputs)[0], weights, inputs)
    assert MARK in text
    assert text.count("optimization_barrier") == 2


@on_cpu
def test_every_operand_has_a_reader_when_xla_is_done():
    """Even if XLA finds that an operand has no effect, the kernel returns one of its elements."""
    kernel = one_kernel(lambda x, unused: x * 2 + unused * 0)
    x, unused = np.arange(5.0, dtype=np.float32), np.arange(5)
    compiled = jax.jit(kernel).lower(x, unused).compile()
    np.testing.assert_array_equal(compiled(x, unused), 2 * x)
    assert "xla_cpu_small_call" in compiled.as_text()


@on_cpu
def test_what_is_exported_has_no_kernel():
    weights = init_lstm(3, 4)
    run = jax.jit(lambda inputs: jax_lstm.lstm(weights, inputs)[0])
    inputs = jax.ShapeDtypeStruct((3, 1, 3), jnp.float32)
    assert MARK in run.lower(inputs).as_text()
    assert MARK not in jax.export.export(run)(inputs).mlir_module()


SCATTERS = {"w": np.ones(5, np.float32)}


@on_cpu
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (jax.grad(lambda params, rows: params["w"][rows].sum()), (SCATTERS, np.array([0, 2, 2]))),
        (lambda x: jax.lax.clamp(False, x, True), (np.array([True, False]),)),
        (lambda x: x * 1j, (np.float32(1),)),
    ],
    ids=["a scatter", "a clamp of booleans", "complex numbers"],
)
def test_what_xla_refuses_to_compile_in_one_kernel_does_not_fit(function, arguments):
    assert not fits_one_kernel(function, *arguments)
    jax.jit(function)(*arguments)


@on_cpu
def test_vmap_that_makes_a_scatter_of_an_update_gives_the_kernel_up():
    def update(x, place):
        return jax.lax.dynamic_update_slice(x, x[:1] * 2, (place,))

    x, places = np.arange(12.0, dtype=np.float32).reshape(3, 4), np.array([1, 3, 0])
    assert fits_one_kernel(update, x[0], places[0])
    many = jax.vmap(one_kernel(update, under_vmap=True))
    np.testing.assert_array_equal(jax.jit(many)(x, places), jax.vmap(update)(x, places))
    assert MARK not in program(many, x, places)
    assert MARK in program(jax.vmap(one_kernel(lambda x: x * 2, under_vmap=True)), x)


def test_a_derivative_of_a_whole_training_is_that_of_the_ordinary_loop():
    params = {name: np.float32(value) for name, value in PUBLISHED_INIT.items()}
    data = (np.ones((2, 3), np.float32), np.ones(2, np.float32))

    def last_loss(params):
        return jax_lstm.fit(jax_lstm.by_hand.loss, params, data, epochs=3, optimizer=optax.sgd(0.1)).losses[-1]

    gradient = jax.grad(last_loss)(params)
    step = 1e-2
    higher, lower = (last_loss(params | {"wo1": params["wo1"] + by}) for by in (step, -step))
    assert float(gradient["wo1"]) == pytest.approx(float(higher - lower) / (2 * step), rel=0.02, abs=1e-4)


def test_fit_may_stand_in_a_program_without_arguments():
    params = {name: np.float32(value) for name, value in PUBLISHED_INIT.items()}
    data = (np.ones((2, 3), np.float32), np.ones(2, np.float32))
    inside = jax.jit(lambda: jax_lstm.fit(jax_lstm.by_hand.loss, params, data, epochs=2).losses)()
    np.testing.assert_allclose(inside, jax_lstm.fit(jax_lstm.by_hand.loss, params, data, epochs=2).losses, rtol=1e-6)
