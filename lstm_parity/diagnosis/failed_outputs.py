"""Explain the outputs of a failed check by a known mistake."""

import numpy as np

from lstm_parity.diagnosis.explain import Diagnosis, diagnose
from lstm_parity.sides.case import Case, Observation
from lstm_shared.errors import ReportedError


def explain(case: Case, observed: Observation) -> Diagnosis | None:
    """Run ``diagnose`` on the outputs, or return None where it does not apply: forecasters, resets, no outputs."""
    if case.reset is not None:
        return None
    forward = observed["forward"]
    outputs = forward.get(case.kind.says)
    if outputs is None or outputs.dtype.kind == "c" or not outputs.size:
        return None
    options = {"lengths": case.lengths, "batch_first": case.batch_first}
    try:
        return diagnose(
            case.weights,
            case.inputs,
            np.asarray(outputs),
            state=tuple(case.state.values()) if case.state else None,
            **(options if case.lengths is not None or case.batch_first else {}),
        )
    except ReportedError:  # it rejects these shapes, or a forecaster; the rows already say what is wrong
        return None
