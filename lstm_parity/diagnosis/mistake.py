"""One known mistake: its identifier, what it does and how to repair it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from lstm_parity.diagnosis.simulation import SimulatedPort

# Mistakes of these kinds commute: the port is the same in either order.
_COMMUTING = ({"gate-order", "missing-bias", "doubled-bias"}, {"gate-order", "transposed"})


@dataclass(frozen=True)
class Mistake:
    """One way in which a port can be wrong.

    Attributes:
        identifier: a stable name: ``kind`` or ``kind:detail``, and ``@l1_reverse`` if it is in that place only.
        words: what the port does, as one sentence without a full stop.
        repair: what to change in the port, in one line.
        apply: takes the right port, returns the port with this mistake, or None if the mistake cannot be made there.
        touches: what the mistake changes in the port; mistakes that touch different things commute.
        place: the layer and direction, such as "l1_reverse"; empty if the mistake is everywhere or has no place.
        in_pairs: whether the search also tries it together with a second mistake.
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
        """Return whether a port with both mistakes is the same in whichever order they are made."""
        apart = self.place and other.place and self.place != other.place
        together = any({self.kind, other.kind} <= kinds for kinds in _COMMUTING)
        return bool(apart or together or not self.touches & other.touches)


def place_in_words(place: str) -> str:
    """Return a place in words: "layer 1, reverse direction" for ``l1_reverse``."""
    layer, _, reverse = place.removeprefix("l").partition("_")
    return f"layer {layer}, {'reverse' if reverse else 'forward'} direction"
