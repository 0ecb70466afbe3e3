"""Find the first place where two implementations differ, from traces, from outputs alone, and from gradients."""

from functools import cache

import jax
import numpy as np
import pytest
import torch
from planted_port import draw_plan, run

import jax_lstm
import torch_lstm
from lstm_parity import locate, locate_gradient, locate_outputs
from lstm_shared import BY_HAND, InputError, LSTMTrace

LAYOUTS = ("time-first", "batch-first", "unbatched")


@cache
def traces(layout: str = "time-first", dtype: str = "float64", lengths: tuple[int, ...] | None = None):
    """The traces of a two-layer bidirectional model, from torch and from JAX."""
    plan = draw_plan(2, True)
    inputs, state = plan.inputs, plan.state
    if layout == "batch-first":
        inputs = inputs.swapaxes(0, 1)
    if layout == "unbatched":
        inputs, state = inputs[:, 1], tuple(part[:, 1] for part in state)
    weights, inputs, state = jax.tree.map(lambda x: x.astype(dtype), (plan.weights, inputs, state))
    options = {"batch_first": layout == "batch-first", "lengths": None if lengths is None else np.array(lengths)}
    with jax.enable_x64(True):
        ours = jax_lstm.lstm_trace(weights, inputs, state, **options)
    return torch_lstm.trace(weights, inputs, state, **options), LSTMTrace(*ours)


def spoil(trace, changes):
    """The trace with 0.1 added at each (field, index)."""
    fields = {name: None if x is None else np.array(x) for name, x in trace._asdict().items()}
    for field, index in changes:
        fields[field][index] += 0.1
    return type(trace)(**fields)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_our_backends_do_not_part(layout, dtype):
    reference, candidate = traces(layout, dtype)
    assert locate(reference, candidate, dtype=dtype, batch_first=layout == "batch-first") is None


def test_our_backends_do_not_part_with_lengths():
    assert locate(*traces(lengths=(3, 6, 0)), dtype="float64") is None


# In the order of computation: lower layers first, the forward direction before the reverse one, which starts at the
# last step.
PLACES = [
    ("cell", (0, 0, 4, 2, 3), (0, "forward", 4, 4)),
    ("output_gate", (0, 1, 5, 0, 0), (0, "reverse", 5, 0)),
    ("input_gate", (0, 1, 0, 0, 0), (0, "reverse", 0, 5)),
    ("hidden", (1, 0, 0, 1, 1), (1, "forward", 0, 0)),
    ("forget_gate", (1, 1, 3, 0, 2), (1, "reverse", 3, 2)),
    ("candidate", (1, 1, 2, 0, 2), (1, "reverse", 2, 3)),
]


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_first_place_in_the_order_of_computation_is_named(first):
    reference, candidate = traces()
    found = locate(reference, spoil(candidate, [place[:2] for place in PLACES[first:]]), dtype="float64")
    field, index, expected = PLACES[first]
    assert found is not None
    assert (found.layer, found.direction, found.step, found.turn) == expected
    assert (found.field, found.row, found.unit) == (field, *index[-2:])
    assert found.values[1] - found.values[0] == pytest.approx(0.1)
    assert found.tolerance < 1e-13


def test_gates_come_before_states_and_rows_before_units():
    reference, candidate = traces()
    places = [("hidden", (0, 0, 2, 0, 0)), ("cell", (0, 0, 2, 0, 0)), ("forget_gate", (0, 0, 2, 2, 0))]
    found = locate(reference, spoil(candidate, [*places, ("forget_gate", (0, 0, 2, 1, 3))]), dtype="float64")
    assert found is not None
    assert (found.field, found.row, found.unit) == ("forget_gate", 1, 3)


@pytest.mark.parametrize(("layout", "index"), [("batch-first", (1, 1, 2, 4, 3)), ("unbatched", (1, 1, 4, 3))])
def test_the_step_is_found_in_every_layout(layout, index):
    reference, candidate = traces(layout)
    found = locate(reference, spoil(candidate, [("cell", index)]), dtype="float64", batch_first=layout == "batch-first")
    assert found is not None
    assert (found.step, found.turn, found.unit) == (4, 1, 3)
    assert found.row == (2 if layout == "batch-first" else None)


def test_a_location_is_a_sentence():
    reference, candidate = traces()
    text = str(locate(reference, spoil(candidate, [("forget_gate", (1, 1, 3, 0, 2))]), dtype="float64"))
    assert text.startswith("first difference in layer 1, reverse direction, step 3, forget gate, batch row 0, unit 2: ")
    assert "(candidate) against" in text
    assert text.endswith("allowed")


def test_nan_parts_even_from_nan():
    _, trace = traces()
    cell = np.array(trace.cell)
    cell[0, 0, 1, 0, 0] = np.nan
    broken = trace._replace(cell=cell)
    found = locate(broken, broken, dtype="float64")
    assert found is not None
    assert (found.field, found.step) == ("cell", 1)


def test_traces_of_different_shapes_are_refused():
    reference, _ = traces()
    with pytest.raises(InputError, match="input_gate: the reference has shape"):
        locate(reference, traces("unbatched")[0], dtype="float64")


def by_hand_trace(**changed):
    weights = dict(zip(BY_HAND, np.random.default_rng(11).standard_normal(12), strict=True))
    prices = np.random.default_rng(12).standard_normal((2, 5))
    with jax.enable_x64(True):
        return jax_lstm.by_hand.trace(weights | changed, prices, 0.3, -0.4)


@pytest.mark.parametrize(
    ("weight", "field"),
    [
        ("blr1", "long_remember_percent"),
        ("bpr1", "potential_remember_percent"),
        ("bp1", "potential_memory"),
        ("bo1", "output_percent"),
    ],
)
def test_a_wrong_bias_by_hand_is_located_in_its_gate(weight, field):
    found = locate(by_hand_trace(), by_hand_trace(**{weight: 0.7}), dtype="float64")
    assert found is not None
    assert (found.field, found.step, found.row, found.unit) == (field, 0, 0, None)
    assert str(found).startswith("first difference on day 1, series 0, ")


def test_by_hand_traces_that_agree_do_not_part():
    assert locate(by_hand_trace(), by_hand_trace(), dtype="float64") is None


# outputs alone


def test_the_first_step_row_and_unit_of_outputs_are_named_and_how_the_error_grows():
    reference = run(draw_plan(1, False))[0]
    candidate = reference.copy()
    for step in range(2, 6):
        candidate[step, 1, 3] += 1e-6 * 2.0 ** (step - 2)
    found = locate_outputs(reference, candidate, dtype="float64")
    assert found is not None
    assert (found.step, found.row, found.unit, found.direction) == (2, 1, 3, "forward")
    assert found.growth == pytest.approx(2, rel=1e-6)
    assert found.errors == pytest.approx([0, 0, 1e-6, 2e-6, 4e-6, 8e-6], abs=1e-15)
    assert "the error changes by a factor of 2 per step" in str(found)


def test_rounding_within_the_tolerance_does_not_count_as_growth():
    reference = run(draw_plan(1, False))[0]
    candidate = reference + 1e-16
    candidate[2:5, 0, 1] += 1e-3 * 0.1 ** np.arange(3)
    found = locate_outputs(reference, candidate, dtype="float64")
    assert found is not None
    assert (found.step, found.growth) == (2, pytest.approx(0.1, rel=1e-6))


@pytest.mark.parametrize(
    ("steps", "wrong", "said"),
    [
        (6, 1.0, "allowed; no other step is out of tolerance"),
        (6, np.nan, "allowed; no other step is out of tolerance"),
        (1, 1.0, "allowed"),
    ],
)
def test_one_wrong_step_does_not_grow(steps, wrong, said):
    reference = np.zeros((steps, 3, 2))
    candidate = reference.copy()
    candidate[steps // 2, 1, 0] = wrong
    found = locate_outputs(reference, candidate)
    assert found is not None
    assert np.isnan(found.growth)
    assert str(found).endswith(said)


def test_a_tolerance_takes_the_place_of_dtype_and_factor():
    reference, candidate = np.zeros((4, 3, 2)), np.zeros((4, 3, 2))
    candidate[1:, 0, 0] = (0.5, 2, 3)
    for tolerance, step in ((0.1, 1), (1, 2), (2.5, 3)):
        found = locate_outputs(reference, candidate, tolerance=tolerance)
        assert found is not None
        assert (found.step, found.tolerance) == (step, tolerance)
    assert locate_outputs(reference, candidate, tolerance=3) is None
    in_a_gradient = locate_gradient("bias_hh_l0", np.zeros(4), np.arange(4), tolerance=1.5)
    assert in_a_gradient is not None
    assert (in_a_gradient.gate, in_a_gradient.tolerance) == ("candidate", 1.5)


def test_the_reverse_half_of_outputs_is_read_from_its_end():
    reference = run(draw_plan(1, True))[0]
    candidate = reference.copy()
    candidate[:5, 2, 6] += 1e-6
    found = locate_outputs(reference, candidate, dtype="float64", bidirectional=True)
    assert found is not None
    assert (found.step, found.row, found.unit, found.direction) == (4, 2, 6, "reverse")


@pytest.mark.parametrize("batch_first", [False, True])
def test_outputs_are_located_in_every_layout(batch_first):
    reference = np.zeros((4, 3, 2))
    candidate = reference.copy()
    candidate[2, 1, 0] = 1
    found = locate_outputs(reference, candidate, batch_first=batch_first)
    assert found is not None
    assert (found.step, found.row) == ((1, 2) if batch_first else (2, 1))
    unbatched = locate_outputs(reference[:, 0], candidate[:, 1])
    assert unbatched is not None
    assert (unbatched.step, unbatched.row) == (2, None)


def test_equal_outputs_do_not_part_and_other_shapes_are_refused():
    outputs = np.ones((4, 3, 2))
    assert locate_outputs(outputs, outputs) is None
    with pytest.raises(InputError, match="expected the same"):
        locate_outputs(outputs, outputs[:3])


# gradients


@pytest.mark.parametrize(
    ("name", "shape", "index", "gate", "row", "column"),
    [
        ("weight_ih_l0", (16, 5), (6, 3), "forget", 2, 3),
        ("encoder.weight_hh_l1_reverse", (16, 4), (15, 0), "output", 3, 0),
        ("bias_hh_l0", (16,), (8,), "candidate", 0, None),
        ("weight_hr_l0", (3, 4), (1, 2), "", 1, 2),
        ("wpr2", (), (), "input", None, None),
        ("inputs", (6, 3, 5), (4, 1, 2), "", 4, 1),
    ],
)
def test_a_wrong_gradient_is_located_by_gate_row_and_column(name, shape, index, gate, row, column):
    reference = np.asarray(np.random.default_rng(0).standard_normal(shape))
    candidate = reference.copy()
    candidate[index] += 1e-9
    found = locate_gradient(name, torch.tensor(reference), candidate, dtype="float64")
    assert found is not None
    assert (found.gate, found.row, found.column, found.index) == (gate, row, column, index)
    words = [name]
    words += [f"{gate} gate", *([] if row is None else [f"row {row}"])] if gate else [f"element {list(index)}"]
    words += [f"column {column}"] if gate and column is not None else []
    assert str(found).startswith(f"first difference in the gradient of {', '.join(words)}: ")
    assert locate_gradient(name, reference, reference, dtype="float64") is None


def test_a_scalar_that_is_no_weight_has_no_place_in_it():
    text = str(locate_gradient("long_memory_0", np.float64(1), np.float64(2), dtype="float64"))
    assert text.startswith("first difference in the gradient of long_memory_0: 2.0 (candidate) against 1.0 (reference)")


def test_the_scale_of_all_gradients_widens_the_tolerance_and_other_shapes_are_refused():
    reference, candidate = np.ones(8), np.ones(8) + 1e-12
    assert locate_gradient("bias_ih_l0", reference, candidate, dtype="float64") is not None
    assert locate_gradient("bias_ih_l0", reference, candidate, dtype="float64", scale=1e3) is None
    with pytest.raises(InputError, match=r"bias_ih_l0: the reference has shape \(8,\), the candidate has shape \(4,\)"):
        locate_gradient("bias_ih_l0", reference, candidate[:4], dtype="float64")
