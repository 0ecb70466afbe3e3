"""What ``diagnose`` found, in words and as JSON."""

import json
from dataclasses import dataclass

import numpy as np

from lstm_parity.compare.places import OutputLocation
from lstm_parity.diagnosis.determined import Judged, Steps
from lstm_parity.diagnosis.mistake import Mistake
from lstm_shared.finite import json_ready

_CANNOT_TELL = "after these, rounding errors alone move the right outputs further than can be judged"
_NOTHING_DETERMINED = (
    "rounding errors alone move the right outputs too far at every step: the inputs do not determine them. Give fewer "
    "steps, or outputs, weights and inputs in float64"
)


@dataclass(frozen=True)
class Explanation:
    """Mistakes that together explain the outputs.

    Attributes:
        mistakes: one, or two that were made together.
        explained: the largest difference that they leave, as a share of the tolerance: 1 is the limit. For arithmetic
            the error level found over that expected, or its inverse.
        judged: on which steps the mistakes were judged, where rounding errors grow; None where that was all of them.
    """

    mistakes: tuple[Mistake, ...]
    explained: float
    judged: Judged | None = None

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(mistake.identifier for mistake in self.mistakes)


@dataclass(frozen=True)
class Diagnosis:
    """What ``diagnose`` found.

    Attributes:
        explanations: best first; several when no output can tell them apart; empty when none fits or nothing is wrong.
        right: whether the outputs are those of a right port, as far as that can be judged.
        difference: the largest difference from the right outputs on the steps judged; infinite where shapes differ or
            NaN is.
        tolerance: what is allowed there.
        first: where the outputs part from the right ones first; None when they do not, or their shape is another.
        tried: how many single mistakes, and how many pairs, were simulated.
        judged: on which steps the right model was judged: those that its inputs determine.
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
        """The identifiers of all explanations, best first; the two of a pair stand together."""
        return tuple(dict.fromkeys(name for one in self.explanations for name in one.identifiers))

    @property
    def explained(self) -> float:
        """How well: of the best explanation, see there; without one, the difference over the tolerance."""
        return self.explanations[0].explained if self.explanations else self.difference / self.tolerance

    def __str__(self) -> str:
        lines = []
        if self.right:
            used = f"largest difference {100 * self.difference / self.tolerance:.1f} % of the tolerance"
            if self.judged.all:
                return f"nothing to explain: the outputs are right ({used})"
            return f"nothing to explain: the outputs are right on {self.judged} ({used})\n{_CANNOT_TELL}"
        if self.first is not None:
            lines.append(str(self.first))
        if not self.explanations:
            if self.judged.none:
                lines.append(_NOTHING_DETERMINED)
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
        return f"explains the outputs: the level of the error is off by a factor of {one.explained:.2f}"
    if one.mistakes[0].kind == "dropout-left-on":
        return "explains the outputs: an LSTM gives the same twice"
    left = f"the difference left is {100 * one.explained:.1f} % of the tolerance"
    if one.judged is None:
        return f"explains the outputs: {left}"
    away = "" if one.judged.margin == np.inf else f", the right outputs are {one.judged.margin:.3g} tolerances away"
    if one.judged.steps.all:
        return f"explains the outputs: {left}{away}"
    return f"explains {one.judged.steps}: {left}{away}; on the others rounding errors alone move such a port too far"
