"""The search for the case that breaks it: hypothesis draws whole cases, and makes a failing one as small as it can.

Only sizes, options and a seed are drawn by hypothesis, and the arrays from that seed: so it shrinks a configuration
instead of thousands of numbers.
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import hypothesis
import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, Phase, strategies
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import Flaky

from lstm_parity import observe_jax, observe_torch
from lstm_parity.cases import Case, make_case
from lstm_parity.compare import Row
from lstm_parity.environment import environment
from lstm_parity.report import Report
from lstm_parity.verdict import VERDICT_DTYPE, compare_observations
from lstm_shared.describe import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec
from lstm_shared.errors import InputError
from lstm_shared.inputs import is_whole
from lstm_shared.progress import progress_bar

# One case in so many is compiled by JAX, as users run it; the others run operation by operation: compiling takes a
# second, and no two cases share a program.
COMPILED_SHARE = 20

# Hypothesis mixes constants that it finds in loaded modules into what it draws. It leaves those below 100 alone, so
# within 0..99 a seed gives the same cases whatever else is loaded.
_SEEDS = strategies.integers(0, 99)

# The simplest first: that is where hypothesis shrinks to. With weights beyond these, correct code parts chaotically.
_WEIGHT_MAGNITUDES = (0.5, 1.0, 0.1, 0.01, 2.0)
_INPUT_MAGNITUDES = (1.0, 1.0, 1.0, 0.01, 30.0, 1000.0)
_TIMES = (*range(1, 10), 0)
_BATCHES = (1, 2, 3, 4, 1, 2, 3, 4, 0)
_LARGEST_SIZE = 7
_KINDS = ("LSTM",) * 7 + ("cell", "forecaster", "by hand")
_DTYPES = ("float64",) * 6 + ("float32", "bfloat16")
_SPECIALS = ("",) * 5 + ("zeros", "signed zeros", "subnormals", "one huge input")
# Comparing takes longer than a unit test may, and a large model is what was asked for.
_NO_MATTER = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


@dataclass(frozen=True)
class FuzzResult:
    """What a search found.

    Attributes:
        cases_run: drawn and compared, up to the first that differs.
        compiled: how many of them JAX compiled; the others ran operation by operation.
        failure: the smallest case found that differs, None when all agree.
        failure_compiled: whether JAX compiled it.
        report: its comparison.
        closest: the largest share of its tolerance that any comparison of an agreeing case used.
        seed: what the cases were drawn from.
        seconds: in all, shrinking included.
    """

    cases_run: int
    compiled: int
    failure: Case | None
    failure_compiled: bool
    report: Report | None
    closest: float
    seed: int
    seconds: float


class _Differs(Exception):
    """Raised in the function under hypothesis, which shrinks what it was raised for."""


class _OutOfTime(BaseException):
    """Not an Exception: hypothesis lets it through instead of shrinking the case."""


def fuzz(*, cases: int | None = 200, minutes: float | None = None, seed: int = 0, progress: bool = False) -> FuzzResult:
    """Draw cases from a seed and compare both backends on each, forward and gradients, until one differs.

    Args:
        cases: how many; with ``minutes``, None for as many as there is time for.
        minutes: when to stop drawing. A failing case is shrunk all the same, which takes five minutes at most.
        seed: the same seed draws the same cases.
        progress: show a bar on stderr.

    Raises:
        InputError: a number that is not what it should be.
    """
    problems = [] if is_whole(seed, at_least=0) else [f"seed is {seed!r}, expected a whole number, 0 or larger"]
    if cases is None and minutes is None:
        problems.append("how long to search is not said: give cases or minutes")
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
        # Where hypothesis keeps notes for its next run, by default in the user's working directory.
        stack.callback(set_hypothesis_home_dir, None)
        set_hypothesis_home_dir(stack.enter_context(tempfile.TemporaryDirectory()))
        search.run(cases or 10**9, seed)
    failure, compiled = search.failure or (None, False)
    return FuzzResult(
        cases_run=search.cases_run,
        compiled=search.compiled,
        failure=failure,
        failure_compiled=compiled,
        report=None if failure is None else replay(failure, compiled=compiled),
        closest=search.closest,
        seed=seed,
        seconds=time.perf_counter() - began,
    )


def replay(case: Case, *, compiled: bool = True) -> Report:
    """Compare both backends on one case in its own dtype: outputs, loss, gradients, and its Adam steps if any."""
    began = time.perf_counter()
    rows = _compare(case, compiled)
    return Report(tuple(rows), environment(), case.seed, {"both": time.perf_counter() - began})


class _Search:
    """The state of one search, between one case and the next."""

    def __init__(self, until: float | None):
        self.until = until
        self.cases_run = self.compiled = 0
        self.closest = 0.0
        self.failure: tuple[Case, bool] | None = None
        self.show: Callable[[int], None] = lambda run: None

    def run(self, cases: int, seed: int) -> None:
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
        @hypothesis.given(drawn_cases())
        def agree(case: Case) -> None:
            self._one(case)

        with suppress(_Differs, _OutOfTime, Flaky):  # Flaky: it differed once, and then agreed; that is shown too
            agree()

    def _one(self, case: Case) -> None:
        shrinking = self.failure is not None
        if self.failure is not None:  # the smaller cases are run as the first was
            compiled = self.failure[1]
        else:
            if self.until is not None and time.perf_counter() > self.until:
                raise _OutOfTime
            self.cases_run += 1
            compiled = self.cases_run % COMPILED_SHARE == 0
            self.compiled += compiled
        rows = _compare(case, compiled)
        if not all(row.ok for row in rows):
            self.failure = case, compiled  # the last to differ is the smallest: hypothesis ends with it
            raise _Differs
        if not shrinking:
            self.closest = max(self.closest, *(row.used for row in rows))
            self.show(self.cases_run)


def _compare(case: Case, compiled: bool) -> list[Row]:
    dtype = case.inputs.dtype.name
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")  # it is slower, no more
        return _compare_in(dtype, case, compiled)


def _compare_in(dtype: str, case: Case, compiled: bool) -> list[Row]:
    try:
        ours = observe_jax.observe(case, compiled=compiled)
    except Exception as error:  # whatever it is: on a case that is in order it must not be raised
        return [_raised("jax", dtype, error)]
    try:
        reference = observe_torch.observe(case)
        truth = None if dtype == VERDICT_DTYPE else observe_torch.observe(case.astype(VERDICT_DTYPE))
    except Exception as error:
        return [_raised("torch", dtype, error)]
    return compare_observations(case, ours, reference, ("jax", "torch"), dtype, truth)


def _raised(side: str, dtype: str, error: Exception) -> Row:
    said = (str(error).splitlines() or [""])[0]
    problem = f"{side} raised {type(error).__name__}: {said}"
    infinite = float("inf")
    return Row("forward", "everything", dtype, ("jax", "torch"), infinite, 0.0, infinite, infinite, problem=problem)


@strategies.composite
def drawn_cases(draw: Callable[..., Any]) -> Case:
    """A case in its own dtype. Each option shrinks to what it is listed first as."""

    def whole(low: int, high: int) -> int:
        return draw(strategies.integers(low, high))

    def one_of(*values: Any) -> Any:
        return draw(strategies.sampled_from(values))

    kind, dtype, special = one_of(*_KINDS), one_of(*_DTYPES), one_of(*_SPECIALS)
    weight_magnitude, input_magnitude = one_of(*_WEIGHT_MAGNITUDES), one_of(*_INPUT_MAGNITUDES)
    rng = np.random.default_rng(draw(_SEEDS))

    def array(magnitude: float, *shape: int) -> np.ndarray:
        return _with_special(rng, magnitude * rng.uniform(-1, 1, shape), special, dtype)

    time, batch = one_of(*_TIMES), one_of(*_BATCHES)
    options: dict[str, Any] = {}
    if kind == "by hand":
        spec, shape = ByHandSpec(), one_of((time,), (batch, time))
        states = (shape[:-1], shape[:-1])
    elif kind == "cell":
        spec = CellSpec(whole(1, _LARGEST_SIZE), whole(1, _LARGEST_SIZE), one_of(True, False))
        rows = one_of((batch,), ())
        shape, states = (*rows, spec.input_size), ((*rows, spec.hidden_size),) * 2
    else:
        lstm = _draw_lstm(whole, one_of)
        spec = ForecasterSpec(lstm, whole(1, 3)) if kind == "forecaster" else lstm
        layout = one_of("time first", "batch first", "unbatched") if kind == "LSTM" else "batch first"
        time = max(time, 1) if kind == "forecaster" else time  # it predicts from the last step
        rows = () if layout == "unbatched" else (batch,)
        leading = (*rows, time) if layout == "batch first" else (time, *rows)
        shape = (*leading, lstm.input_size)
        states = tuple(
            (lstm.num_layers * len(lstm.directions), *rows, size) for size in (lstm.state_size, lstm.hidden_size)
        )
        if kind == "LSTM":
            options["batch_first"] = layout == "batch first"
            resets = one_of(False, False, True)  # drawn for every model: hypothesis then shrinks each option by itself
            if resets and not lstm.bidirectional:
                options["reset"] = rng.random(leading) < 0.3
            if one_of(False, True):
                options["lengths"] = np.reshape([whole(0, time) for _ in range(batch if rows else 1)], rows).astype(int)
    weights = {name: array(weight_magnitude, *shape) for name, shape in spec.shapes.items()}
    inputs = array(input_magnitude, *shape)
    if special == "one huge input" and inputs.size:
        inputs.flat[rng.integers(inputs.size)] = 1e6
    if kind != "forecaster" and one_of(False, True):
        options["state"] = tuple(array(1.0, *shape) for shape in states)
    if "lengths" in options and one_of(False, True):
        _spoil_padding(rng, inputs, options["lengths"], options["batch_first"])
    return make_case(weights, inputs, **options, steps=0, seed=whole(0, 99)).astype(dtype)


def _draw_lstm(whole: Callable[[int, int], int], one_of: Callable[..., Any]) -> LSTMSpec:
    hidden_size = whole(1, _LARGEST_SIZE)
    return LSTMSpec(
        input_size=whole(1, _LARGEST_SIZE),
        hidden_size=hidden_size,
        num_layers=whole(1, 3),
        bias=one_of(True, False),
        bidirectional=one_of(False, True),
        proj_size=min(one_of(0, 0, 0, 1, 2, 3), hidden_size - 1),
    )


def _with_special(rng: np.random.Generator, values: np.ndarray, special: str, dtype: str) -> np.ndarray:
    """A third of the values replaced by zeros, zeros of both signs, or numbers below the smallest normal one."""
    chosen = rng.random(values.shape) < 1 / 3
    subnormal = float(ml_dtypes.finfo(np.dtype(dtype)).smallest_subnormal)
    kinds = {"zeros": 0.0, "signed zeros": np.copysign(0.0, values), "subnormals": np.sign(values) * 5 * subnormal}
    return np.where(chosen, kinds[special], values) if special in kinds else values


def _spoil_padding(rng: np.random.Generator, inputs: np.ndarray, lengths: np.ndarray, batch_first: bool) -> None:
    """NaN and infinities past every sequence's end: they must reach nothing."""
    time_first = np.swapaxes(inputs, 0, 1) if batch_first else inputs
    steps = np.arange(len(time_first))
    padding = steps[:, None] >= lengths if lengths.ndim else steps >= lengths
    time_first[padding] = rng.choice([np.nan, np.inf, -np.inf], time_first[padding].shape)
