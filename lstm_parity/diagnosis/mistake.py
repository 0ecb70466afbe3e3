"""What a mistake is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from lstm_parity.diagnosis.simulation import SimulatedPort

# Mistakes of these kinds can be made in either order: the port is the same.
_COMMUTING = ({"gate-order", "missing-bias", "doubled-bias"}, {"gate-order", "transposed"})


@dataclass(frozen=True)
class Mistake:
    """One way to be wrong.

    Attributes:
        identifier: stable: ``kind``, ``kind:detail``, and ``@l1_reverse`` when it sits in one layer and direction only.
        words: what the port does, one sentence without its full stop.
        repair: what to change in the port, one line.
        apply: the right port -> the port with this mistake, or None where it cannot be made.
        touches: the parts of the port that it changes; mistakes that touch different parts commute.
        place: "l1_reverse", …, or empty for a mistake that is everywhere or has no place.
        in_pairs: whether it is also tried together with a second mistake.
    """

    identifier: str
    words: str
    repair: str
    apply: Callable[[SimulatedPort], SimulatedPort | None]
    touches: frozenset[str]
    place: str = ""
    in_pairs: bool = True

    @cached_property
    def kind(self) -> str:
        return re.split("[:@]", self.identifier)[0]

    def commutes_with(self, other: "Mistake") -> bool:
        """Whether a port with both is the same whichever was made first."""
        apart = self.place and other.place and self.place != other.place
        together = any({self.kind, other.kind} <= kinds for kinds in _COMMUTING)
        return bool(apart or together or not self.touches & other.touches)


def place_in_words(place: str) -> str:
    """``l1_reverse`` -> layer 1, reverse direction."""
    layer, _, reverse = place.removeprefix("l").partition("_")
    return f"layer {layer}, {'reverse' if reverse else 'forward'} direction"
