"""The published run: each backend reaches every published figure by itself, in both precisions."""

import numpy as np
import pytest

from lstm_parity.training.backends import BACKENDS
from lstm_parity.training.published_run import QUICK_EPOCHS, golden_run
from lstm_shared import PUBLISHED_PREDICTIONS, PUBLISHED_TRAINED


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_published_figure_is_reached(backend, dtype):
    run = golden_run(dtype, backends=(backend,))
    assert run.departures() == []
    assert run.results[backend].steps == 10_000
    digits = {"float64": 7, "float32": 4}[dtype]
    for epochs, figures in PUBLISHED_PREDICTIONS.items():
        np.testing.assert_allclose(run.predictions[backend][epochs], figures, rtol=0, atol=0.501 * 10.0**-digits)
    for name, figure in PUBLISHED_TRAINED.items():
        assert abs(float(run.results[backend].weights[name]) - figure) <= 0.00501, name


def test_a_figure_that_is_missed_is_named():
    run = golden_run("float64", stages=(0, 2000), backends=("jax",))
    assert run.departures() == []
    run.predictions["jax"][2000] = (0.4342005 + 2e-7, float("nan"))
    assert [line.split(" is ")[0].split(":")[0] for line in run.departures()] == ["jax", "jax"]
    assert "company A after 2000 epochs" in run.departures()[0]


def test_the_quick_run_compares_400_steps_with_all_weights():
    run = golden_run("float64", stages=(0, QUICK_EPOCHS))
    rows = run.trajectory_rows()
    assert len(rows) == 14
    assert all(row.ok for row in rows)
    run.results["torch"].losses[7] += 1e-12
    assert [row.name for row in run.trajectory_rows() if not row.ok] == ["losses"]
