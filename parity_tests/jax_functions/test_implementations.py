"""Every way to run the recurrence: against torch at every remainder of the chunk, and which one "auto" takes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lstm_cases import (
    Case,
    Result,
    assert_group_equal,
    by_explicit,
    compile_and_run,
    draw_weights,
    value_and_gradient,
)

import jax_lstm
from jax_lstm.recurrences.choose import chunk_steps, features_first
from lstm_shared import InputError, LSTMSpec, init_lstm

BATCH = 64  # large, so that a chunk has few steps
CHUNK = chunk_steps(BATCH)
PLAIN, DEEP = LSTMSpec(5, 4), LSTMSpec(5, 4, num_layers=2, bidirectional=True, proj_size=3, bias=False)

# kind -> (model, whether it is ragged, whether it has resets)
KINDS = {
    "plain": (PLAIN, False, False),
    "ragged": (PLAIN, True, False),
    "reset": (PLAIN, False, True),
    "ragged-reset-projected": (LSTMSpec(5, 4, proj_size=3), True, True),
    "bidirectional-projected-2-layer": (DEEP, False, False),
    "bidirectional-projected-2-layer-ragged": (DEEP, True, False),
}


def draw(spec: LSTMSpec, time: int, batch: int, ragged: bool, resetting: bool) -> tuple[Case, np.ndarray | None]:
    rng = np.random.default_rng(3)
    rows = (spec.num_layers * len(spec.directions), batch)
    shapes = {
        "outputs": (time, batch, spec.output_size),
        "h_n": (*rows, spec.state_size),
        "c_n": (*rows, spec.hidden_size),
    }
    case = Case(
        draw_weights(spec),
        rng.standard_normal((time, batch, spec.input_size)),
        (rng.standard_normal(shapes["h_n"]), rng.standard_normal(shapes["c_n"])),
        rng.integers(0, time + 1, batch) if ragged else None,
        {name: rng.standard_normal(shape) for name, shape in shapes.items()},
    )
    return case, rng.random((time, batch)) < 0.2 if resetting else None


def by_jax(case: Case, reset: np.ndarray | None, **options: Any) -> Result:
    """Run the forward pass alone, as if nothing is differentiated, and then the gradient with its own forward pass."""

    def call(params: Any, inputs: Any, state: Any, lengths: Any) -> Any:
        return jax_lstm.lstm(params, inputs, state, lengths=lengths, reset=reset, **options)

    def both(*arguments: Any) -> Any:
        outputs, (h_n, c_n) = call(*arguments[:4])
        alone = {"outputs": outputs, "h_n": h_n, "c_n": c_n}
        return alone, *value_and_gradient(call)(*arguments)

    alone, forward, gradient = compile_and_run(both, case)
    assert_group_equal("forward", alone, forward, "float64")
    return Result(forward, gradient)


def assert_like_torch(case: Case, reset: np.ndarray | None, **options: Any) -> None:
    ours, theirs = by_jax(case, reset, **options), by_explicit(case, reset=reset)
    for group in Result._fields:
        assert_group_equal(group, getattr(ours, group), getattr(theirs, group), "float64")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("remainder", [0, 1, CHUNK - 1])
def test_chunked_at_every_remainder_of_the_chunk(remainder: int, kind: str):
    spec, ragged, resetting = KINDS[kind]
    case, reset = draw(spec, 2 * CHUNK + remainder, BATCH, ragged, resetting)
    assert_like_torch(case, reset, implementation="chunked")


@pytest.mark.parametrize("kind", ["bidirectional-projected-2-layer", "bidirectional-projected-2-layer-ragged"])
def test_chunked_with_a_loop_for_each_direction(kind: str, monkeypatch: pytest.MonkeyPatch):
    """Larger hidden sizes do this. In the tests above, both directions share a loop."""
    monkeypatch.setattr("jax_lstm.recurrences.choose.SHARED_LOOP", ())
    spec, ragged, resetting = KINDS[kind]
    case, reset = draw(spec, 2 * CHUNK + 1, BATCH, ragged, resetting)
    assert_like_torch(case, reset, implementation="chunked")


@pytest.mark.parametrize("time", [1, CHUNK - 1])
def test_chunked_in_less_than_a_chunk(time: int):
    case, _ = draw(PLAIN, time, BATCH, False, False)
    assert_like_torch(case, None, implementation="chunked")


@pytest.mark.parametrize("kind", ["ragged-reset-projected", "bidirectional-projected-2-layer-ragged"])
def test_the_plain_loop(kind: str):
    spec, ragged, resetting = KINDS[kind]
    case, reset = draw(spec, 2 * CHUNK + 1, BATCH, ragged, resetting)
    assert_like_torch(case, reset, implementation="scan")


@pytest.mark.parametrize("kind", ["plain", "ragged-reset-projected", "bidirectional-projected-2-layer"])
def test_a_single_kernel(kind: str):
    spec, ragged, resetting = KINDS[kind]
    case, reset = draw(spec, 5, 1, ragged, resetting)
    assert_like_torch(case, reset, implementation="single-kernel")


@pytest.mark.parametrize("implementation", ["auto", "scan", "chunked", "single-kernel"])
@pytest.mark.parametrize("kind", ["plain", "bidirectional-projected-2-layer-ragged"])
def test_no_steps(kind: str, implementation: str):
    """Compile one sequence without steps: XLA would abort on a single kernel around an empty loop."""
    spec, ragged, resetting = KINDS[kind]
    case, reset = draw(spec, 0, 1, ragged, resetting)
    assert_like_torch(case, reset, implementation=implementation)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_features_first_where_nothing_is_differentiated(bidirectional: bool):
    spec = LSTMSpec(3, 64, bidirectional=bidirectional)
    assert features_first(BATCH, spec.hidden_size, np.float64)
    assert not features_first(32, spec.hidden_size, np.float64)
    assert not features_first(BATCH, spec.hidden_size, jnp.bfloat16)
    assert not features_first(BATCH, PLAIN.hidden_size, np.float64)
    case, _ = draw(spec, 5, BATCH, True, False)
    assert_like_torch(case, None)


@pytest.mark.parametrize(("input_size", "batch", "hidden_size"), [(5, 2, 4), (1, 2, 4), (1, BATCH, 64)])
@pytest.mark.parametrize("projected", [False, True])
def test_inputs_and_state_in_one_product(input_size: int, batch: int, hidden_size: int, projected: bool):
    """The first case uses one product with a backward pass too, the others only if nothing is differentiated."""
    spec = LSTMSpec(input_size, hidden_size, proj_size=3 if projected else 0)
    case, _ = draw(spec, 18, batch, True, False)
    assert_like_torch(case, None, implementation="chunked")


@pytest.mark.parametrize(
    ("recompute", "kind"),
    [(1, "plain"), (3, "ragged"), (3, "bidirectional-projected-2-layer-ragged"), (4, "reset"), (100, "plain")],
)
def test_recomputed_in_the_backward_pass(recompute: int, kind: str):
    spec, ragged, resetting = KINDS[kind]
    case, reset = draw(spec, 8, BATCH, ragged, resetting)
    assert_like_torch(case, reset, recompute=recompute)


@pytest.mark.parametrize("recompute", [3, 4, 100])  # of 8 steps: a remainder, no remainder, only a remainder
def test_recomputed_with_a_loop_for_each_direction(recompute: int, monkeypatch: pytest.MonkeyPatch):
    """Larger hidden sizes do this. The reverse direction begins with the remainder."""
    monkeypatch.setattr("jax_lstm.recurrences.choose.SHARED_LOOP", ())
    spec, ragged, resetting = KINDS["bidirectional-projected-2-layer-ragged"]
    case, reset = draw(spec, 8, BATCH, ragged, resetting)
    assert_like_torch(case, reset, recompute=recompute)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_recomputed_under_the_gradient_of_vmap(bidirectional: bool):
    """Inside a loop, JAX must find the vmap axis in the same place whether or not the loop is differentiated."""
    weights = init_lstm(5, 4, bidirectional=bidirectional, dtype=np.float64)
    rng = np.random.default_rng(4)
    inputs = rng.standard_normal((3, 8, 2, 5))
    lengths = np.array([[3, 8], [5, 1], [8, 8]])

    def gradient(inputs: Any, lengths: Any) -> Any:
        def loss(weights: Any) -> Any:
            def outputs(inputs: Any, lengths: Any) -> Any:
                return jax_lstm.lstm(weights, inputs, lengths=lengths, recompute=3)[0]

            return (jax.vmap(outputs)(inputs, lengths) ** 2).sum()

        return jax.jit(jax.grad(loss))(weights)

    with jax.enable_x64(True):
        together, *alone = (
            jax.tree.map(np.asarray, gradient(inputs[rows], lengths[rows])) for rows in (slice(None), [0], [1], [2])
        )
    assert_group_equal("gradient", together, {name: sum(one[name] for one in alone) for name in weights}, "float64")


@pytest.mark.parametrize("implementation", ["auto", "chunked", "single-kernel"])
def test_a_gradient_through_a_loop_of_gradient_steps(implementation: str):
    """JAX traces the step's gradient more than once and compares what it finds."""
    weights = init_lstm(3, 4)
    data = np.random.default_rng(5).standard_normal((2, 5, 1, 3)).astype(np.float32)

    def trained(weights: Any, implementation: str) -> Any:
        def step(weights: Any, inputs: Any) -> Any:
            def loss(weights: Any) -> Any:
                return (jax_lstm.lstm(weights, inputs, implementation=implementation)[0] ** 2).sum()

            return jax.tree.map(lambda weight, by: weight - 0.1 * by, weights, jax.grad(loss)(weights)), None

        weights, _ = jax.lax.scan(step, jax.tree.map(jnp.asarray, weights), data)
        return sum((weight**2).sum() for weight in weights.values())

    ours, plain = (
        jax.jit(jax.grad(partial(trained, implementation=name)))(weights) for name in (implementation, "scan")
    )
    assert_group_equal("gradient", ours, plain, "float32")


# Which path runs, as read from the program that goes to XLA.

WEIGHTS = {"weight_ih_l0": (256, 32), "weight_hh_l0": (256, 64), "bias_ih_l0": (256,), "bias_hh_l0": (256,)}


def lowered(time: int, batch: int, dtype: Any = jnp.float32, *, gradient: bool = True, **options: Any) -> str:
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in WEIGHTS.items()}
    inputs = jax.ShapeDtypeStruct((time, batch, 32), dtype)

    def loss(params: Any, inputs: Any) -> Any:
        return jax_lstm.lstm(params, inputs, **options)[0].astype(jnp.float32).sum()

    program = jax.jit(jax.grad(loss) if gradient else loss).lower(params, inputs)
    return program.as_text(debug_info=True)


def paths(program: str) -> set[str]:
    """Tell the paths by what only each has: the attribute of a single kernel, the barrier of the chunks, a plain loop.

    A single kernel has a barrier too, so chunks next to one are told by their name.
    """
    assert "stablehlo.while" in program
    if "xla_cpu_small_call" in program:
        return {"single-kernel"} | ({"chunked"} if "lstm_chunked" in program else set())
    return {"chunked"} if "optimization_barrier" in program else {"scan"}


on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason='"auto" is the plain loop elsewhere')


@on_cpu
@pytest.mark.parametrize("remainder", [0, 1, CHUNK - 1])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("implementation", ["auto", "chunked", "scan"])
def test_which_path_runs(implementation: str, ragged: bool, remainder: int):
    lengths = jnp.arange(BATCH) % 5 if ragged else None
    program = lowered(2 * CHUNK + remainder, BATCH, lengths=lengths, implementation=implementation)
    assert paths(program) == {"scan" if implementation == "scan" else "chunked"}
    assert f"lstm_{'scan' if implementation == 'scan' else 'chunked'}" in program


@on_cpu
@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((8, 1), "single-kernel"),
        ((8, 2), "chunked"),
        ((8, 64), "chunked"),
        ((8, 64, jnp.bfloat16), "chunked"),
        ((8, 1, jnp.float16), "chunked"),
    ],
)
def test_what_auto_chooses(arguments: Any, path: str):
    assert paths(lowered(*arguments)) == {path}


@on_cpu
@pytest.mark.parametrize(
    ("implementation", "hidden", "dtype", "loops"),
    [
        ("auto", 1, jnp.float32, 2),
        ("auto", 2, jnp.float32, 1),
        ("auto", 32, jnp.float32, 1),
        ("auto", 32, jnp.bfloat16, 2),
        ("auto", 33, jnp.float32, 2),
        ("chunked", 32, jnp.float32, 1),
        ("scan", 32, jnp.float32, 2),
    ],
)
def test_how_many_loops_two_directions_run_in(implementation: str, hidden: int, dtype: Any, loops: int):
    weights = draw_weights(LSTMSpec(5, hidden, bidirectional=True))
    inputs = jax.ShapeDtypeStruct((8, 2, 5), dtype)
    run = jax.jit(lambda inputs: jax_lstm.lstm(weights, inputs, implementation=implementation))
    assert run.lower(inputs).as_text().count("stablehlo.while") == loops


@on_cpu
@pytest.mark.parametrize(
    ("implementation", "batch", "input_size", "hidden_size", "dtype", "forward", "saving"),
    [
        ("auto", 2, 5, 127, jnp.float32, 1, 1),
        ("auto", 2, 5, 128, jnp.float32, 2, 1),
        ("auto", 2, 5, 129, jnp.float32, 2, 2),
        ("auto", 32, 5, 64, jnp.float32, 1, 2),
        ("auto", 2, 1, 256, jnp.float32, 1, 2),
        ("auto", 2, 1, 64, jnp.bfloat16, 2, 2),
        ("scan", 2, 5, 4, jnp.float32, 2, 2),
    ],
)
def test_how_many_products_a_step_has(
    implementation: str, batch: int, input_size: int, hidden_size: int, dtype: Any, forward: int, saving: int
):
    weights = draw_weights(LSTMSpec(input_size, hidden_size))
    inputs = jnp.zeros((8, batch, input_size), dtype)

    def run(weights: Any) -> Any:
        return jax_lstm.lstm(weights, inputs, implementation=implementation)[0]

    def saved(weights: Any) -> Any:
        return jax.vjp(run, weights)[1]

    for program, products in ((run, forward), (saved, saving)):
        assert jax.jit(program).lower(weights).as_text().count("stablehlo.dot_general") == products


@on_cpu
def test_a_single_kernel_is_given_up_under_vmap():
    params = {name: jnp.ones(shape) * 0.1 for name, shape in WEIGHTS.items()}
    inputs = jnp.ones((3, 8, 1, 32))

    def loss(params: Any, inputs: Any) -> Any:
        return (jax_lstm.lstm(params, inputs, implementation="single-kernel")[0] ** 2).sum()

    each = jax.vmap(jax.jit(jax.grad(loss)), (None, 0))
    assert "xla_cpu_small_call" not in jax.jit(each).lower(params, inputs).as_text()
    together, alone = each(params, inputs), jax.grad(loss)(params, inputs[0])
    np.testing.assert_allclose(together["weight_hh_l0"][0], alone["weight_hh_l0"], rtol=1e-5, atol=1e-6)


def test_a_jax_without_the_option_runs_the_loop_as_it_always_did(monkeypatch):
    monkeypatch.setattr("jax_lstm.compiler.one_kernel.set_xla_metadata", None)
    case, _ = draw(PLAIN, 5, 1, False, False)
    assert_like_torch(case, None, implementation="single-kernel")


# Calls that cannot run are refused before anything is compiled.


@pytest.mark.parametrize(
    ("options", "batch", "message"),
    [
        ({"implementation": "single-kernel"}, 2, 'implementation="single-kernel" runs a batch of 1, the inputs have 2'),
        ({"recompute": 0}, 2, "recompute is 0, expected a number of steps, 1 or more, or None"),
        ({"recompute": 2.5}, 2, "recompute is 2.5, expected a number of steps"),
    ],
)
def test_what_cannot_run_is_refused(options: Any, batch: int, message: str):
    weights = draw_weights(PLAIN)
    with pytest.raises(InputError) as refused:
        jax_lstm.lstm(weights, np.zeros((4, batch, 5)), **options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"implementation": "chunked"}, 'implementation="chunked" needs known sizes, the inputs have t steps'),
        ({"recompute": 3}, "recompute needs a known number of steps, the inputs have t"),
    ],
)
def test_what_needs_to_know_the_sizes_is_not_exported_without(options: Any, message: str):
    weights = draw_weights(PLAIN)
    inputs = jax.ShapeDtypeStruct(jax.export.symbolic_shape("t, 1, 5"), jnp.float32)
    with pytest.raises(InputError, match=message):
        jax.export.export(jax.jit(lambda inputs: jax_lstm.lstm(weights, inputs, **options)))(inputs)


# Memory: what the backward pass keeps, in elements per step, row and hidden unit.


def temporaries(time: int, batch: int, **options: Any) -> float:
    """Return the bytes of temporaries in the forward and backward pass, for the weight gradients alone."""
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in WEIGHTS.items()}
    inputs = jax.ShapeDtypeStruct((time, batch, 32), jnp.float32)

    def loss(params: Any, inputs: Any) -> Any:
        _, (h_n, _) = jax_lstm.lstm(params, inputs, **options)
        return (h_n**2).sum()

    analysis: Any = jax.jit(jax.grad(loss)).lower(params, inputs).compile().memory_analysis()
    return analysis.temp_size_in_bytes


def test_memory_of_the_backward_pass():
    """Five saved arrays, the outputs and their gradient: 7 numbers per step, row and unit, and little else."""
    batch, hidden = 32, 64
    growth = (temporaries(600, batch) - temporaries(200, batch)) / (400 * batch * hidden * 4)
    assert 6 <= growth <= 7.1, growth
    plain = (temporaries(600, batch, implementation="scan") - temporaries(200, batch, implementation="scan")) / (
        400 * batch * hidden * 4
    )
    assert plain > growth + 1, plain


def test_recomputing_makes_memory_small():
    """10,000 steps in segments of 100 need the states of 100 segments and the saved arrays of one."""
    segments = temporaries(10_000, 8, recompute=100)
    whole = temporaries(10_000, 8)
    assert segments < whole / 25, (segments, whole)
