"""The extended-precision result, compared with 40 digits, with torch in float64, and with its own differences."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from lstm_cases import SELECTION, draw_case

from lstm_parity.sides import extended, torch_backend
from lstm_parity.sides.case import Case, Observation, make_case
from lstm_shared import InputError, init_by_hand, init_forecaster, init_lstm
from lstm_shared.by_hand import (
    WORKED_EXAMPLE_INPUT,
    WORKED_EXAMPLE_MEMORIES,
    WORKED_EXAMPLE_RESULT,
    WORKED_EXAMPLE_WEIGHTS,
)

RNG = np.random.default_rng(11)
EPS = np.finfo(np.float64).eps


def drawn(weights: dict[str, np.ndarray], *shape: int, **options: Any) -> Case:
    """A case of these weights, with inputs and a state that are not zero."""
    weights = {name: array + 0.3 * RNG.standard_normal(np.shape(array)) for name, array in weights.items()}
    case = make_case(weights, RNG.standard_normal(shape), steps=0, **options)
    return replace(case, state={name: RNG.standard_normal(array.shape) for name, array in case.state.items()})


def cell(bias: bool = True) -> dict[str, np.ndarray]:
    return {name.removesuffix("_l0"): array for name, array in init_lstm(5, 4, bias=bias, dtype=np.float64).items()}


def lstm(**options: Any) -> dict[str, np.ndarray]:
    return init_lstm(5, 4, dtype=np.float64, **options)


def forecaster(**options: Any) -> dict[str, np.ndarray]:
    return init_forecaster(5, 4, 3, dtype=np.float64, **options)


RESET = RNG.random((7, 3)) < 0.4
NAN_IN_THE_PADDING = drawn(lstm(num_layers=2, bidirectional=True), 6, 3, 5, lengths=[4, 6, 1])
NAN_IN_THE_PADDING.inputs[4:, 0] = NAN_IN_THE_PADDING.inputs[1:, 2] = np.nan

CASES: dict[str, Case] = {
    "lstm-one-step": drawn(lstm(), 1, 3, 5),
    "lstm-no-steps": drawn(lstm(), 0, 3, 5),
    "lstm-no-rows": drawn(lstm(), 6, 0, 5),
    "lstm-without-a-state": drawn(lstm(num_layers=2), 6, 3, 5).without_state(),
    "lstm-some-lengths-0": drawn(lstm(num_layers=2, bidirectional=True), 6, 3, 5, lengths=[0, 6, 2]),
    "lstm-all-lengths-0": drawn(lstm(bidirectional=True), 6, 3, 5, lengths=[0, 0, 0]),
    "lstm-nan-in-the-padding": NAN_IN_THE_PADDING,
    "lstm-reset": drawn(lstm(num_layers=2, proj_size=3), 7, 3, 5, reset=RESET),
    "lstm-reset-batch-first": drawn(lstm(), 3, 7, 5, reset=RESET.T, batch_first=True),
    "lstm-reset-unbatched": drawn(lstm(num_layers=2), 7, 5, reset=RESET[:, 0]),
    "lstm-reset-and-lengths": drawn(lstm(num_layers=2), 7, 3, 5, reset=RESET, lengths=[7, 3, 0]),
    "lstm-gates-shut": drawn({name: 1e5 * array for name, array in lstm().items()}, 9, 3, 5),
    "lstm-outputs-alone-judged": replace(
        (case := drawn(lstm(bidirectional=True), 6, 3, 5)), cotangents={"outputs": case.cotangents["outputs"]}
    ),
    "cell": drawn(cell(), 3, 5),
    "cell-no-bias": drawn(cell(bias=False), 3, 5),
    "cell-unbatched": drawn(cell(), 5),
    "cell-without-a-state": drawn(cell(), 3, 5).without_state(),
    "forecaster": drawn(forecaster(), 3, 6, 5),
    "forecaster-wide": drawn(forecaster(num_layers=2, bidirectional=True, proj_size=2), 3, 6, 5),
    "forecaster-without-a-state": drawn(forecaster(num_layers=2), 3, 6, 5).without_state(),
    "by-hand": drawn(init_by_hand(1, np.float64), 3, 8),
    "by-hand-one-series": drawn(init_by_hand(2, np.float64), 8),
    "by-hand-two-axes-of-series": drawn(init_by_hand(3, np.float64), 2, 3, 5),
    "by-hand-no-days": drawn(init_by_hand(4, np.float64), 3, 0),
}


def case_of(configuration: Any) -> Case:
    weights, inputs, state, lengths, cotangents = draw_case(configuration)
    case = make_case(weights, inputs, state=state, lengths=lengths, batch_first=configuration.batch_first, steps=0)
    return replace(case if state is not None else case.without_state(), cotangents=cotangents)


CASES |= {str(configuration): case_of(configuration) for configuration in SELECTION}


def furthest(ours: Observation, reference: Observation, case: Case) -> float:
    """The largest difference, in float64 eps times the scale of the stage. Names and shapes must be the same."""
    assert {stage: list(arrays) for stage, arrays in ours.items()} == {s: list(a) for s, a in reference.items()}
    worst = 0.0
    for stage, arrays in reference.items():
        scale = max([1.0, *(float(np.max(np.abs(array), initial=0)) for array in arrays.values())])
        if stage == "loss":  # a sum of products: its rounding error grows with the products
            scale = sum(float(np.sum(np.abs(reference["forward"][n] * c))) for n, c in case.cotangents.items()) + 1
        for name, array in arrays.items():
            assert ours[stage][name].dtype == np.longdouble
            assert ours[stage][name].shape == array.shape, name
            assert np.isfinite(ours[stage][name]).all(), name  # NaN would never count as the largest
            worst = max(worst, float(np.max(np.abs(ours[stage][name] - array), initial=0)) / (EPS * scale))
    return worst


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_truth_is_torchs_result_but_for_the_rounding_of_float64(case: Case):
    assert furthest(extended.observe(case), torch_backend.observe(case), case) <= 64  # measured: at most 2.5


DIFFERENCED = [
    "1-layer-time-first",
    "lstm-reset-and-lengths",
    "lstm-some-lengths-0",
    "forecaster-wide",
    "cell",
    "by-hand",
]


@pytest.mark.parametrize(
    "case", [CASES["lstm-reset"], CASES["cell"], CASES["by-hand"]], ids=["lstm", "cell", "by-hand"]
)
def test_the_truth_of_a_float32_case_is_that_of_its_rounded_numbers(case: Case):
    rounded = case.astype("float32")
    assert furthest(extended.observe(rounded), torch_backend.observe(rounded.astype("float64")), case) <= 64


SMALL = drawn(init_lstm(2, 2, dtype=np.float64), 4, 1, 2)


def exactly(number: Any) -> Any:
    """A long double as an mpmath number, digit for digit, by way of two float64 parts."""
    high = float(number)
    return mpmath.mpf(high) + mpmath.mpf(float(number - np.longdouble(high)))


def forty_digits(numbers: dict[str, np.ndarray]) -> dict[str, Any]:
    """The forward arrays of ``SMALL`` and their loss, by the equations of the nn.LSTM documentation, in mpmath."""
    h, c = list(numbers["h_0"][0, 0]), list(numbers["c_0"][0, 0])
    outputs = []
    for x in numbers["inputs"][:, 0]:
        z = [
            mpmath.fdot(numbers["weight_ih_l0"][k], x)
            + mpmath.fdot(numbers["weight_hh_l0"][k], h)
            + numbers["bias_ih_l0"][k]
            + numbers["bias_hh_l0"][k]
            for k in range(8)
        ]
        i, f, o = ([1 / (1 + mpmath.exp(-v)) for v in z[k : k + 2]] for k in (0, 2, 6))
        c = [f[k] * c[k] + i[k] * mpmath.tanh(z[4 + k]) for k in (0, 1)]
        h = [o[k] * mpmath.tanh(c[k]) for k in (0, 1)]
        outputs.append([h])
    forward = {"outputs": np.array(outputs), "h_n": np.array([[h]]), "c_n": np.array([[c]])}
    loss = sum(np.sum(forward[name] * exact(SMALL.cotangents[name])) for name in forward)
    return forward | {"loss": np.array(loss)}


def exact(array: np.ndarray) -> np.ndarray:
    return np.vectorize(exactly, otypes=[object])(array)


@pytest.fixture(scope="module")
def forty_digits_of_everything() -> Observation:
    """The forward arrays, and gradients by central differences with a step of 1e-12, whose own error is 1e-24."""
    numbers = {name: exact(array) for name, array in SMALL.weights.items()}
    numbers |= {"inputs": exact(SMALL.inputs), "h_0": exact(SMALL.state["h"]), "c_0": exact(SMALL.state["c"])}
    with mpmath.workdps(40):
        forward = forty_digits(numbers)
        gradient = {}
        for name, array in numbers.items():
            gradient[name] = np.empty_like(array)
            for place in np.ndindex(array.shape):
                ends = []
                for step in (mpmath.mpf("1e-12"), -mpmath.mpf("1e-12")):
                    moved = array.copy()
                    moved[place] += step
                    ends.append(forty_digits(numbers | {name: moved})["loss"])
                gradient[name][place] = (ends[0] - ends[1]) / mpmath.mpf("2e-12")
    return {"forward": forward, "gradient": gradient}


@pytest.mark.parametrize("stage", ["forward", "gradient"])
@pytest.mark.parametrize(
    ("observe", "digits"), [(extended.observe, "1e-18"), (torch_backend.observe, None)], ids=["extended", "float64"]
)
def test_the_truth_has_eighteen_digits_and_float64_has_not(
    observe: Callable[[Case], Observation], digits: str | None, stage: str, forty_digits_of_everything: Observation
):
    found = observe(SMALL)[stage]
    reference = {name: array for name, array in forty_digits_of_everything[stage].items() if name in found}
    assert set(reference) == set(found)
    with mpmath.workdps(40):
        scale = max(1, *(max(abs(value) for value in array.ravel()) for array in reference.values()))
        off = max(np.max(np.abs(exact(found[name]) - reference[name])) for name in found) / scale
    assert (off < mpmath.mpf("1e-18")) == (digits is not None), mpmath.nstr(off)


def moved(case: Case, name: str, place: tuple[int, ...], step: float) -> Case:
    """The case with one number moved, in a weight, the inputs or the initial state."""

    def move(array: np.ndarray) -> np.ndarray:
        wide = array.astype(np.longdouble)
        wide[place] += step
        return wide

    if name == "inputs":
        return replace(case, inputs=move(case.inputs))
    if name in case.weights:
        return replace(case, weights=case.weights | {name: move(case.weights[name])})
    name = name.removesuffix("_0")
    return replace(case, state=case.state | {name: move(case.state[name])})


@pytest.mark.parametrize("case", [CASES[name] for name in DIFFERENCED], ids=DIFFERENCED)
def test_the_gradients_are_the_central_differences_of_the_loss(case: Case):
    """At one place of every array, with a step of 1e-6. Measured: at most 2e-12 apart, the error of the step itself."""
    rng = np.random.default_rng(3)
    for name, gradient in extended.observe(case)["gradient"].items():
        place = tuple(int(rng.integers(n)) for n in gradient.shape)
        up, down = (extended.observe(moved(case, name, place, step))["loss"]["loss"] for step in (1e-6, -1e-6))
        assert abs((up - down) / np.longdouble(2e-6) - gradient[place]) < 1e-11, (name, place)


def test_the_worked_example_comes_out_as_it_was_computed_by_hand():
    long_memory, short_memory = WORKED_EXAMPLE_MEMORIES
    weights = {name: np.array(value) for name, value in WORKED_EXAMPLE_WEIGHTS.items()}
    case = make_case(weights, np.array([WORKED_EXAMPLE_INPUT]), state=(long_memory, short_memory), steps=0)
    forward = extended.observe(case)["forward"]
    for memory in ("long_memory", "short_memory"):
        assert float(forward[memory][0]) == pytest.approx(WORKED_EXAMPLE_RESULT[memory], abs=5e-9)


def test_a_machine_whose_long_double_is_float64_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extended, "EXTENDED", np.float64)
    with pytest.raises(InputError, match="no wider than float64") as error:
        extended.observe(SMALL)
    assert len(error.value.problems) == 1


def test_what_the_case_holds_is_left_as_it_was():
    case = CASES["lstm-nan-in-the-padding"]
    before = [array.copy() for array in (case.inputs, *case.weights.values(), *case.state.values())]
    extended.observe(case)
    for array, copy in zip((case.inputs, *case.weights.values(), *case.state.values()), before, strict=True):
        np.testing.assert_array_equal(array, copy)
