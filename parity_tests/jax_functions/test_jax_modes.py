"""Every mode that makes JAX stricter or slower: each function runs in it, forward and backward, and gives the same
numbers as in the default mode.

The tests are a selection in which any two values of mode, function, dtype and option meet. If a mode looks at each
operation as it runs, the call is not compiled as a whole. The results of the default mode always are.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cache, partial
from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from lstm_cases import ALLOWED, unoptimized_jit

import jax_lstm
from jax_lstm import by_hand
from lstm_parity.compare.rows import compare
from lstm_shared import LSTMSpec, init_by_hand, init_lstm

TIME, BATCH, INPUT_SIZE, HIDDEN_SIZE = 4, 2, 3, 5


class Mode(NamedTuple):
    """A mode's settings, and whether the whole call is compiled in it."""

    settings: tuple[Callable[[], AbstractContextManager[Any]], ...]
    compiled: bool = True


STRICT = lambda: jax.numpy_dtype_promotion("strict")  # noqa: E731
NANS, INFS, CHECKS = (lambda s=s: s(True) for s in (jax.debug_nans, jax.debug_infs, jax.enable_checks))
RANKS = lambda: jax.numpy_rank_promotion("raise")  # noqa: E731
HIGHEST = lambda: jax.default_matmul_precision("highest")  # noqa: E731

MODES = {
    "strict": Mode((STRICT,)),
    "debug-nans": Mode((NANS,), compiled=False),
    "debug-infs": Mode((INFS,)),
    "disable-jit": Mode((jax.disable_jit,), compiled=False),
    "leaks": Mode((jax.checking_leaks,)),
    "ranks": Mode((RANKS,)),
    "checks": Mode((CHECKS,)),
    "highest": Mode((HIGHEST,)),
    "all": Mode((STRICT, NANS, INFS, CHECKS, RANKS, HIGHEST, jax.checking_leaks)),
    "all-uncompiled": Mode((STRICT, NANS, INFS, CHECKS, RANKS, HIGHEST), compiled=False),
    "all-disable-jit": Mode((STRICT, NANS, INFS, CHECKS, RANKS, HIGHEST, jax.disable_jit), compiled=False),
}
# Name -> (dtype of weights and inputs, whether JAX has 64-bit numbers).
DTYPES = {
    "float32": (np.float32, False),
    "float32-x64": (np.float32, True),
    "float64": (np.float64, True),
    "bfloat16": (ml_dtypes.bfloat16, False),
    "float16": (np.float16, False),
}
SEQUENCES = ("scan", "chunked", "single-kernel", "recompute", "trace", "forecast", "linen", "nnx")
UNITS = ("cell", "unit", "predict", "by-hand-trace", "by-hand-loss")
OPTIONS = {
    "plain": (*SEQUENCES, *UNITS),
    "bidirectional": SEQUENCES,
    "projected": SEQUENCES,
    "no-bias": (*SEQUENCES, "cell"),
    "other-state": (*SEQUENCES, "cell", "unit", "predict", "by-hand-trace"),  # a state of another dtype
    "other-weights": (*SEQUENCES, *UNITS),  # weights of another dtype than the inputs
    "ragged": SEQUENCES,  # batch first, NaN in the padding, and a length of zero
    "reset": SEQUENCES,
    "no-steps": (*SEQUENCES, "predict", "by-hand-trace", "by-hand-loss"),
    # An empty batch. The by-hand loss of one is the mean of nothing, which is NaN.
    "empty": tuple(name for name in (*SEQUENCES, *UNITS) if name not in ("single-kernel", "by-hand-loss")),
    "unbatched": (*SEQUENCES, "cell", "predict", "by-hand-trace"),
}


class Setting(NamedTuple):
    """One call in one mode. All four are names from the tables above."""

    mode: str
    function: str
    dtype: str
    option: str

    def __str__(self) -> str:
        return "-".join(self)


POSSIBLE = [
    Setting(mode, function, dtype, option)
    for option, functions in OPTIONS.items()
    for mode, function, dtype in product(MODES, functions, DTYPES)
]


def pairs(setting: Setting) -> set[Any]:
    return set(combinations(enumerate(setting), 2))


def select() -> list[Setting]:
    """Choose settings greedily, each with the first pair still missing, until any two values that can meet have met."""
    shown = {setting: pairs(setting) for setting in POSSIBLE}
    left = {pair: None for found in shown.values() for pair in sorted(found)}  # a dictionary, to keep the order
    chosen = []
    while left:
        wanted = next(iter(left))
        best = max((s for s in POSSIBLE if wanted in shown[s]), key=lambda s: len(shown[s] & left.keys()))
        chosen.append(best)
        left = {pair: None for pair in left if pair not in shown[best]}
    return chosen


SELECTION = select()


def test_any_two_values_that_can_meet_have_met():
    assert len(SELECTION) >= 60
    assert set().union(*map(pairs, SELECTION)) == set().union(*map(pairs, POSSIBLE))


def draw(setting: Setting) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the call as a function of the arrays that have a derivative, and those arrays."""
    rng = np.random.default_rng(0)
    dtype = np.dtype(DTYPES[setting.dtype][0])
    other = np.dtype(np.float32 if dtype.itemsize == 2 else np.float16)
    option, function = setting.option, setting.function

    def normal(*shape: int, dtype: Any = dtype) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    of_weights = other if option == "other-weights" else dtype
    of_state = other if option == "other-state" else dtype
    if function in UNITS[1:]:
        return _draw_by_hand(function, option, normal, init_by_hand(dtype=of_weights), of_state)

    batch = {"empty": 0}.get(option, 1 if function == "single-kernel" else BATCH)
    steps = 0 if option == "no-steps" else TIME
    spec = LSTMSpec(
        INPUT_SIZE,
        HIDDEN_SIZE,
        num_layers=2 if option == "projected" else 1,
        bias=option != "no-bias",
        bidirectional=option in ("bidirectional", "ragged"),
        proj_size=2 if option == "projected" else 0,
    )
    weights = init_lstm(**vars(spec), dtype=of_weights)
    inputs = normal(steps, *(() if option == "unbatched" else (batch,)), INPUT_SIZE)
    rows = spec.num_layers * len(spec.directions)
    state = tuple(normal(rows, *inputs.shape[1:-1], n, dtype=of_state) for n in (spec.state_size, spec.hidden_size))
    if function == "cell":
        weights = {name.removesuffix("_l0"): array for name, array in weights.items()}
        return jax_lstm.lstm_cell, (weights, inputs[0], tuple(part[0] for part in state))

    options: dict[str, Any] = {}
    if option == "ragged":
        inputs = inputs.swapaxes(0, 1).copy()
        options = {"lengths": np.array([3, 0])[:batch], "batch_first": True}
        for row, length in zip(inputs, options["lengths"], strict=True):
            row[length:] = np.nan
    if option == "reset":
        options = {"reset": rng.random(inputs.shape[:-1]) < 0.4}
    if function == "forecast":
        head = {"fc.weight": normal(2, spec.output_size, dtype=of_weights), "fc.bias": normal(2, dtype=of_weights)}
        weights = {f"lstm.{name}": array for name, array in weights.items()} | head
    return _sequence_call(function, spec, options), (weights, inputs, state)


def _sequence_call(function: str, spec: LSTMSpec, options: dict[str, Any]) -> Callable[..., Any]:
    batch_first = options.get("batch_first", False)
    of_call = {name: value for name, value in options.items() if name != "batch_first"}

    def by_linen(weights: Any, inputs: Any, state: Any) -> Any:
        module = jax_lstm.linen.LSTM(**vars(spec), batch_first=batch_first)
        return module.apply({"params": weights}, inputs, state, **of_call)

    def by_nnx(weights: Any, inputs: Any, state: Any) -> Any:
        return jax_lstm.nnx.LSTM.from_weights(weights, batch_first=batch_first)(inputs, state, **of_call)

    others = {
        "trace": partial(jax_lstm.lstm_trace, **options),
        "forecast": lambda weights, inputs, state: jax_lstm.forecast(weights, inputs, state=state, **options),
        "linen": by_linen,
        "nnx": by_nnx,
        "recompute": partial(jax_lstm.lstm, recompute=2, **options),
    }
    return others.get(function) or partial(jax_lstm.lstm, implementation=function, **options)


def _draw_by_hand(function: str, option: str, normal: Any, weights: Any, of_state: Any) -> Any:
    series = {"unbatched": (), "empty": (0,)}.get(option, (BATCH,))
    prices = normal(*series, 0 if option == "no-steps" else TIME)
    memories = normal(*series, dtype=of_state), normal(*series, dtype=of_state)
    if function == "unit":
        return by_hand.lstm_unit, (weights, normal(*series), *memories)
    if function == "by-hand-loss":
        return lambda weights, *batch: by_hand.loss(weights, batch), (weights, prices, normal(*series))
    return by_hand.predict if function == "predict" else by_hand.trace, (weights, prices, *memories)


def run(setting: Setting, compiled: bool) -> dict[str, dict[str, np.ndarray]]:
    """Return the results, and the gradient of their inner product with fixed numbers, by place in the pytree."""
    call, arguments = draw(setting)

    def loss(arguments: Any) -> Any:
        results = call(*arguments)
        total = jnp.zeros((), jnp.float32)
        for result in jax.tree.leaves(results):
            cotangent = np.cos(np.arange(result.size)).reshape(result.shape).astype(np.float32)
            total = total + jnp.sum(result.astype(jnp.float32) * cotangent)
        return total, results

    gradient = jax.grad(loss, has_aux=True)
    gradients, results = (unoptimized_jit(gradient) if compiled else gradient)(arguments)
    groups = {"results": results, "gradients": gradients}
    return {
        group: {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}
        for group, tree in groups.items()
    }


@cache
def by_default(setting: Setting) -> dict[str, dict[str, np.ndarray]]:
    return run(setting, compiled=True)


@pytest.fixture
def quickly_compiled() -> Iterator[None]:
    """Switch XLA's optimisations off, also for loops in uncompiled calls. This halves the time of these tests."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("setting", SELECTION, ids=str)
def test_a_mode_changes_no_number(setting: Setting, quickly_compiled: None):
    mode = MODES[setting.mode]
    dtype, x64 = DTYPES[setting.dtype]
    with jax.enable_x64(x64):
        expected = by_default(setting._replace(mode=""))
        with ExitStack() as settings:
            for enter in mode.settings:
                settings.enter_context(enter())
            found = run(setting, mode.compiled)
    for group, arrays in expected.items():
        ours = found[group]
        assert {n: (x.dtype, x.shape) for n, x in ours.items()} == {n: (x.dtype, x.shape) for n, x in arrays.items()}
        rows = compare(group, ours, arrays, dtype=np.dtype(dtype).name, sides=("mode", "default"), allowed=ALLOWED)
        assert all(row.ok for row in rows), [row for row in rows if not row.ok]
