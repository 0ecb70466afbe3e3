"""Faults planted in the fast backward pass of a copy: the search finds them in its first cases and shrinks them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jax_lstm.recurrences.choose import chunk_steps
from lstm_parity.fuzz.size_classes import path_of
from lstm_parity.sides.case_files import CaseFile, read_case

ROOT = Path(__file__).parents[2]
CHUNKED = "jax_lstm/recurrences/chunked.py"

# name -> (the code in chunked.py, the fault that replaces it, how many cases are enough to find it)
FAULTS = {
    "the reverse direction's chunks in the wrong place": (
        "start = steps - first - size if options.reverse else first",
        "start = first",
        2,
    ),
    "chunks walked in the wrong order": (
        "chunk((whole - 1 - n) * size, size, carry)",
        "chunk(n * size, size, carry)",
        1,
    ),
    "a reset forgotten in the forget gate's gradient": (
        "            c_before = jnp.where(reset, jnp.zeros_like(c_before), c_before)\n",
        "",
        3,
    ),
}


@pytest.fixture(scope="module", params=FAULTS)
def found(request, tmp_path_factory) -> tuple[str, str, CaseFile]:
    """Return the fault, what the search printed in a fresh process, and the case that it wrote."""
    right, wrong, enough = FAULTS[request.param]
    folder = tmp_path_factory.mktemp("copy")
    for package in ("lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    source = (folder / CHUNKED).read_text()
    assert source.count(right) == 1
    (folder / CHUNKED).write_text(source.replace(right, wrong))
    done = subprocess.run(
        [sys.executable, "-m", "lstm_parity", "fuzz", "--cases", str(enough), "--out", "case.npz"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return request.param, done.stdout, read_case(folder / "case.npz")


def test_a_planted_fault_is_found_made_small_and_shown(found):
    fault, said, (case, compiled, implementation) = found
    assert re.match(r"differ: one of \d cases in ", said), said
    assert "verdict: differ: " in said
    assert "first in gradient, " in said
    # The case is as small as possible: one layer of one unit, one row, and the options that the fault needs.
    assert case.spec.hidden_size == case.spec.input_size == case.spec.num_layers == 1
    assert case.inputs.dtype == np.float64
    assert not compiled
    _, batch, _ = case.inputs.shape
    assert path_of(implementation, case.time, batch, 1, 1, case.inputs.dtype).implementation == "chunked"
    assert batch <= 2  # with one row, "auto" would not take the fast path
    assert case.lengths is None
    assert case.spec.bidirectional == ("reverse" in fault)
    assert (case.reset is not None) == ("reset" in fault)
    steps = {"the reverse": 2 * chunk_steps(1), "chunks walk": 2 * chunk_steps(1), "a reset for": 2}[fault[:11]]
    assert case.time <= steps + 1
