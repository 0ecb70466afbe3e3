"""``diagnose``: find the mistake in a port from the right weights, the inputs and the port's outputs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lstm_parity.annotations import States, Weights
from lstm_parity.compare.places import OutputLocation
from lstm_parity.compare.tolerance import eps
from lstm_parity.diagnosis.arguments import Question, ask
from lstm_parity.diagnosis.arithmetic import dropout_in_one_call, precisions_that_fit
from lstm_parity.diagnosis.catalogue import catalogue
from lstm_parity.diagnosis.determined import Steps, steps_judged, tolerances
from lstm_parity.diagnosis.differences import PortOutputs, differences_from
from lstm_parity.diagnosis.explanation import Diagnosis, Explanation
from lstm_parity.diagnosis.mistake import Mistake
from lstm_parity.diagnosis.pairs import try_pairs
from lstm_parity.diagnosis.search import Fit, SingleMistakes, try_singles
from lstm_parity.diagnosis.simulated_steps import PRECISIONS
from lstm_parity.diagnosis.simulation import SimulatedPort, simulate
from lstm_parity.location.outputs import locate_outputs

# A mistake in coarse arithmetic explains the outputs only if it divides the largest difference by at least
# ``_MUST_EXPLAIN``. Mistakes that leave up to ``_NEAR`` times the smallest difference cannot be told apart.
_MUST_EXPLAIN, _NEAR = 4.0, 1.25
# Outputs up to this many tolerances away may be right, so the effect of rounding errors is then measured more closely.
# The tolerance comes from a single simulation in float32, which alone accused 17 of 720 right ports (drawn as in
# ``determined.py``).
_PERHAPS_RIGHT = 100.0

_PRECISION_WORDS = {"float32": "float32", "tf32": "TF32", "float16": "float16", "bfloat16": "bfloat16"}


def diagnose(
    weights: Weights,
    inputs: ArrayLike,
    outputs: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    state: States | None = None,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
    progress: bool = False,
) -> Diagnosis:
    """Find the mistake that explains the outputs of an LSTM port.

    The search tries single mistakes first, then coarse arithmetic, then pairs of mistakes. Among single mistakes, and
    among pairs, the one that leaves the smallest difference comes first. A port that magnifies rounding errors is
    judged on its first steps only, those that its inputs determine: see ``determined.py``.

    Args:
        weights: the right weights: an LSTM's, an LSTM cell's, or the by-hand model's.
        inputs: as for ``jax_lstm.lstm`` or ``lstm_cell``; by hand, prices ``(*series, days)``.
        outputs: the port's outputs, with the axes of the inputs. For a cell, h; by hand, the short memory of every day,
            ``(*series, days)``, or of the last, ``(*series,)``. A tuple of two holds the outputs of the same call made
            twice: if they differ, dropout was left on.
        state: (h_0, c_0); by hand, (long_memory, short_memory). Zeros if left out.
        lengths, batch_first: as in ``jax_lstm.lstm``.
        progress: show a progress bar while pairs are tried.

    Returns:
        A Diagnosis: ``mistakes``, ``explanations``, ``explained``, ``right``, ``str()``, ``to_json()``.

    Raises:
        WeightsError, InputError: an argument is wrong; one line for each problem.
    """
    question = ask(weights, inputs, outputs, state=state, lengths=lengths, batch_first=batch_first)
    observed, right = question.observed, question.right
    exact = simulate([right])[0]
    difference, tolerance, judged = _compare_with_right(right, observed, exact)
    if observed.tolerance < difference <= _PERHAPS_RIGHT * observed.tolerance and observed.by_place is None:
        closer = _compare_with_right(right, _with_responses(right, observed, exact), exact)
        if closer[0] <= closer[1]:
            difference, tolerance, judged = closer
    wrong = not difference <= tolerance or judged.none
    first = _first_difference(question, exact) if wrong else None

    def answer(explanations: Sequence[Explanation], tried: tuple[int, int] = (0, 0)) -> Diagnosis:
        right = not wrong and not explanations
        return Diagnosis(tuple(explanations), right, difference, tolerance, first, tried, judged)

    if question.again is not None and not _same(observed, question.again):
        return answer([Explanation((_dropout("the outputs change from call to call"),), 0.0)])
    if not wrong:
        return answer([])
    singles = try_singles(right, catalogue(right, by_hand=question.by_hand), observed)
    if fits := singles.fits(observed.tolerance) or singles.fits_where_determined(observed, exact):
        return answer(_explanations(fits), (len(singles.mistakes), 0))
    tried = (len(singles.mistakes), 0)
    if judged.none:  # pairs are looked for by their first steps
        return answer([], tried)
    if (probability := dropout_in_one_call(right, observed)) is not None:
        words = f"some outputs are zeroed at random and the others multiplied by {1 / (1 - probability):.3g}"
        return answer([Explanation((_dropout(words),), 0.0)], tried)
    coarser = [name for name in PRECISIONS if name != "float32" or observed.tolerance < eps("float32")]
    if found := precisions_that_fit(right, observed, coarser):
        return answer([Explanation((_precision(name),), factor) for name, factor in found], tried)
    fits, pairs = try_pairs(right, singles, observed, progress)
    tried = (len(singles.mistakes), pairs)
    return answer(_explanations(fits) or _with_precision(difference, singles, observed, coarser), tried)


def _explanations(fits: Sequence[Fit]) -> list[Explanation]:
    return [Explanation(fit.mistakes, fit.used, fit.judged) for fit in fits]


def _with_precision(
    difference: float, singles: SingleMistakes, observed: PortOutputs, names: Sequence[str]
) -> list[Explanation]:
    """Find the mistakes that explain the outputs if a port with them computes in coarse arithmetic.

    These leave only errors as large as that arithmetic's rounding errors.
    """
    differences = differences_from(singles.ports, observed)
    least = float(np.min(differences, initial=np.inf))
    if not least * _MUST_EXPLAIN <= difference:  # also where both are infinite
        return []
    nearest = np.argsort(differences, kind="stable")
    found = [
        (singles.mistakes[k], name, factor)
        for k in nearest[differences[nearest] <= _NEAR * least]
        for name, factor in precisions_that_fit(singles.ports[k], observed, names)
    ]
    return [Explanation((mistake, _precision(name)), factor) for mistake, name, factor in found]


def _with_responses(right: SimulatedPort, observed: PortOutputs, exact: np.ndarray) -> PortOutputs:
    """Give each output its own tolerance: how far rounding errors move the right port, or the old one if larger."""
    if observed.outputs.shape != exact.shape or eps(observed.dtype) > eps("float32"):
        return observed
    allowed = tolerances(right, exact, observed.floor, observed.dtype)
    return replace(observed, by_place=np.maximum(allowed, observed.tolerance))


def _compare_with_right(right: SimulatedPort, observed: PortOutputs, exact: np.ndarray) -> tuple[float, float, Steps]:
    """Return the difference and the tolerance at the output that uses most of its tolerance, and the steps judged."""
    compared = np.broadcast_to(True if observed.known is None else observed.known, exact.shape)
    if observed.by_place is None or observed.outputs.shape != exact.shape:
        steps = steps_judged(right, compared, compared)
        return float(differences_from([right], observed)[0]), observed.tolerance, steps
    where = compared & np.isfinite(observed.by_place)
    steps = steps_judged(right, where, compared)
    if not where.any():
        return float("inf"), observed.tolerance, steps
    apart, allowed = np.abs(observed.outputs - exact)[where], observed.by_place[where]
    apart = np.where(np.isnan(apart), np.inf, apart)
    worst = int(np.argmax(apart / allowed))
    return float(apart[worst]), float(allowed[worst]), steps


def _same(observed: PortOutputs, again: np.ndarray) -> bool:
    apart = np.abs(observed.outputs - again)
    allowed = observed.tolerance
    if observed.by_place is not None and observed.by_place.shape == apart.shape:
        allowed = observed.by_place
    within = apart <= allowed
    return bool((within if observed.known is None else within[observed.known]).all())


def _first_difference(question: Question, exact: np.ndarray) -> OutputLocation | None:
    observed = question.observed
    if observed.outputs.shape != exact.shape:
        return None
    seen = observed.outputs if observed.known is None else np.where(observed.known, observed.outputs, exact)
    if observed.by_place is not None:
        seen = np.where(np.abs(seen - exact) <= observed.by_place, exact, seen)
    return locate_outputs(exact, seen, tolerance=observed.tolerance, bidirectional=question.right.spec.bidirectional)


def _dropout(words: str) -> Mistake:
    repair = "turn dropout off for inference (module.eval(), deterministic=True, dropout=0.0)"
    return Mistake("dropout-left-on", words, repair, lambda port: port, frozenset({"outputs"}))


def _precision(name: str) -> Mistake:
    word = _PRECISION_WORDS[name]
    words = f"the errors are as large as those of {word} arithmetic"
    repair = {
        "tf32": "compute matrix products in full float32 (precision='highest', allow_tf32 = False)",
        "float32": "compute in float64 (jax.enable_x64), or compare in float32",
    }.get(name, f"compute in float32, or compare with a tolerance for {word}")
    return Mistake(f"precision:{name}", words, repair, lambda port: port, frozenset({"outputs"}))
