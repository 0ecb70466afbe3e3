"""The extra cases that a check draws, so that it reaches every path that ``implementation="auto"`` can take."""

from collections.abc import Hashable, Iterator
from dataclasses import replace

import numpy as np

from jax_lstm.recurrences.choose import Sizes, chunk_steps, every_rule
from lstm_parity.sides.case import DRAWN_BATCH, Case, make_case
from lstm_shared.specs import LSTMSpec

# No rule branches above this many rows.
_MOST_ROWS = 256


def variants(case: Case) -> Iterator[tuple[str, Case]]:
    """Yield (words, case) for each extra case with the same weights: other batch sizes, lengths, resets.

    Args:
        case: a case of an LSTM or a forecaster whose inputs were drawn. Other models have no extra cases.
    """
    spec = case.kind.lstm
    if spec is None:
        return
    rng = np.random.default_rng(case.seed)
    for rows in sorted({*_batches(spec), 1} - {DRAWN_BATCH}):
        steps = 2 * chunk_steps(rows) + 1
        yield f"{rows} row{'s' if rows > 1 else ''}", _drawn(case, rows, steps, rng)
    if not case.kind.takes_sequence_options or case.lengths is not None or case.reset is not None:
        return
    steps = 2 * chunk_steps(DRAWN_BATCH) + 1
    lengths = rng.permutation([steps, *rng.integers(1, steps, DRAWN_BATCH - 1)])
    if spec.bidirectional:
        yield "lengths", _drawn(case, DRAWN_BATCH, steps, rng, lengths=lengths)
    else:
        reset = rng.random((steps, DRAWN_BATCH)) < 0.2
        yield "lengths and resets", _drawn(case, DRAWN_BATCH, steps, rng, lengths=lengths, reset=reset)


def _batches(spec: LSTMSpec) -> set[int]:
    """Return the smallest number of rows for each path through the rules; for the drawn case's path, its own number."""
    first: dict[Hashable, int] = {}
    for rows in (DRAWN_BATCH, *range(1, _MOST_ROWS)):
        sizes = Sizes(2 * chunk_steps(rows), rows, spec.input_size, spec.hidden_size, np.dtype("float32"))
        first.setdefault(every_rule(sizes), rows)
    return set(first.values())


def _drawn(
    case: Case,
    rows: int,
    steps: int,
    rng: np.random.Generator,
    *,
    lengths: np.ndarray | None = None,
    reset: np.ndarray | None = None,
) -> Case:
    shape = case.kind.input_shape((rows,), steps, batch_first=case.kind.batch_first)
    inputs = rng.standard_normal(shape).astype(case.inputs.dtype)
    drawn = make_case(case.weights, inputs, steps=0, seed=case.seed, draw_state=True, lengths=lengths, reset=reset)
    return replace(drawn.astype(case.inputs.dtype.name), seed=case.seed)
