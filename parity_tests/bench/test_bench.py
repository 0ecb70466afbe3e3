"""Parts of the benchmark: figures from samples, the order of the rounds, cases and plans."""

import json

import numpy as np
import pytest

from lstm_parity.bench.cases import CASES, FORWARD, MODES, TRAINING, BenchCase, curve
from lstm_parity.bench.contenders import registry
from lstm_parity.bench.contenders.registry import PEERS
from lstm_parity.bench.plan import make_plan
from lstm_parity.bench.record.measurements import FAILED, LEFT_OUT, TIMED, Measurement, Round
from lstm_parity.bench.record.summary import Ratio, against_reference, break_even, pays_off, ratio, strongest
from lstm_parity.bench.timing import runner
from lstm_parity.bench.timing.processes import WorkerError
from lstm_shared import InputError, save


def measured(contender, *medians, case="h64", mode=FORWARD, **others) -> Measurement:
    """Return a measurement whose rounds have these medians, in seconds."""
    rounds = tuple(Round(10, 0.9 * m, 0.95 * m, m, 1.1 * m) for m in medians)
    return Measurement(
        case, mode, contender, TIMED, "", **{"tolerance_used": 0.1, "first_call": 1.0} | others, rounds=rounds
    )


def group_of(*measurements) -> dict[str, Measurement]:
    return {one.contender: one for one in measurements}


# Figures from samples


def test_a_round_is_its_median_and_spread():
    assert Round.of([4.0, 1.0, 3.0, 2.0, 10.0]) == Round(5, 1.0, 2.0, 3.0, 4.0)
    assert Round.of([1.0, 2.0]) == Round(2, 1.0, 1.25, 1.5, 1.75)


def test_the_steady_state_is_the_median_of_the_rounds():
    assert measured("jax", 3.0, 1.0, 2.0).steady == Round(30, 0.9, 0.95 * 2, 2.0, 1.1 * 2)
    assert Measurement("h64", FORWARD, "jax", FAILED).steady is None


def test_a_ratio_compares_within_the_round():
    # The machine was three times slower in the second round, for both.
    assert ratio([1.0, 3.0, 1.0], [2.0, 6.0, 2.2]) == Ratio(2.0, 2.0, 2.2)
    # The ratio of the medians would be 2.
    assert ratio([1.0, 2.0, 3.0], [6.0, 4.0, 3.0]) == Ratio(2.0, 1.0, 6.0)


@pytest.mark.parametrize(
    ("first", "later", "calls"),
    [
        (10.0, 1.0, 5),  # 10 + 4 · 1 = 14 against 2 + 4 · 3 = 14
        (10.1, 1.0, 6),
        (2.0, 5.0, 1),  # cheaper at once
        (10.0, 3.0, None),
        (10.0, 4.0, None),
    ],
)
def test_compiling_pays_off_when_all_calls_together_cost_no_more(first, later, calls):
    assert break_even(first, later, 2.0, 3.0) == calls


def test_what_does_not_compile_has_nothing_to_pay_off():
    group = group_of(
        measured("torch", 2.0), measured("jax", 1.0, first_call=5.0), measured("flax", 2.0, first_call=5.0)
    )
    assert [pays_off(one, group) for one in group.values()] == [None, 5, "never"]
    assert pays_off(measured("torch-cell", 1.0), group) is None
    assert pays_off(measured("jax", 1.0), group_of(measured("jax", 1.0))) is None


def test_training_counts_adam_steps_not_calls():
    ours = measured("jax", 10.0, mode=TRAINING, steps=1000, first_call=40.0)  # 30 s to compile, 0.01 s a step
    torch = measured("torch", 4.0, mode=TRAINING, steps=200, first_call=4.0)  # 0.02 s a step
    assert against_reference(ours, group_of(torch)) == Ratio(2.0, 2.0, 2.0)
    assert pays_off(ours, group_of(torch)) == pytest.approx(3001, abs=1)


def test_the_strongest_other_is_not_one_of_ours():
    group = group_of(measured("torch", 3.0), measured("jax", 1.0), measured("jax-scan", 0.5), measured("haiku", 4.0))
    assert strongest(group).contender == "torch"
    assert strongest(group, lambda family: family == "peer").contender == "haiku"
    assert strongest(group_of(measured("jax", 1.0))) is None


# Order


def test_everybody_is_first_once_and_nobody_is_left_out_of_a_round():
    assert list(runner.orders(["a", "b", "c"], 4)) == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
    assert list(runner.orders([], 2)) == [[], []]


class FakeProcess:
    """Answers at once. ``asked`` keeps every request in order. The contender ``fails`` gives up in its second turn."""

    asked: list[tuple[str, str]]
    fails: str | None = None
    device: str | None = "cpu"

    def __init__(self, contender, threads, device):
        self._name = contender.name
        self._turns = 0

    def ask(self, do, **request):
        self.asked.append((self._name, do))
        if do == "prepare":
            save(request["file"], {"forward/outputs": np.ones(3)})
            return {"first_call": 1.0, "steps": 4}
        self._turns += do == "sample"
        if do == "sample" and self._name == self.fails and self._turns == 2:
            raise WorkerError("out of memory")
        return {"samples": [1.0, 2.0, 3.0]} if do == "sample" else {"device": self.device}

    def forget(self):
        self.asked.append((self._name, "forget"))

    def stop(self):
        self.asked.append((self._name, "stop"))


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(FakeProcess, "asked", [], raising=False)
    monkeypatch.setattr(runner, "Process", FakeProcess)
    return FakeProcess


def test_numbers_come_before_times_and_rounds_are_interleaved(fake):
    runner.run(make_plan(cases=["tiny"], modes=[FORWARD], contenders=["torch", "jax", "flax"], rounds=3, seconds=1))
    asked = [(name, do) for name, do in fake.asked if do in ("prepare", "sample")]
    names = ["torch", "jax", "flax"]
    expected = [(name, "prepare") for name in names]
    expected += [(name, "sample") for turn in range(3) for name in names[turn:] + names[:turn]]
    assert asked == expected
    assert [do for _, do in fake.asked[-3:]] == ["stop"] * 3


def test_torch_judges_also_when_it_is_not_timed(fake):
    record = runner.run(make_plan(cases=["tiny"], modes=[FORWARD], contenders=["flax"], rounds=1, seconds=1))
    assert ("torch", "prepare") in fake.asked
    assert ("torch", "sample") not in fake.asked
    assert [one.contender for one in record.measurements] == ["flax"]


def test_who_fails_in_a_later_round_has_no_figures(fake, monkeypatch):
    monkeypatch.setattr(fake, "fails", "flax")
    record = runner.run(make_plan(cases=["tiny"], modes=[FORWARD], contenders=["torch", "flax"], rounds=3, seconds=1))
    torch, flax = record.measurements
    assert (flax.outcome, flax.reason, flax.rounds) == (FAILED, "out of memory", ())
    assert len(torch.rounds) == 3
    assert record.ok  # a peer that cannot run is no difference


def test_a_gpu_that_is_not_there_is_said(fake, monkeypatch):
    monkeypatch.setattr(fake, "device", None)
    with pytest.raises(InputError, match="--device gpu: torch finds no gpu here"):
        runner.run(make_plan(cases=["tiny"]), device="gpu")


def test_what_a_contender_does_not_do_is_in_the_record_with_the_reason(fake):
    record = runner.run(make_plan(cases=["projected"], modes=[FORWARD], contenders=["torch", "haiku"], rounds=1))
    assert [(one.outcome, one.reason) for one in record.measurements] == [(TIMED, ""), (LEFT_OUT, "no projections")]


# Cases


def test_coarse_dtypes_are_judged_in_float32_too():
    assert CASES["bf16"].parity_dtypes == ("float32", "bfloat16")
    assert CASES["by-hand"].parity_dtypes == ("float64", "float32")
    assert CASES["float64"].parity_dtypes == ("float64",)


def test_scaling_curves_meet_in_h64():
    assert curve("T")[64] == curve("B")[32] == curve("H")[64] == "h64"
    assert (CASES["T2048"].time, CASES["B1"].batch, CASES["H512"].hidden_size) == (2048, 1, 512)
    assert {case.curve for case in CASES.values()} == {"", "T", "B", "H"}


def test_a_case_travels_as_json():
    for case in CASES.values():
        assert BenchCase(**json.loads(json.dumps(case.to_dict()))) == case


def test_ragged_lengths_end_within_the_sequence():
    lengths = CASES["ragged"].lengths()
    assert lengths is not None
    assert lengths[0] == 128
    assert 128 // 4 < lengths.min() < lengths.max() == 128
    assert CASES["h128"].lengths() is None


# Plans


def test_what_is_not_installed_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name in ("haiku", "keras") else name)
    plan = make_plan()
    assert plan.missing == {
        "haiku": "haiku is not installed: pip install 'lstm-parity[bench]'",
        "keras": "keras is not installed: pip install 'lstm-parity[bench]'",
    }
    assert {"haiku", "keras"}.isdisjoint(plan.contenders)
    assert {"torch", "jax", "flax", "equinox"} <= set(plan.contenders)
    with pytest.raises(InputError, match="haiku is not installed"):
        make_plan(contenders=["haiku"])


def test_without_peers_there_are_none():
    assert set(make_plan(peers=False).contenders).isdisjoint(PEERS)


def test_a_case_with_a_mode_of_its_own_runs_in_it_unless_modes_are_chosen():
    def groups(**options):
        return {(case.name, mode) for case, mode, _ in make_plan(**options).groups()}

    assert ("by-hand", TRAINING) in groups(quick=True)
    assert ("tiny", TRAINING) not in groups(quick=True)
    assert ("by-hand", TRAINING) not in groups(quick=True, modes=[FORWARD])
    assert groups(cases=["h64"]) == {("h64", mode) for mode in MODES}


def test_scaling_curves_are_for_full_and_for_four_contenders():
    assert not any(case.curve for case, _, _ in make_plan().groups())
    on_curves = {name for case, _, names in make_plan(full=True).groups() if case.curve for name in names}
    assert on_curves == {"torch", "jax", "jax-scan", "flax"}
