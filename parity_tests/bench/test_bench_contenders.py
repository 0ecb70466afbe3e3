"""The comparison before the timing: what contenders compute, and which differences it finds."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # keras reads it once, when it is imported

import importlib
from dataclasses import replace

import jax
import numpy as np
import pytest

from lstm_parity.bench.cases import ADAM, FORWARD, GRADIENT, MODES, TRAINING, BenchCase
from lstm_parity.bench.contenders.registry import CONTENDERS, PEERS
from lstm_parity.bench.timing.processes import Process
from lstm_parity.bench.timing.same_numbers import judge
from lstm_shared import load

SMALL = BenchCase("shapes that differ", 5, 3, 2, 4, train_steps=12)
SPECIAL = {
    "plain": SMALL,
    "two layers, two directions": replace(SMALL, num_layers=2, bidirectional=True),
    "ragged": replace(SMALL, ragged=True),
    "projected": replace(SMALL, proj_size=3),
    "streaming": replace(SMALL, time=1, kind="streaming"),
    "by hand": replace(SMALL, kind="by hand"),
}
TWO = "two layers, two directions"
# torch.compile takes half a minute. All peers share the code that combines layers, directions and lengths.
RUNNING = [
    *(("jax", mode, "plain") for mode in MODES),
    *(("jax", GRADIENT, kind) for kind in (TWO, "ragged", "projected")),
    *((name, FORWARD, "streaming") for name in ("jax", "jax-eager")),
    *((name, TRAINING, "by hand") for name in ("jax", "jax-step", "lightning")),
    *((name, ADAM, "plain") for name in ("torch-cell", *PEERS)),
    ("haiku", GRADIENT, TWO),
    ("equinox", FORWARD, "ragged"),
]


def shown_by(name, case, mode, dtype="float32"):
    module, function = CONTENDERS[name].programs.split(":")
    with jax.numpy_rank_promotion("allow"):
        program = getattr(importlib.import_module(module), function)(case, mode, dtype)
        with program.within():
            program.reset()
            return program.show(program.call())


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("name", "mode", "kind"), RUNNING)
def test_every_contender_shows_the_numbers_of_the_reference(name, mode, kind):
    case = SPECIAL[kind]
    rows = judge(case, "float32", name, shown_by(name, case, mode), shown_by("torch", case, mode))
    assert rows
    assert all(row.ok for row in rows), rows
    if mode == GRADIENT:
        assert {row.name for row in rows} == set(case.weights("float32"))


def test_what_is_not_shown_is_not_the_same():
    reference = {"gradient": {"a": np.ones(2), "b": np.ones(2)}, "adam": {"a": np.ones(2), "b": np.ones(2)}}
    without = {"gradient": reference["gradient"], "adam": {"a": np.ones(2)}}
    # b is a bias that the layout has no place for.
    assert all(row.ok for row in judge(SMALL, "float32", "x", without, reference))
    for shown in ({}, {"gradient": reference["gradient"]}, {**reference, "gradient": {"a": np.ones(2)}}):
        assert not all(row.ok for row in judge(SMALL, "float32", "x", shown, reference))


@pytest.mark.parametrize("stage", ["forward", "gradient", "losses"])
def test_a_number_off_by_a_thousandth_is_found(stage):
    reference = {stage: {"a": np.linspace(0, 1, 20)}}
    shown = {stage: {"a": np.linspace(0, 1, 20) + 1e-3 * (np.arange(20) == 7)}}
    (row,) = judge(SMALL, "float32", "x", shown, reference)
    assert (row.ok, row.where) == (False, (7,))


READY_WHEN_CALLED = """
import jax, numpy as np
from lstm_parity.bench.contenders.program import Program

def program(case, mode, dtype):
    run = jax.jit(lambda x: jax.lax.fori_loop(0, 50, lambda _, y: x @ y, x))  # a tenth of a second and more
    x = jax.block_until_ready(jax.device_put(np.eye(1000, dtype="float32")))
    jax.block_until_ready(run(x))
    return Program(lambda: run(x).is_ready(), lambda ready: {"returned": {"ready": np.asarray(ready)}})
"""


@pytest.mark.parametrize(("name", "ready"), [("jax", False), ("jax-sync", True)])
def test_only_synchronous_dispatch_returns_when_all_is_computed(name, ready, tmp_path, monkeypatch):
    (tmp_path / "ready_when_called.py").write_text(READY_WHEN_CALLED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = Process(replace(CONTENDERS[name], programs="ready_when_called:program"), 1, "cpu")
    file = tmp_path / "shown.npz"
    try:
        process.ask("prepare", case=SMALL.to_dict(), mode=FORWARD, dtype="float32", file=str(file))
    finally:
        process.stop()
    assert load(file)["returned/ready"] == ready
