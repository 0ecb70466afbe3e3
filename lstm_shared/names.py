"""The names of weights: their part, layer and direction, and the gate that each block of rows belongs to.

torch calls a weight ``weight_ih_l0_reverse``. Its *part* is ``weight_ih`` and its *place* is ``l0_reverse``: a layer
with the suffix of a direction. The rows of every part, except the projection, are four blocks, one for each gate.
"""

import re
from typing import NamedTuple

# The order is that of torch.nn.LSTM.state_dict(). Without biases a model lacks two of these, without projections the
# last.
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
WITH_GATES = PARTS[:4]  # the parts whose rows are four blocks
CELL_PARTS = PARTS[:4]  # an LSTM cell uses these names as they are
SUFFIXES = ("", "_reverse")  # one for each direction

# The gates of the four blocks of rows, in torch's order i, f, g, o.
GATES = ("input", "forget", "candidate", "output")
GATE_LETTERS = "ifgo"
# How the by-hand weights name the gates: wpr1 is the potential-remember gate's weight for the short-term memory.
BY_HAND_GATES = {"pr": "input", "lr": "forget", "p": "candidate", "o": "output"}

_LAYER_NAME = re.compile(rf"(?P<part>{'|'.join(PARTS)})_l(?P<layer>0|[1-9][0-9]{{0,5}})(?P<suffix>_reverse)?")


def gate_in_words(gate: str) -> str:
    """Return "input gate" and the like, but plain "candidate", which gates nothing."""
    return gate if gate == "candidate" else f"{gate} gate"


class WeightName(NamedTuple):
    """The name of a weight, split into its pieces."""

    part: str
    layer: int
    suffix: str

    @property
    def place(self) -> str:
        """The layer and direction, such as ``l0_reverse``."""
        return place_name(self.layer, self.suffix)

    def __str__(self) -> str:
        return weight_name(self.part, self.layer, self.suffix)


def place_name(layer: int, suffix: str = "") -> str:
    """Return the name of a place: ``l0``, or ``l0_reverse`` with the suffix of that direction."""
    return f"l{layer}{suffix}"


def weight_name(part: str, layer: int, suffix: str = "") -> str:
    """Return the name of a weight: ``weight_ih_l0``, or ``weight_ih_l0_reverse``."""
    return f"{part}_{place_name(layer, suffix)}"


def parse_weight_name(name: str) -> WeightName | None:
    """Return the part, layer and direction in a name, or None if the name has another form."""
    match = _LAYER_NAME.fullmatch(name)
    return None if match is None else WeightName(match["part"], int(match["layer"]), match["suffix"] or "")
