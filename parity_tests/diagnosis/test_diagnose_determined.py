"""Which steps of a chaotic port are judged, and what counts as an explanation there."""

from dataclasses import replace

import numpy as np
import pytest
from test_diagnose_chaotic import chaotic, draw, run

from lstm_parity.diagnosis.arguments import ask
from lstm_parity.diagnosis.catalogue import catalogue
from lstm_parity.diagnosis.determined import Judged, Steps, responses
from lstm_parity.diagnosis.pairs import try_pairs
from lstm_parity.diagnosis.search import try_singles
from lstm_parity.diagnosis.simulation import simulate


@pytest.mark.parametrize(
    ("used", "margin", "digits", "steps", "fits"),
    [
        (0.5, 1e4, 90.0, (3, 80), True),
        (0.5, 1e4, 4.0, (1, 80), False),
        (0.5, 50.0, 90.0, (3, 80), False),
        (0.5, 50.0, 1.7, (80, 80), True),
        (0.5, 2.0, 90.0, (80, 80), False),
        (1.5, 1e4, 90.0, (80, 80), False),
        (np.inf, np.inf, np.inf, (0, 80), False),
    ],
    ids=[
        "far",
        "one number",
        "near on three steps",
        "near on all",
        "hardly away",
        "out of tolerance",
        "nothing judged",
    ],
)
def test_few_steps_explain_only_what_is_far_from_right(used, margin, digits, steps, fits):
    assert Judged(used, margin, digits, Steps((steps,))).fits is fits


def test_responses_never_shrink_in_the_order_in_which_a_direction_computes():
    weights, inputs, lengths = chaotic(20, bidirectional=True), draw(60, rows=2), np.array([60, 20])
    outputs = run(weights, inputs)
    question = ask(weights, inputs, outputs, state=None, lengths=lengths, batch_first=False)
    found = responses(question.right, simulate([question.right])[0], "float32")
    for row, length in enumerate(lengths):
        forward, reverse = found[:length, row, 0], found[:length, row, 24][::-1]
        for steps in (forward, reverse):
            assert (np.diff(steps) >= 0).all()
            assert steps[0] < 1e-5
            assert steps[-1] > 100 * steps[0]
        assert (found[length:, row] == 0).all()


def test_two_mistakes_that_cancel_explain_nothing():
    """Adding 1 to the forget gate's bias and taking it away only changes the rounding, here towards wrong outputs."""
    weights, inputs = chaotic(12, "float64"), draw(80, "float64")
    question = ask(weights, inputs, run(weights, inputs), state=None, lengths=None, batch_first=False)
    right = question.right
    both = [mistake for mistake in catalogue(right) if mistake.identifier in ("forget-bias+1", "forget-bias-1")]
    other = right
    for mistake in both:
        other = mistake.apply(other) or other
    exact, cancelled = (simulate([port])[0] for port in (right, other))
    apart = cancelled - exact
    place = np.unravel_index(np.argmax(np.abs(apart)), apart.shape)
    tolerance = 2 * float(np.abs(apart[place]))
    assert tolerance > 0
    outputs = cancelled.copy()
    outputs[place] = exact[place] + 2.4 * apart[place]  # 1.2 tolerances from the right port, 0.7 from the other
    observed = replace(question.observed, outputs=outputs, tolerance=tolerance)
    assert try_pairs(right, try_singles(right, both, observed), observed, progress=False) == ([], 1)
