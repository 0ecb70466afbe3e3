"""Find where the first failed comparison fails: in the model, in the sequences, or in the gates of a weight."""

from collections.abc import Sequence
from dataclasses import replace

from lstm_parity.compare.places import GradientLocation, Location, OutputLocation
from lstm_parity.compare.rows import Row
from lstm_parity.location.outputs import locate_gradient, locate_outputs
from lstm_parity.location.traces import locate
from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.gate_traces import trace_both
from lstm_shared.argument_kinds import is_floating

_STAGES = ("forward", "gradient")  # a loss is a single number, and a wrong Adam step starts with a wrong gradient


def with_location(
    case: Case, rows: Sequence[Row], candidate: Observation, reference: Observation, *, traces: bool = False
) -> list[Row]:
    """Return the rows of one comparison with the ``location`` of the first failed one filled in.

    A gradient gets a location only if the forward pass agrees.

    Args:
        case: what both sides computed.
        rows: the rows in the order of computation, all of one dtype.
        candidate, reference: the arrays that the rows compare.
        traces: whether the candidate is our JAX backend, which shows its gates. Otherwise only its arrays are known.

    Returns:
        The same rows. No row has a location if all agree, or if the index of the failed row already says all that is
        known: final states, a cell, a forecaster's predictions, a wrong shape.
    """
    found = list(rows)
    number = next((k for k, row in enumerate(found) if not row.ok and row.stage in _STAGES), None)
    if number is not None:
        first = found[number]
        place: Location | OutputLocation | GradientLocation | None = None
        if first.stage == "forward" and traces:
            place = _in_traces(case, first.dtype)
        if place is None:  # no traces, or the traces agree: then the mistake comes after them
            place = _in_arrays(case, first, candidate, reference)
        found[number] = replace(first, location=place)
    return found


def _in_traces(case: Case, dtype: str) -> Location | None:
    if not case.kind.has_steps:
        return None
    ours, reference = trace_both(case)
    return locate(reference, ours, dtype=dtype, batch_first=case.batch_first)


def _in_arrays(
    case: Case, row: Row, candidate: Observation, reference: Observation
) -> OutputLocation | GradientLocation | None:
    ours, theirs = (side.get(row.stage, {}).get(row.name) for side in (candidate, reference))
    if ours is None or theirs is None or ours.shape != theirs.shape or not is_floating(ours.dtype):
        return None
    if row.stage == "gradient":
        return locate_gradient(row.name, theirs, ours, tolerance=row.tolerance)
    if row.name != "outputs":
        return None
    return locate_outputs(
        theirs,
        ours,
        batch_first=case.batch_first,
        bidirectional=case.kind.both_directions,
        tolerance=row.tolerance,
    )
