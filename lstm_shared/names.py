"""The names of weights: which part they are, of which layer and direction, and which gate a block of rows belongs to.

torch calls a weight ``weight_ih_l0_reverse``: the *part* ``weight_ih``, the *place* ``l0_reverse``. A place is a layer
with the suffix of a direction. The rows of every part but the projection are four blocks, one for each gate.
"""

import re
from typing import NamedTuple

# In the order of torch.nn.LSTM.state_dict(); a model without biases lacks two, one without projections the last.
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
WITH_GATES = PARTS[:4]  # whose rows are four blocks
CELL_PARTS = PARTS[:4]  # an LSTM cell uses these names as they are
SUFFIXES = ("", "_reverse")  # of the two directions

# The blocks of rows, in torch's order i, f, g, o.
GATES = ("input", "forget", "candidate", "output")
GATE_LETTERS = "ifgo"
# The by-hand weights' words for them: wpr1 is the potential-remember gate's weight for the short-term memory.
BY_HAND_GATES = {"pr": "input", "lr": "forget", "p": "candidate", "o": "output"}

_LAYER_NAME = re.compile(rf"(?P<part>{'|'.join(PARTS)})_l(?P<layer>0|[1-9][0-9]{{0,5}})(?P<suffix>_reverse)?")


def gate_in_words(gate: str) -> str:
    """ "input gate", but "candidate", which multiplies nothing."""
    return gate if gate == "candidate" else f"{gate} gate"


class WeightName(NamedTuple):
    """A weight's name, taken apart."""

    part: str
    layer: int
    suffix: str

    @property
    def place(self) -> str:
        """The layer and direction."""
        return place_name(self.layer, self.suffix)

    def __str__(self) -> str:
        return weight_name(self.part, self.layer, self.suffix)


def place_name(layer: int, suffix: str = "") -> str:
    """``l0``, or ``l0_reverse`` with the suffix of that direction."""
    return f"l{layer}{suffix}"


def weight_name(part: str, layer: int, suffix: str = "") -> str:
    """``weight_ih_l0``, or ``weight_ih_l0_reverse``."""
    return f"{part}_{place_name(layer, suffix)}"


def parse_weight_name(name: str) -> WeightName | None:
    """The part, layer and direction that a name says; None for a name of another form."""
    match = _LAYER_NAME.fullmatch(name)
    return None if match is None else WeightName(match["part"], int(match["layer"]), match["suffix"] or "")
