"""The check cannot compare a thing with itself: faults planted in a copy of the packages make it fail and say where."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lstm_shared import init_lstm, save

ROOT = Path(__file__).parents[2]
STEP, STACK, CHUNKED = "jax_lstm/recurrences/step.py", "jax_lstm/stack.py", "jax_lstm/recurrences/chunked.py"
DIRECTIONS = "jax_lstm/recurrences/directions.py"

# Which weights: both directions of a small layer run in one loop, those of a large layer in two. Resets need a single
# direction.
SMALL, LARGE, FORWARD = "small", "large", "forward"
SIZES = {SMALL: (4, True), LARGE: (40, True), FORWARD: (4, False)}

# name -> (which weights, file, the code there, the fault that replaces it, what the output must say)
FAULTS = {
    "two gates exchanged": (
        SMALL,
        STEP,
        "input_gate, forget_gate, candidate, output_gate = activate(gates, axis=-1)",
        "input_gate, candidate, forget_gate, output_gate = activate(gates, axis=-1)",
        "first difference in layer 0, forward direction, step 0, forget gate",
    ),
    "bias_hh dropped in the reverse direction of layer 1": (
        SMALL,
        STACK,
        'bias=params[f"bias_ih_{place}"] + params[f"bias_hh_{place}"]',
        'bias=params[f"bias_ih_{place}"] + params[f"bias_hh_{place}"] * (place != "l1_reverse")',
        "first difference in layer 1, reverse direction, step 36, input gate",
    ),
    "one gradient scaled by 1 + 1e-9": (
        SMALL,
        STACK,
        'hidden=params[f"weight_hh_{place}"].T,',
        'hidden=(params[f"weight_hh_{place}"] if place != "l0" else'
        ' params[f"weight_hh_{place}"] * (1 + 1e-9) - jax.lax.stop_gradient(params[f"weight_hh_{place}"]) * 1e-9).T,',
        "first in gradient, weight_hh_l0 at [",
    ),
    "one entry of a gradient scaled by 1 + 1e-9": (
        SMALL,
        STACK,
        'hidden=params[f"weight_hh_{place}"].T,',
        'hidden=((w := params[f"weight_hh_{place}"]) + (w - jax.lax.stop_gradient(w))'
        ' * (1e-9 * (place == "l1_reverse")) * jnp.zeros_like(w).at[6, 2].set(1)).T,',
        "first difference in the gradient of weight_hh_l1_reverse, forget gate, row 2, column 2: ",
    ),
    "the candidate's derivative in the fast backward pass": (
        SMALL,
        CHUNKED,
        "d_cell * i * (1 - g * g),",
        "d_cell * i * (1 - g * g * (1 + 1e-9)),",
        "first in gradient, weight_ih_l1 at [",
    ),
    "a step's place among those that are gathered": (
        LARGE,
        CHUNKED,
        "place = j if options.reverse else size - 1 - j",
        "place = size - 1 - j",
        "first difference in the gradient of weight_ih_l1_reverse, ",
    ),
    "the reverse direction's chunks in the wrong place": (
        LARGE,
        CHUNKED,
        "start = steps - first - size if options.reverse else first",
        "start = first",
        "first difference in the gradient of weight_ih_l1_reverse, ",
    ),
    "chunks walked in the wrong order": (
        SMALL,
        CHUNKED,
        "lambda n, carry: chunk((whole - 1 - n) * size, size, carry)",
        "lambda n, carry: chunk(n * size, size, carry)",
        "first in gradient, weight_ih_l1 at [",
    ),
    "a reset forgotten in the forget gate's gradient": (
        FORWARD,
        CHUNKED,
        "            c_before = jnp.where(reset, jnp.zeros_like(c_before), c_before)\n",
        "",
        "(lengths and resets), float64",
    ),
    "the reverse direction's outputs left from the end where both share a loop": (
        SMALL,
        DIRECTIONS,
        "(turned(outputs[1]), second)",
        "(outputs[1], second)",
        "first difference at step 0, batch row 0, unit 0: ",
    ),
}


@pytest.fixture(scope="module")
def weights_of(tmp_path_factory) -> dict[str, Path]:
    """Write a file of weights for each name in ``SIZES``."""
    folder = tmp_path_factory.mktemp("weights")
    return {name: random_weights(folder / f"{name}.npz", *sizes) for name, sizes in SIZES.items()}


def random_weights(path: Path, hidden_size: int, bidirectional: bool) -> Path:
    weights = init_lstm(5, hidden_size, num_layers=2, bidirectional=bidirectional, dtype=np.float64)
    rng = np.random.default_rng(0)
    save(path, {name: array + 0.4 * rng.standard_normal(array.shape) for name, array in weights.items()})
    return path


def check_with(packages: Path, weights_file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lstm_parity", "check", str(weights_file), "--dtypes", "float64", "--steps", "0"],
        capture_output=True,
        text=True,
        cwd=packages,
        env={**os.environ, "PYTHONPATH": str(packages), "COLUMNS": "250"},
    )


@pytest.fixture
def copy(tmp_path) -> Path:
    for package in ("lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("which", SIZES)
def test_the_copy_as_it_is_agrees(copy, weights_of, which):
    done = check_with(copy, weights_of[which])
    assert done.returncode == 0, done.stderr
    assert "verdict: agree" in done.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_its_place_is_named(copy, weights_of, fault):
    which, file, right, wrong, said = FAULTS[fault]
    source = (copy / file).read_text()
    assert source.count(right) == 1
    (copy / file).write_text(source.replace(right, wrong))
    done = check_with(copy, weights_of[which])
    assert done.returncode == 1, done.stderr
    assert "verdict: differ" in done.stdout
    assert said in done.stdout
