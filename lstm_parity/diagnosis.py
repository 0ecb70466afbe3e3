"""``diagnose``: from the right weights, the inputs and what a port made of them, the mistake in the port."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_parity.compare import eps
from lstm_parity.mistakes import Mistake, catalogue
from lstm_parity.output_location import OutputLocation, locate_outputs
from lstm_parity.ports import PRECISIONS, simulate
from lstm_parity.questions import Question, ask
from lstm_parity.search import (
    Candidates,
    Fit,
    Observed,
    differences_from,
    dropout_in_one_call,
    precisions_that_fit,
    try_pairs,
    try_singles,
)

# A mistake in coarse arithmetic must leave so many times less than the right port does, and others that leave so many
# times what the best one does cannot be told apart from it.
_MUST_EXPLAIN, _NEAR = 4.0, 1.25

_PRECISION_WORDS = {"float32": "float32", "tf32": "TF32", "float16": "float16", "bfloat16": "bfloat16"}


@dataclass(frozen=True)
class Explanation:
    """Mistakes that together explain the outputs.

    Attributes:
        mistakes: one, or two that were made together.
        explained: the largest difference that they leave, as a share of the tolerance: 1 is the limit. For arithmetic
            the error level found over that expected, or its inverse.
    """

    mistakes: tuple[Mistake, ...]
    explained: float

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(mistake.identifier for mistake in self.mistakes)


@dataclass(frozen=True)
class Diagnosis:
    """What ``diagnose`` found.

    Attributes:
        explanations: best first; several when no output can tell them apart; empty when none fits or nothing is wrong.
        right: whether the outputs are those of a right port.
        difference: the largest difference from the right outputs; infinite where shapes differ or NaN is.
        tolerance: what is allowed.
        first: where the outputs part from the right ones first; None when they do not, or their shape is another.
        tried: how many single mistakes, and how many pairs, were simulated.
    """

    explanations: tuple[Explanation, ...]
    right: bool
    difference: float
    tolerance: float
    first: OutputLocation | None
    tried: tuple[int, int]

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The identifiers of all explanations, best first; the two of a pair stand together."""
        return tuple(dict.fromkeys(name for one in self.explanations for name in one.identifiers))

    @property
    def explained(self) -> float:
        """How well: of the best explanation, see there; without one, the difference over the tolerance."""
        return self.explanations[0].explained if self.explanations else self.difference / self.tolerance

    def __str__(self) -> str:
        lines = []
        if self.right:
            used = f"{100 * self.difference / self.tolerance:.1f} %"
            return f"nothing to explain: the outputs are right (largest difference {used} of the tolerance)"
        if self.first is not None:
            lines.append(str(self.first))
        if not self.explanations:
            singles, pairs = self.tried
            lines.append(f"none of the known mistakes: {singles} single ones and {pairs} pairs do not fit")
        for k, one in enumerate(self.explanations):
            if k == 1:
                lines.append("no output can tell it apart from:")
            indent = "  " if k else ""
            for mistake in one.mistakes:
                lines.append(f"{indent}{mistake.identifier}: {mistake.words}")
                lines.append(f"{indent}  repair: {mistake.repair}")
            lines.append(f"{indent}  {_how_well(one)}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Everything, as JSON text; NaN and infinity as null."""
        from lstm_parity.report import finite

        content = {
            "right": self.right,
            "mistakes": self.mistakes,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "first": None if self.first is None else str(self.first),
            "tried": {"singles": self.tried[0], "pairs": self.tried[1]},
            "explanations": [
                {
                    "explained": one.explained,
                    "mistakes": [{k: getattr(m, k) for k in ("identifier", "words", "repair")} for m in one.mistakes],
                }
                for one in self.explanations
            ],
        }
        return json.dumps(finite(content), indent=2, allow_nan=False)


def diagnose(
    weights: Mapping[str, Any],
    inputs: Any,
    outputs: Any,
    *,
    state: Any = None,
    lengths: Any = None,
    batch_first: bool = False,
    progress: bool = False,
) -> Diagnosis:
    """Find the mistake that explains what a port of an LSTM produced.

    Single mistakes first, then arithmetic, then pairs; among as many, the one that leaves least unexplained.

    Args:
        weights: the right weights: an LSTM's, an LSTM cell's, or the by-hand model's.
        inputs: as for ``jax_lstm.lstm`` or ``lstm_cell``; by hand, prices (*series, days).
        outputs: what the port gave, with the axes of the inputs; for a cell h; by hand the short memory of every day
            (*series, days) or of the last (*series,). A tuple of two is the same call made twice: if they differ,
            dropout was left on.
        state: (h_0, c_0); by hand (long_memory, short_memory); zeros when left out.
        lengths, batch_first: as in ``jax_lstm.lstm``.
        progress: show a bar while pairs are tried.

    Returns:
        A Diagnosis: ``mistakes``, ``explanations``, ``explained``, ``right``, ``str()``, ``to_json()``.

    Raises:
        WeightsError, InputError: everything that is wrong with the arguments.
    """
    question = ask(weights, inputs, outputs, state=state, lengths=lengths, batch_first=batch_first)
    observed, right = question.observed, question.right
    difference = float(differences_from([right], observed)[0])
    first = _first_difference(question)

    def answer(explanations: Sequence[Explanation], tried: tuple[int, int] = (0, 0)) -> Diagnosis:
        fits = difference <= observed.tolerance
        return Diagnosis(tuple(explanations), fits and not explanations, difference, observed.tolerance, first, tried)

    if question.again is not None and not _same(observed, question.again):
        return answer([Explanation((_dropout("the outputs change from call to call"),), 0.0)])
    if difference <= observed.tolerance:
        return answer([])
    singles = try_singles(right, catalogue(right, by_hand=question.by_hand), observed)
    if fits := singles.fits(observed.tolerance):
        return answer(_explanations(fits, observed), (len(singles.mistakes), 0))
    tried = (len(singles.mistakes), 0)
    if (probability := dropout_in_one_call(right, observed)) is not None:
        words = f"outputs are zeroed at random and the others multiplied by {1 / (1 - probability):.3g}"
        return answer([Explanation((_dropout(words),), 0.0)], tried)
    coarser = [name for name in PRECISIONS if name != "float32" or observed.tolerance < eps("float32")]
    if found := precisions_that_fit(right, observed, coarser):
        return answer([Explanation((_precision(name),), factor) for name, factor in found], tried)
    fits, pairs = try_pairs(right, singles, observed, progress)
    tried = (len(singles.mistakes), pairs)
    return answer(_explanations(fits, observed) or _with_precision(difference, singles, observed, coarser), tried)


def _explanations(fits: Sequence[Fit], observed: Observed) -> list[Explanation]:
    return [Explanation(fit.mistakes, fit.difference / observed.tolerance) for fit in fits]


def _with_precision(
    difference: float, singles: Candidates, observed: Observed, names: Sequence[str]
) -> list[Explanation]:
    """A mistake in coarse arithmetic: the single mistakes that leave least, if that is no more than its errors."""
    least = float(np.min(singles.differences, initial=np.inf))
    if not least * _MUST_EXPLAIN <= difference:  # also where both are infinite
        return []
    nearest = np.argsort(singles.differences, kind="stable")
    found = [
        (singles.mistakes[k], name, factor)
        for k in nearest[singles.differences[nearest] <= _NEAR * least]
        for name, factor in precisions_that_fit(singles.ports[k], observed, names)
    ]
    return [Explanation((mistake, _precision(name)), factor) for mistake, name, factor in found]


def _same(observed: Observed, again: np.ndarray) -> bool:
    apart = np.abs(observed.outputs - again)
    apart = apart if observed.known is None else apart[observed.known]
    return bool((apart <= observed.tolerance).all())


def _first_difference(question: Question) -> OutputLocation | None:
    exact = simulate([question.right])[0]
    observed = question.observed
    if observed.outputs.shape != exact.shape:
        return None
    seen = observed.outputs if observed.known is None else np.where(observed.known, observed.outputs, exact)
    return locate_outputs(exact, seen, tolerance=observed.tolerance, bidirectional=question.right.spec.bidirectional)


def _dropout(words: str) -> Mistake:
    repair = "switch dropout off for inference (module.eval(), deterministic=True, dropout=0.0)"
    return Mistake("dropout-left-on", words, repair, lambda port: port, frozenset({"outputs"}))


def _precision(name: str) -> Mistake:
    word = _PRECISION_WORDS[name]
    words = f"the errors are as large as those of {word} arithmetic"
    repair = {
        "tf32": "compute the products in full float32 (precision='highest', allow_tf32 = False)",
        "float32": "compute in float64 (jax.enable_x64), or compare in float32",
    }.get(name, f"compute in float32, or compare with {word} in mind")
    return Mistake(f"precision:{name}", words, repair, lambda port: port, frozenset({"outputs"}))


def _how_well(one: Explanation) -> str:
    if one.mistakes[-1].kind == "precision":
        return f"explains the outputs: the level of the error is off by a factor of {one.explained:.2f}"
    if one.mistakes[0].kind == "dropout-left-on":
        return "explains the outputs: an LSTM gives the same twice"
    return f"explains the outputs: what is left uses {100 * one.explained:.1f} % of the tolerance"
