"""The whole matrix of configurations in float64 under jit, compared with everything that torch.nn.LSTM gives."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from lstm_cases import (
    MATRIX,
    Configuration,
    Result,
    assert_equal,
    by_function,
    by_torch,
    compile_and_run,
    draw_case,
    swap_layout,
    value_and_gradient,
)


@cache
def by_layout(configuration: Configuration) -> dict[str, Result]:
    """Run both batched layouts of a configuration in one compiled program, or the unbatched one.

    XLA spends nearly all the time of this matrix compiling loops. The layouts differ only by transpositions. In one
    program XLA sees through these, so the second layout costs a tenth of the first.
    """
    layouts = ("unbatched",) if configuration.layout == "unbatched" else ("time-first", "batch-first")

    def run(*case: Any) -> dict[str, Any]:
        cases = {"batch-first": swap_layout(case)} if len(layouts) == 2 else {}
        return {
            layout: value_and_gradient(by_function(replace(configuration, layout=layout)))(*cases.get(layout, case))
            for layout in layouts
        }

    case = draw_case(replace(configuration, layout=layouts[0]))
    return {layout: Result(*groups) for layout, groups in compile_and_run(run, case).items()}


@pytest.mark.parametrize("configuration", MATRIX, ids=str)
def test_outputs_states_and_all_gradients_are_torchs(configuration: Configuration):
    one_of_the_layouts = "unbatched" if configuration.layout == "unbatched" else "time-first"
    ours = by_layout(replace(configuration, layout=one_of_the_layouts))[configuration.layout]
    assert_equal(ours, by_torch(configuration, draw_case(configuration)), "float64")
