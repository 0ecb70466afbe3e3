"""The mistake that explains the outputs of a failed check."""

import numpy as np

from lstm_parity.diagnosis.explain import Diagnosis, diagnose
from lstm_parity.sides.case import Case, Observation
from lstm_shared.errors import ReportedError
from lstm_shared.specs import ForecasterSpec


def explain(case: Case, observed: Observation) -> Diagnosis | None:
    """What ``diagnose`` makes of the outputs; None where it does not apply: forecasters, resets, nothing to compare."""
    if isinstance(case.spec, ForecasterSpec) or case.reset is not None:
        return None
    forward = observed["forward"]
    outputs = next((forward[name] for name in ("outputs", "h", "short_memory") if name in forward), None)
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
    except ReportedError:  # of shapes that it does not take; the rows say what is wrong
        return None
