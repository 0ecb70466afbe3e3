"""What ``benchmarks/verdict.py`` relies on: right ports are right, mistakes change something, counts add up.

Right ports are compared with ``torch.nn.LSTM`` itself, so that a mistake in the ports cannot hide one in ``check``.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import verdict
from verdict_models import RANDOM, TRAINED, Shape
from verdict_plants import GRADIENTS_ONLY, MISTAKES, SIZED, draw_plant
from verdict_ports import RIGHT, Plant, port

from lstm_parity.compare.tolerance import group_scale
from lstm_parity.sides import torch_backend
from lstm_parity.sides.case import Case, Observation, make_case
from lstm_parity.sides.port import Port, observe, outputs_of
from lstm_shared import describe, init_lstm

FRAMEWORKS = ("numpy", "torch", "jax")
SHAPES = [shape for shape in RANDOM if shape.name != "by-hand"]
EPS = float(np.finfo(np.float64).eps)


def drawn(shape: Shape) -> Case:
    rng = np.random.default_rng(7)
    weights = shape.make(rng)
    lstm = describe(weights)
    inputs = rng.standard_normal((*shape.leading, getattr(lstm, "lstm", lstm).input_size))
    return make_case(weights, inputs, steps=0, seed=3, draw_state=True, **shape.options)


def apart(observed: Observation, reference: Observation) -> float:
    """Return the largest difference of any returned output, state or gradient, in eps of its group's scale."""
    return max(
        float(np.max(np.abs(array - reference[stage][name]), initial=0.0)) / (EPS * group_scale(reference[stage]))
        for stage in ("forward", "gradient")
        for name, array in observed.get(stage, {}).items()
    )


def both_sides(
    case: Case, framework: str, changes=RIGHT, plant: Plant | None = None
) -> tuple[Observation, Observation]:
    """Return what the port computes, and what torch computes for the same case."""
    candidate = Port(port(dict(case.weights), framework, changes, plant), framework=framework)
    observed, returned = observe(case, candidate)
    return observed, torch_backend.observe(returned)


# The same port serves all frameworks. JAX takes seconds to compile it, so JAX gets only the shapes whose loops differ.
IN_JAX = ("LSTM-reset", "LSTM-bidirectional-ragged", "LSTM-2-layer-projected", "cell")
PORTS = [
    (shape, framework) for shape in SHAPES for framework in FRAMEWORKS if framework != "jax" or shape.name in IN_JAX
]


@pytest.mark.parametrize(("shape", "framework"), PORTS, ids=[f"{shape.name}-{framework}" for shape, framework in PORTS])
def test_a_right_port_is_within_rounding_errors_of_torch(shape, framework):
    with jax.numpy_rank_promotion("allow"):  # someone else's port adds biases as NumPy does
        # check allows a well-conditioned model 64 eps
        assert apart(*both_sides(drawn(shape), framework)) < 64


def where_it_shows(name: str) -> Case:
    """Return a case on which this mistake must show."""
    if name == "swapped-matrices":  # the two must have the same shape
        return drawn(Shape("square", lambda rng: init_lstm(6, 6, seed=1, dtype=np.float64), (20, 3)))
    if name in ("lengths-ignored", "reset-ignored"):
        return drawn(next(shape for shape in SHAPES if name.split("-")[0] in shape.options))
    case = drawn(SHAPES[0])
    if name == "clipped-c":  # the cell state must exceed 1
        return replace(case, state={state: 3 * array for state, array in case.state.items()})
    return case


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_moves_what_the_right_port_does_not(name):
    plant = Plant(name, ("_l0",), 1e-6 if name in SIZED else 0.0, seed=5)
    assert apart(*both_sides(where_it_shows(name), "torch", MISTAKES[name], plant)) > 1000


# The weights are square in the first layer but not in the second, where the two matrices cannot be swapped.
SQUARE = Shape("square", lambda rng: init_lstm(6, 6, num_layers=2, bidirectional=True), (5, 2))


@pytest.mark.parametrize("shape", [*SHAPES, *TRAINED, SQUARE], ids=lambda shape: f"{shape.name}, {shape.leading}")
def test_every_mistake_that_is_drawn_can_be_made(shape):
    rng = np.random.default_rng(0)
    case = drawn(shape).first_steps(3) if shape.name != "cell" else drawn(shape)
    made = set()
    for _ in range(60):
        plant = draw_plant(case.spec, shape.options, "numpy", rng)
        outputs_of(case, Port(port(dict(case.weights), "numpy", MISTAKES[plant.name], plant), framework="numpy"))
        made.add(plant.name)
    assert len(made) > 10


@pytest.mark.parametrize("name", sorted(GRADIENTS_ONLY))
def test_a_mistake_of_gradients_leaves_the_outputs_alone(name):
    observed, reference = both_sides(drawn(SHAPES[0]), "torch", MISTAKES[name], Plant(name, ("_l0",), 1e-6, 5))
    assert apart({"forward": observed["forward"]}, reference) < 64


def a_trial(role: str, verdict: str, kind: str = "random", **more) -> dict:
    return {"role": role, "number": 0, "kind": kind, "model": "LSTM", "by": "torch", "line": "", "seconds": 1.0} | {
        "verdict": verdict,
        "used": {},
        **({"mistake": "gate-order", "moves": None} if role == "plant" else {"wrongly": []}),
        **more,
    }


@pytest.mark.parametrize(
    ("trial", "counted"),
    [
        (a_trial("pair", "differ"), "false alarms"),
        (a_trial("plant", "differ", moves=0.5), "false alarms"),
        (a_trial("plant", "agree", moves=11.0), "missed"),
        (a_trial("plant", "undecided", moves=11.0), "missed"),
        (a_trial("pair", "error"), "errors"),
        (a_trial("plant", "error"), "errors"),
        (a_trial("pair", "agree", wrongly=["weight_hh_l0"]), "listed wrongly"),
    ],
)
def test_one_wrong_verdict_is_counted_and_keeps_the_aim_from_being_reached(trial, counted):
    good = [a_trial("pair", "agree"), a_trial("plant", "differ"), a_trial("plant", "agree", moves=9.0)]
    assert verdict.reached(verdict.summary(good))
    record = verdict.summary([*good, trial])
    assert record["counts"]["random"][counted] == 1
    assert not verdict.reached(record)


@pytest.mark.parametrize(
    ("kind", "undecided", "reached"),
    [("random", 2, True), ("random", 3, False), ("trained-like", 10, True), ("trained-like", 11, False)],
)
def test_the_share_of_undecided_models_is_limited_by_kind(kind, undecided, reached):
    trials = [a_trial("pair", "undecided" if number < undecided else "agree", kind) for number in range(100)]
    assert verdict.reached(verdict.summary(trials)) is reached


def test_the_record_is_whole_and_every_aim_is_reached():
    record = json.loads((Path(verdict.__file__).parent / "verdict.json").read_text())
    assert record["command"] == "python benchmarks/verdict.py --pairs 1000 --plants 1000 --seed 0"
    assert sum(count["pairs"] for count in record["counts"].values()) == 1000
    assert sum(count["plants"] for count in record["counts"].values()) == 1000
    assert set(record["mistakes"]) == set(MISTAKES) - {"reset-ignored"}
    assert verdict.reached(record)


def test_the_script_runs(tmp_path):
    """One right pair and one mistake, judged by the command that made the record."""
    counts = ["--pairs", "1", "--plants", "1", "--processes", "1", "--trials", str(tmp_path / "trials")]
    done = subprocess.run([sys.executable, verdict.__file__, *counts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1" in done.stdout
