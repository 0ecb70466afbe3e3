"""The result of ``diagnose``, as text and as JSON."""

import json
from dataclasses import dataclass

import numpy as np

from lstm_parity.compare.places import OutputLocation
from lstm_parity.diagnosis.determined import Judged, Steps
from lstm_parity.diagnosis.mistake import Mistake
from lstm_shared.finite import json_ready

_CANNOT_TELL = "the other steps cannot be judged: rounding errors alone move the right outputs too far there"
_NOTHING_DETERMINED = (
    "no step can be judged: rounding errors alone move the right outputs too far, so the inputs do not determine them. "
    "Give fewer steps, or give outputs, weights and inputs in float64"
)


@dataclass(frozen=True)
class Explanation:
    """Mistakes that together explain the outputs.

    Attributes:
        mistakes: one mistake, or two that were made together.
        explained: the largest difference that they leave, as a share of the tolerance; 1 is the limit. For coarse
            arithmetic, the ratio of the error level found to the one expected, or its inverse, whichever is larger.
        judged: how the mistakes were judged, and on which steps, if rounding errors grow from step to step; None if one
            tolerance serves all steps.
    """

    mistakes: tuple[Mistake, ...]
    explained: float
    judged: Judged | None = None

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(mistake.identifier for mistake in self.mistakes)


@dataclass(frozen=True)
class Diagnosis:
    """The result of ``diagnose``.

    Attributes:
        explanations: the explanations, best first. There are several if the outputs cannot tell them apart, and none if
            no known mistake fits or nothing is wrong.
        right: whether the outputs are those of a right port, as far as that can be judged.
        difference: the largest difference from the right outputs on the steps judged; infinite if the shapes differ or
            a value is NaN.
        tolerance: the difference that is allowed there.
        first: where the outputs first differ from the right ones; None if they do not, or if the shapes differ.
        tried: how many single mistakes and how many pairs were simulated.
        judged: the steps on which the outputs were judged: those that the inputs of the right model determine.
    """

    explanations: tuple[Explanation, ...]
    right: bool
    difference: float
    tolerance: float
    first: OutputLocation | None
    tried: tuple[int, int]
    judged: Steps

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The identifiers of the mistakes in all explanations, best first; the two of a pair follow each other."""
        return tuple(dict.fromkeys(name for one in self.explanations for name in one.identifiers))

    @property
    def explained(self) -> float:
        """``explained`` of the best explanation; if there is none, ``difference`` divided by ``tolerance``."""
        return self.explanations[0].explained if self.explanations else self.difference / self.tolerance

    def __str__(self) -> str:
        lines = []
        if self.right:
            used = f"the largest difference is {100 * self.difference / self.tolerance:.1f} % of the tolerance"
            if self.judged.all:
                return f"nothing to explain: the outputs are right ({used})"
            return f"nothing to explain: the outputs are right on {self.judged} ({used})\n{_CANNOT_TELL}"
        if self.first is not None:
            lines.append(str(self.first))
        if not self.explanations:
            if self.judged.none:
                lines.append(_NOTHING_DETERMINED)
            singles, pairs = self.tried
            lines.append(
                "none of the known mistakes explains the outputs: "
                f"{singles} single mistakes and {pairs} pairs of mistakes were tried"
            )
        for k, one in enumerate(self.explanations):
            if k == 1:
                lines.append("these outputs cannot tell it apart from:")
            indent = "  " if k else ""
            for mistake in one.mistakes:
                lines.append(f"{indent}{mistake.identifier}: {mistake.words}")
                lines.append(f"{indent}  repair: {mistake.repair}")
            lines.append(f"{indent}  {_how_well(one)}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return everything as JSON text, with NaN and infinity as null."""

        content = {
            "right": self.right,
            "mistakes": self.mistakes,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "judged": _counted(self.judged),
            "first": None if self.first is None else str(self.first),
            "tried": {"singles": self.tried[0], "pairs": self.tried[1]},
            "explanations": [
                {
                    "explained": one.explained,
                    "judged": None if one.judged is None else _counted(one.judged.steps),
                    "mistakes": [{k: getattr(m, k) for k in ("identifier", "words", "repair")} for m in one.mistakes],
                }
                for one in self.explanations
            ],
        }
        return json.dumps(json_ready(content), indent=2, allow_nan=False)


def _counted(steps: Steps) -> list[dict[str, int]]:
    return [{"steps": judged, "of": of} for judged, of in steps.counts]


def _how_well(one: Explanation) -> str:
    if one.mistakes[-1].kind == "precision":
        return f"explains the outputs: the error is within a factor of {one.explained:.2f} of the size expected"
    if one.mistakes[0].kind == "dropout-left-on":
        return "explains the outputs: without dropout, nothing in an LSTM is random"
    left = f"the largest difference left is {100 * one.explained:.1f} % of the tolerance"
    if one.judged is None:
        return f"explains the outputs: {left}"
    away = (
        "" if one.judged.margin == np.inf else f", while the right outputs are {one.judged.margin:.3g} tolerances away"
    )
    if one.judged.steps.all:
        return f"explains the outputs: {left}{away}"
    return (
        f"explains {one.judged.steps}: {left}{away}; "
        "the other steps cannot be judged: rounding errors alone move such a port too far there"
    )
