"""A selection of the matrix in every mode: eagerly, under vmap, in float32 and bfloat16, through both Flax modules."""

from functools import cache
from itertools import combinations
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from lstm_cases import (
    MATRIX,
    SELECTION,
    Case,
    Configuration,
    Result,
    assert_equal,
    assert_group_equal,
    by_function,
    by_jax,
    by_torch,
    compile_and_run,
    draw_case,
    value_and_gradient,
)

from jax_lstm import linen, nnx
from lstm_parity.compare.tolerance import eps, group_scale

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
every_selected = pytest.mark.parametrize("configuration", SELECTION, ids=str)


def test_any_three_values_of_the_matrix_meet_in_the_selection():
    def threes(configurations: list[Configuration]) -> set[Any]:
        return {three for one in configurations for three in combinations(vars(one).items(), 3)}

    assert len(set(SELECTION)) == 40
    assert threes(SELECTION) == threes(MATRIX)


@every_selected
def test_eagerly(configuration: Configuration):
    """Run one operation after another, even the loop over time. Forward only: gradients take seconds each."""
    case = draw_case(configuration)
    with jax.enable_x64(True), jax.disable_jit():
        outputs, (h_n, c_n) = by_function(configuration)(*case[:4])
    ours = {"outputs": np.asarray(outputs), "h_n": np.asarray(h_n), "c_n": np.asarray(c_n)}
    assert_group_equal("forward", ours, by_torch(configuration, case).forward, "float64")


def assert_vmapped(configuration: Configuration, cases: list[Case], in_axes: tuple[int | None, ...]) -> None:
    """Check that one call on the stacked cases equals torch on each. Arguments with axis None are the first case's."""
    stacked = [
        cases[0][i] if axis is None else jax.tree.map(lambda *parts: np.stack(parts), *(case[i] for case in cases))
        for i, axis in enumerate(in_axes)
    ]
    ours = compile_and_run(jax.vmap(value_and_gradient(by_function(configuration)), in_axes), stacked)
    for row, case in enumerate(cases):
        same = Case(*(cases[0][i] if axis is None else case[i] for i, axis in enumerate(in_axes)))
        one = Result(*jax.tree.map(lambda array, row=row: array[row], ours))
        assert_equal(one, by_torch(configuration, same), "float64")


@every_selected
def test_under_vmap_over_sequences(configuration: Configuration):
    assert_vmapped(configuration, [draw_case(configuration, seed) for seed in range(3)], (None, 0, 0, 0, 0))


@every_selected
def test_under_vmap_over_weights(configuration: Configuration):
    assert_vmapped(configuration, [draw_case(configuration, seed) for seed in range(3)], (0, None, None, None, None))


@every_selected
def test_in_float32(configuration: Configuration):
    case = draw_case(configuration).astype(np.float32)
    ours = by_jax(by_function(configuration), case, optimized=True)
    assert_equal(ours, by_torch(configuration, case), "float32")


@every_selected
def test_in_bfloat16_no_farther_from_the_truth_than_torch(configuration: Configuration):
    case = draw_case(configuration).astype(ml_dtypes.bfloat16)
    ours, theirs = by_jax(by_function(configuration), case), by_torch(configuration, case)
    truth = by_torch(configuration, case.astype(np.float64))
    for group in Result._fields:
        exact = getattr(truth, group)
        unit = eps("bfloat16") * group_scale(exact)
        errors = [
            max(
                np.abs(array.astype(np.float64) - exact[name]).max() / unit
                for name, array in getattr(side, group).items()
            )
            for side in (ours, theirs)
        ]
        assert errors[0] <= 1.5 * errors[1] + 1, (group, errors)
    assert {name: array.dtype.name for name, array in ours.forward.items()} == {
        "outputs": "bfloat16",
        "h_n": "bfloat16",
        "c_n": "float32",
    }


def by_linen(configuration: Configuration) -> Any:
    module = linen.LSTM(**vars(configuration.spec), batch_first=configuration.batch_first)

    def call(params: Any, inputs: Any, state: Any, lengths: Any) -> Any:
        return module.apply({"params": params}, inputs, state, lengths=lengths)

    return call


def by_nnx(configuration: Configuration) -> Any:
    def call(params: Any, inputs: Any, state: Any, lengths: Any) -> Any:
        return nnx.LSTM.from_weights(params, batch_first=configuration.batch_first)(inputs, state, lengths=lengths)

    return call


FLAX = {"linen": by_linen, "nnx": by_nnx}


@cache
def by_flax(configuration: Configuration) -> dict[str, Result]:
    """Both modules are in one program, in which XLA finds them equal and compiles only one."""

    def run(*case: Any) -> dict[str, Any]:
        return {name: value_and_gradient(by(configuration))(*case) for name, by in FLAX.items()}

    results = compile_and_run(run, draw_case(configuration))
    return {name: Result(*groups) for name, groups in results.items()}


@every_selected
@pytest.mark.parametrize("module", FLAX)
def test_through_flax(module: str, configuration: Configuration):
    ours, theirs = by_flax(configuration)[module], by_torch(configuration, draw_case(configuration))
    assert_equal(ours, theirs, "float64")
