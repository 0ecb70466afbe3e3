"""Every single mistake, planted in an independent port, is located and comes first in the diagnosis."""

from itertools import permutations

import numpy as np
import pytest
import torch
from planted_port import FIELDS, GATES, Plan, draw_plan, plant, run
from torch import nn

import torch_lstm
from lstm_parity import diagnose, locate
from lstm_shared.tensors import to_array, to_tensor

GATE_ORDERS = [f"gate-order:{','.join(order)}" for order in list(permutations("ifgo"))[1:]]
IN_WEIGHTS = [
    *GATE_ORDERS,
    *(f"{kind}:weight_{part}" for kind in ("transposed", "reshaped") for part in ("ih", "hh")),
    "swapped-weights",
    *(f"{kind}:bias_{part}" for kind in ("missing-bias", "doubled-bias") for part in ("ih", "hh")),
    *(f"bias-of:{a}-in:{b}" for a, b in permutations(GATES, 2)),
    "bias-of:forget-in:input:bias_ih",
    "bias-of:candidate-in:output:bias_hh",
    "forget-bias+1",
    "forget-bias-1",
    "hard-sigmoid",
    "hard-sigmoid:0.2",
]
OTHERS = ["swapped-state", "missing-state", "reversed-time", "reversed-time:aligned", "reversed-time:outputs"]
OTHERS += ["swapped-axes:batch-time", "swapped-axes:outputs", "padding-not-masked"]
OF_DIRECTIONS = ["swapped-directions", "swapped-directions:weights", "reverse-not-turned", "reverse-from-padding"]
OF_DIRECTIONS += ["summed-directions", "averaged-directions"]
MODELS = {
    "one-layer": (1, False),
    "one-layer-bidirectional": (1, True),
    "two-layer": (2, False),
    "two-layer-bidirectional": (2, True),
}

CASES = [
    *((model, mistake) for model in MODELS for mistake in IN_WEIGHTS + OTHERS),
    *((model, mistake) for model in MODELS if "bidirectional" in model for mistake in OF_DIRECTIONS),
    *((model, "layer-order:1,0") for model in MODELS if "two" in model),
    *(("two-layer-bidirectional", f"{mistake}@l{layer}") for mistake in OF_DIRECTIONS[:3] for layer in (0, 1)),
]
# Mistakes in one place only; the places take turns.
PLACES = {
    "one-layer-bidirectional": ("l0", "l0_reverse"),
    "two-layer": ("l0", "l1"),
    "two-layer-bidirectional": ("l0", "l0_reverse", "l1", "l1_reverse"),
}
PLACED = [
    (model, f"{mistake}@{places[k % len(places)]}")
    for model, places in PLACES.items()
    for k, mistake in enumerate(m for m in IN_WEIGHTS if not m.startswith(("transposed:weight_ih", "swapped-weights")))
]
PLACED += [
    ("two-layer-bidirectional", f"{mistake}@l0_reverse") for mistake in ("transposed:weight_ih", "swapped-weights")
]


def draw(model: str, mistake: str) -> Plan:
    """Draw a model in which this mistake can be made: if a matrix must be square, input and hidden size are equal."""
    num_layers, bidirectional = MODELS[model]
    square = mistake.startswith(("transposed:weight_ih", "swapped-weights", "layer-order"))
    input_size = 5 if not square else 8 if bidirectional and "layer" in mistake else 4
    plan = draw_plan(num_layers, bidirectional, input_size, ragged="padding" in mistake)
    if mistake.startswith("swapped-axes:batch"):
        plan.state = tuple(np.zeros_like(part) for part in plan.state)  # pyright: ignore[reportAttributeAccessIssue]
    return plan


def ported(model: str, mistake: str):
    """Return the right plan, and the outputs and the trace of the port with the mistake."""
    wrong = draw(model, mistake)
    plant(wrong, mistake)
    return draw(model, mistake), *run(wrong)


def ask(right: Plan, outputs: np.ndarray, **options):
    lengths = None if (right.lengths == 6).all() else right.lengths
    return diagnose(right.weights, right.inputs, outputs, state=right.state, lengths=lengths, **options)


def test_the_port_without_a_mistake_is_torchs():
    plan = draw_plan(2, True)
    module = nn.LSTM(5, 4, 2, bidirectional=True, dtype=torch.float64)
    module.load_state_dict({name: to_tensor(x) for name, x in plan.weights.items()})
    with torch.no_grad():
        expected, _ = module(to_tensor(plan.inputs), tuple(map(to_tensor, plan.state)))
    np.testing.assert_allclose(run(plan)[0], to_array(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("model", "mistake"), CASES + PLACED, ids="-".join)
def test_a_single_mistake_comes_first_in_the_diagnosis(model, mistake):
    right, outputs, _ = ported(model, mistake)
    found = ask(right, outputs)
    assert found.mistakes[0] == mistake
    assert found.explained < 0.5
    assert len(found.explanations[0].mistakes) == 1
    assert not found.right
    text = str(found)
    assert f"{mistake}: " in text
    assert "repair: " in text


@pytest.mark.parametrize(("model", "mistake"), CASES, ids="-".join)
def test_a_single_mistake_is_diagnosed_from_float32_outputs(model, mistake):
    right, outputs, _ = ported(model, mistake)
    assert ask(right, outputs.astype(np.float32)).mistakes[0] == mistake


# Mistakes that no gate or state shows: they put the outputs together wrongly after the last layer.
UNSEEN = ("reversed-time:outputs", "swapped-axes:outputs", "summed-directions", "averaged-directions")
UNSEEN += ("swapped-directions@l1", "reverse-not-turned@l1")
TRACED = [
    (model, mistake)
    for model, mistake in CASES + PLACED
    if mistake not in (*UNSEEN, "swapped-axes:batch-time")  # the trace of the latter has other axes
    and not (model.startswith("one") and mistake in ("swapped-directions", "reverse-not-turned"))
]


@pytest.mark.parametrize(("model", "mistake"), TRACED, ids="-".join)
def test_a_single_mistake_is_located_at_its_place(model, mistake):
    right, _, candidate = ported(model, mistake)
    reference = torch_lstm.trace(right.weights, right.inputs, right.state, lengths=right.lengths)
    found = locate(reference, candidate, dtype="float64")
    assert found is not None
    layer, direction, field = expected_place(model, mistake)
    assert (found.layer, found.direction, found.field) == (layer, direction, field)
    if mistake == "padding-not-masked":
        assert (found.step, found.row) == (3, 0)
    elif mistake == "reverse-from-padding":  # the last step of a sequence shorter than the longest
        assert (found.step, found.row) == (4, 2)
    else:
        assert found.turn == 0
        assert found.step == (5 if direction == "reverse" else 0)
    assert f"layer {layer}, {direction} direction, step {found.step}" in str(found)


def expected_place(model: str, mistake: str) -> tuple[int, str, str]:
    name, _, where = mistake.partition("@")
    kind, *details = name.split(":")
    layer = int(where[1:2] or 0)
    direction = "reverse" if where.endswith("_reverse") or kind == "reverse-from-padding" else "forward"
    field = "input_gate"
    if kind == "gate-order":
        letters = details[0].split(",")
        field = FIELDS[next(gate for gate, read in zip("ifgo", letters, strict=True) if gate != read)]
    elif kind == "bias-of":
        field = FIELDS[GATES[details[1]]]
    elif kind.startswith("forget-bias"):
        field = "forget_gate"
    elif kind == "padding-not-masked":
        field = "hidden"
    elif kind == "reverse-not-turned" or name == "swapped-directions":
        layer += 1  # the next layer is the first to show it
    return layer, direction, field


@pytest.mark.parametrize("model", MODELS)
def test_the_layout_of_the_inputs_does_not_matter(model):
    right, outputs, _ = ported(model, "gate-order:i,g,f,o")
    batch_first = diagnose(
        right.weights, right.inputs.swapaxes(0, 1), outputs.swapaxes(0, 1), state=right.state, batch_first=True
    )
    assert batch_first.mistakes[0] == "gate-order:i,g,f,o"
    one = tuple(part[:, 1] for part in right.state)
    unbatched = diagnose(right.weights, right.inputs[:, 1], outputs[:, 1], state=one)
    assert unbatched.mistakes[0] == "gate-order:i,g,f,o"
