"""One check in progress: what was compared so far, what could not be judged, and what the inputs can show."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from lstm_parity.compare.conditioning import Observe, judged_steps
from lstm_parity.compare.observations import finite_part, judge
from lstm_parity.compare.places import Pair
from lstm_parity.compare.rows import Row
from lstm_parity.compare.sensitivity import Sensitivity, audit, unseen
from lstm_parity.compare.tolerance import VERDICT_DTYPE, eps
from lstm_parity.location.first import with_location
from lstm_parity.report.report import Report
from lstm_parity.sides import torch_backend
from lstm_parity.sides.case import Case, Observation
from lstm_shared.argument_kinds import is_floating
from lstm_shared.words import listed

# The precisions that both frameworks compute in. A port that returns another one is judged in the one it was given.
_JUDGED = ("float64", "float32", "bfloat16", "float16")

Truth = Literal["float64", "extended"]

T = TypeVar("T")

OURS = Pair("jax", "torch")  # the names of the sides if no port is judged


@dataclass(frozen=True)
class Sides:
    """The two sides of a comparison, and what can be expected of them.

    Attributes:
        ours: computes the side that is judged. It returns what it computed, and the case with the cotangents for just
            that.
        reference: computes the side that the other is judged by.
        names: the names of the two sides.
        traces: whether the judged side is our JAX backend, which can show its gates.
        partial: whether the judged side may leave out some of what the reference computes.
        truth: computes the float64 result that lower precisions are compared with.
    """

    ours: Callable[[Case], tuple[Observation, Case]]
    reference: Observe
    names: Pair[str] = OURS
    traces: bool = False
    partial: bool = False
    truth: Observe = torch_backend.observe


class Judgement:
    """The comparisons of one check; ``report`` turns them into a verdict."""

    def __init__(self, truth: Truth = "float64"):
        self._truth = truth
        self._rows: list[Row] = []
        self._notes: dict[str, None] = {}
        self._undecided: dict[str, None] = {}
        self._seconds: dict[str, float] = {}
        self._sensitivity: list[Sensitivity] = []
        self._failed: tuple[Case, Observation] | None = None
        self._decides = ""
        self.judged: Case | None = None

    def note(self, sentence: str) -> None:
        """Add a sentence that says what was not compared, and why."""
        self._notes[sentence] = None

    def judge(self, case: Case, dtype: str, sides: Sides, *, setting: str = "") -> None:
        """Compare both sides on a case in its dtype. If it cannot be judged to its end, also compare its first steps.

        Args:
            setting: what is special about this run, in words; empty for the case as given.
        """
        self._decides = self._decides or dtype
        if unfit := case.not_finite():  # the case as given was finite
            self._undecided[f"rounded to {dtype}, {listed(unfit)}, so nothing was judged in {dtype}"] = None
            return
        observed, returned = self._timed(sides.names.candidate, sides.ours, case)
        names = [a.dtype.name for a in observed["forward"].values() if is_floating(a.dtype)]
        lowest = max((name for name in names if name in _JUDGED), key=eps, default=dtype)
        if eps(lowest) > eps(dtype):  # the port computes in that precision whatever it is given
            self.note(f"the port computes in {lowest} whatever it is given, so it was judged in {lowest}")
            if not any((row.dtype, row.setting) == (lowest, setting) for row in self._rows):
                self._decides = lowest if self._decides == dtype else self._decides
                self.judge(case.astype(lowest), lowest, sides, setting=setting)
            return
        rows = self._compare(returned, observed, dtype, sides, setting)
        if setting:
            if any(row.judged < 1 for row in rows):
                self.note(f"{setting}: not all results were judged, because rounding errors alone move some of them")
            return
        decides = dtype == self._decides and sides.names.reference == "torch"
        if decides:
            self.judged = returned
        self._note_adam(rows, dtype)
        unjudged = [row for row in rows if row.judged < 1 and row.stage in ("forward", "gradient")]
        if unjudged and all(row.ok for row in rows):
            self._judge_first_steps(
                returned, dtype, sides, listed(f"{r.stage} {r.name}" for r in unjudged[:3]), decides
            )

    def _judge_first_steps(self, case: Case, dtype: str, sides: Sides, what: str, decides: bool) -> None:
        steps = judged_steps(case, sides.reference, dtype)
        if not steps:
            sentence = f"in {dtype}, rounding errors alone move {what} so far that no step can be judged"
            self._undecided |= {sentence: None} if decides else {}
            self._notes |= {} if decides else {sentence: None}
            return
        self.note(
            f"in {dtype}, everything was judged over the first {steps} of {case.time} steps: over all of them, "
            f"rounding errors alone move {what} too far"
        )
        observed, returned = self._timed(sides.names.candidate, sides.ours, case.first_steps(steps))
        rows = self._compare(returned, observed, dtype, sides, f"first {steps} steps")
        self._note_adam(rows, dtype)
        if decides:
            self.judged = returned

    def _compare(self, case: Case, observed: Observation, dtype: str, sides: Sides, setting: str) -> list[Row]:
        reference = self._timed(sides.names.reference, sides.reference, case)
        if sides.partial:
            reference = {
                stage: {name: array for name, array in arrays.items() if name in observed[stage]}
                for stage, arrays in reference.items()
                if stage in observed
            }
        observed, reference, unfit = finite_part(observed, reference)
        if unfit:
            of_reference = f"in {dtype}, {listed(unfit)} of {sides.names.reference}"
            self._undecided[f"{of_reference} overflowed, so there was nothing finite to compare with"] = None
        if not reference:
            return []
        exact = self._exact(case, dtype, sides)
        rows = judge(case, observed, reference, sides=sides.names, dtype=dtype, truth=exact, observe=sides.reference)
        rows = with_location(case, rows, observed, reference, traces=sides.traces)
        rows = [replace(row, setting=setting) for row in rows]
        if self._failed is None and any(not row.ok and row.stage == "forward" for row in rows):
            self._failed = case, observed
        self._rows += rows
        return rows

    def _exact(self, case: Case, dtype: str, sides: Sides) -> Observation | None:
        if dtype != VERDICT_DTYPE:
            return sides.truth(case.astype(VERDICT_DTYPE))
        if self._truth == "extended" and sides.names.reference == "torch":
            from lstm_parity.sides import extended

            return extended.observe(case)
        return None

    def _note_adam(self, rows: list[Row], dtype: str) -> None:
        judged, taken = next((row.adam_steps for row in rows if row.adam_steps is not None), (0, 0))
        if judged < taken:
            first = f"only the first {judged} of {taken} Adam steps were judged: after that,"
            through = first if judged else "no Adam step was judged:"
            self.note(
                f"in {dtype}, {through} rounding errors alone move more than a tenth of the weights more than half as "
                "far as Adam does"
            )

    def _timed(self, side: str, run: Callable[[Case], T], case: Case) -> T:
        began = time.perf_counter()
        result = run(case)
        self._seconds[side] = self._seconds.get(side, 0.0) + time.perf_counter() - began
        return result

    def audit(self) -> None:
        """Measure what the judged case can show. Whatever it cannot show makes the verdict undecided."""
        if self.judged is None:
            return
        case = replace(self.judged.astype(VERDICT_DTYPE), steps=0)
        reference = torch_backend.observe(case)
        if all(np.isfinite(array).all() for arrays in reference.values() for array in arrays.values()):
            self._sensitivity = audit(case, reference, torch_backend.observe)
            self._undecided |= dict.fromkeys(unseen(self._sensitivity))

    def report(self, environment: Mapping[str, str], seed: int) -> Report:
        """Return the report on everything that was compared."""
        differs = any(not row.ok for row in self._rows)
        diagnosis = None
        if differs and self._failed is not None:
            from lstm_parity.diagnosis.failed_outputs import explain  # the catalogue of mistakes is needed only now

            diagnosis = explain(*self._failed)
        if self._truth == "extended":
            self._say_who_is_nearer()
        return Report(
            tuple(self._rows),
            dict(environment),
            seed,
            self._seconds,
            undecided=tuple(self._undecided),
            notes=tuple(self._notes),
            sensitivity=tuple(self._sensitivity),
            diagnosis=diagnosis,
        )

    def _say_who_is_nearer(self) -> None:
        rows = [row for row in self._rows if row.errors is not None and row.dtype == VERDICT_DTYPE]
        if not rows:
            return
        worst = max(rows, key=lambda row: max(row.errors or ()))
        nearer = [0, 0]
        for row in rows:
            errors = row.errors or Pair(0.0, 0.0)
            if errors.candidate != errors.reference:
                nearer[int(errors.reference < errors.candidate)] += 1
        names = worst.sides
        off = [f"{error:.3g} ({side})" for error, side in zip(worst.errors or (), names, strict=True)]
        self.note(
            f"measured in extended precision, {names.candidate} is nearer in {nearer[0]} of {len(rows)} arrays and "
            f"{names.reference} in {nearer[1]}; the largest error is in {worst.stage} {worst.name}: "
            f"{' and '.join(off)} eps · scale"
        )
