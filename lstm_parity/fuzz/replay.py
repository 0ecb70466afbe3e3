"""Compare both backends on one case of a search, in its own dtype."""

import time
import warnings

from lstm_parity.compare.observations import judge
from lstm_parity.compare.places import Pair
from lstm_parity.compare.rows import Row
from lstm_parity.compare.tolerance import VERDICT_DTYPE
from lstm_parity.location.first import with_location
from lstm_parity.report.report import Report
from lstm_parity.sides import jax_backend, torch_backend
from lstm_parity.sides.case import Case
from lstm_parity.sides.environment import environment

_SIDES = Pair("jax", "torch")


def replay(case: Case, *, compiled: bool = True, implementation: str = "auto") -> Report:
    """Compare both backends on one case in its own dtype: outputs, loss, gradients, and Adam steps if it has any."""
    began = time.perf_counter()
    rows = compare(case, compiled, implementation)
    return Report(tuple(rows), environment(), case.seed, {"both": time.perf_counter() - began})


def compare(case: Case, compiled: bool, implementation: str) -> list[Row]:
    """Return the rows that compare both backends; if one raises an exception, that is a row too."""
    dtype = case.inputs.dtype.name
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")  # about speed only
        return _compare_in(dtype, case, compiled, implementation)


def _compare_in(dtype: str, case: Case, compiled: bool, implementation: str) -> list[Row]:
    try:
        ours = jax_backend.observe(case, compiled=compiled, implementation=implementation)
    except Exception as error:  # a valid case must not raise anything
        return [_raised("jax", dtype, error)]
    try:
        reference = torch_backend.observe(case)
        truth = None if dtype == VERDICT_DTYPE else torch_backend.observe(case.astype(VERDICT_DTYPE))
    except Exception as error:
        return [_raised("torch", dtype, error)]
    rows = judge(case, ours, reference, sides=_SIDES, dtype=dtype, truth=truth, observe=torch_backend.observe)
    return with_location(case, rows, ours, reference)


def _raised(side: str, dtype: str, error: Exception) -> Row:
    said = (str(error).splitlines() or [""])[0]
    problem = f"{side} raised {type(error).__name__}: {said}"
    infinite = float("inf")
    return Row("forward", "everything", dtype, _SIDES, infinite, 0.0, infinite, infinite, problem=problem)
