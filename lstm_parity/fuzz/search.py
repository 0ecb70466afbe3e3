"""Search for a case on which the backends differ: first every pair of options and sizes, then random cases.

Hypothesis draws the random cases. It shrinks a failing case as far as it can, whichever of the two it came from.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import hypothesis
import jax
import torch
from hypothesis import HealthCheck, Phase
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from lstm_parity.fuzz.configurations import Configuration
from lstm_parity.fuzz.draw import configurations, simpler_than
from lstm_parity.fuzz.reach import Reach
from lstm_parity.fuzz.replay import compare as _compare
from lstm_parity.fuzz.replay import replay
from lstm_parity.fuzz.strata import strata
from lstm_parity.report.report import Report
from lstm_parity.sides.case import Case
from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole
from lstm_shared.progress import progress_bar

# After this many cases, drop what JAX has compiled: over a megabyte for each operation in each shape. With this, 300
# cases peak at 1.5 GB resident (0.5 before the first). Without it, 200 cases took 2.4 GB, and memory kept growing.
_CASES_KEPT = 25

# Up to this many cases near a failing one are drawn, and the first that fails is shrunk. Almost half of them are the
# failing case itself.
_STARTS = 50

# A comparison takes longer than a unit test should, and large models are intended.
_NO_MATTER = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


@dataclass(frozen=True)
class FuzzResult:
    """The result of a search.

    Attributes:
        cases_run: how many cases were drawn and compared, up to the first that differs.
        compiled: how many of them JAX compiled; the others ran operation by operation.
        undecided: how many of them could not be judged to the end, because rounding errors alone move their results.
        reach: what these cases were and which paths they took.
        failure: the smallest case found that differs; None if all agree.
        failure_compiled: whether JAX compiled that case.
        failure_implementation: the ``implementation`` with which ``jax_lstm.lstm`` ran it.
        report: the report on that case; None if all agree.
        closest: the largest share of its tolerance that any comparison of an agreeing case used.
        seed: the seed from which the cases were drawn.
        seconds: the time taken in all, shrinking included.
    """

    cases_run: int
    compiled: int
    undecided: int
    reach: Reach
    failure: Case | None
    failure_compiled: bool
    failure_implementation: str
    report: Report | None
    closest: float
    seed: int
    seconds: float


class _Differs(Exception):
    """Raised in the function that hypothesis tests; hypothesis then shrinks the case."""


class _OutOfTime(BaseException):
    """Raised when the time is up. It is not an Exception, so hypothesis lets it through without shrinking the case."""


def fuzz(*, cases: int | None = 200, minutes: float | None = None, seed: int = 0, progress: bool = False) -> FuzzResult:
    """Draw cases from a seed and compare both backends on each, forward and gradients, until one differs.

    The first hundred or so cases combine every two options, and every option with every class of sizes (``strata``).
    The rest are drawn at random. From time to time the search clears JAX's caches, so that its memory does not grow.
    Functions that the caller has compiled are then compiled again at their next call.

    Args:
        cases: how many cases to run; with ``minutes``, None for as many as there is time for.
        minutes: how long to draw cases. A failing case is still shrunk after that, which takes at most five minutes.
        seed: the same seed draws the same cases.
        progress: show a progress bar on stderr.

    Raises:
        InputError: an argument is out of range, or neither ``cases`` nor ``minutes`` is given.
    """
    problems = [] if is_whole(seed, at_least=0) else [f"seed is {seed!r}, expected a whole number, 0 or larger"]
    if cases is None and minutes is None:
        problems.append("neither cases nor minutes is given: give one, to say how long to search")
    if cases is not None and not is_whole(cases):
        problems.append(f"cases is {cases!r}, expected a positive whole number")
    if minutes is not None and not 0 < minutes < float("inf"):
        problems.append(f"minutes is {minutes!r}, expected a positive number")
    InputError.raise_any(problems)
    began = time.perf_counter()
    search = _Search(None if minutes is None else began + 60 * minutes)
    bar = ("cases", cases) if cases else ("seconds", round(60 * (minutes or 0)))
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar(*bar, enabled=progress))
        search.show = lambda run: show(run if cases else round(time.perf_counter() - began))
        # Hypothesis keeps notes for its next run, by default in the user's working directory: here it must not.
        stack.callback(set_hypothesis_home_dir, None)
        set_hypothesis_home_dir(stack.enter_context(tempfile.TemporaryDirectory()))
        # In small models, torch's threads wait for each other by spinning, which doubled the time on two busy cores.
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        with suppress(_OutOfTime):
            search.run(cases or 10**9, seed)
    failing = search.failing or Configuration()
    failure = search.failing and search.failing.case()
    how = {"compiled": failing.compiled, "implementation": failing.implementation}
    return FuzzResult(
        cases_run=search.cases_run,
        compiled=search.compiled,
        undecided=search.undecided,
        reach=search.reach,
        failure=failure,
        failure_compiled=failing.compiled,
        failure_implementation=failing.implementation,
        report=None if failure is None else replay(failure, **how),
        closest=search.closest,
        seed=seed,
        seconds=time.perf_counter() - began,
    )


class _Search:
    """The state of one search between one case and the next."""

    def __init__(self, until: float | None):
        self.until = until
        self.cases_run = self.compiled = self.compared = 0  # ``compared`` also counts the cases tried while shrinking
        self.undecided = 0
        self.closest = 0.0
        self.reach = Reach()
        self.failing: Configuration | None = None
        self.differs: dict[Configuration, bool] = {}  # while shrinking, hypothesis tries some configurations again
        self.show: Callable[[int], None] = lambda run: None

    def run(self, cases: int, seed: int) -> None:
        """Compare this many cases, the strata first, and shrink the first that differs as far as possible."""
        first = strata(seed)[:cases]
        try:
            for configuration in first:
                self._one(configuration)
        except _Differs:
            self._make_smaller(seed)
        else:
            if cases > len(first):
                self._draw(configurations(), cases - len(first), seed)

    def _make_smaller(self, seed: int) -> None:
        """Give the failing configuration to hypothesis as the largest one that it may draw."""
        assert self.failing is not None
        if self.failing.compiled:  # a case that also fails by operation is shrunk in a tenth of the time
            with suppress(_Differs):
                self._one(replace(self.failing, compiled=False))
        self._draw(simpler_than(self.failing), _STARTS, seed)

    def _draw(self, strategy: SearchStrategy[Configuration], cases: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=_NO_MATTER,
            report_multiple_bugs=False,
            print_blob=False,
        )
        @hypothesis.given(strategy)
        def agree(configuration: Configuration) -> None:
            self._one(configuration)

        with suppress(_Differs, Flaky):  # Flaky: a case differed once and then agreed; that is reported too
            agree()

    def _one(self, configuration: Configuration) -> None:
        shrinking = self.failing is not None
        if not shrinking:
            if self.until is not None and time.perf_counter() > self.until:
                raise _OutOfTime
            self.cases_run += 1
            self.compiled += configuration.compiled
        if not shrinking or configuration not in self.differs:
            case, compiled, implementation = configuration.case(), configuration.compiled, configuration.implementation
            rows = _compare(case, compiled, implementation)
            self.compared += 1
            if self.compared % _CASES_KEPT == 0:
                jax.clear_caches()
            self.differs[configuration] = not all(row.ok for row in rows)
            if not shrinking:
                self.reach.add(case, compiled=compiled, implementation=implementation)
                self.undecided += any(row.judged < 1 for row in rows)
                if not self.differs[configuration]:
                    self.closest = max(self.closest, *(row.used for row in rows))
        if self.differs[configuration]:
            self.failing = configuration  # the last one to differ is the smallest, because hypothesis ends with it
            raise _Differs
        if not shrinking:
            self.show(self.cases_run)
