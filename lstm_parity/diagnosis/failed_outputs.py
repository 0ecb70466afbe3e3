"""The mistake that explains the outputs of a failed check."""

import numpy as np

from lstm_parity.diagnosis.explain import Diagnosis, diagnose
from lstm_parity.sides.case import Case, Observation
from lstm_shared.errors import ReportedError


def explain(case: Case, observed: Observation) -> Diagnosis | None:
    """What ``diagnose`` makes of the outputs; None where it does not apply: forecasters, resets, nothing to compare."""
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
    except ReportedError:  # of shapes that it does not take, of a forecaster; the rows say what is wrong
        return None
