"""One adapter for each kind of model. Its file holds everything that the comparison must know about that kind.

``kind`` defines what every adapter must provide. A new kind of model needs a spec in ``lstm_shared``, a new file here
and an entry in ``KINDS``. Importing this package loads no framework: the adapters import it when they compute.
"""

from lstm_parity.sides.kinds.by_hand import ByHand
from lstm_parity.sides.kinds.cell import Cell
from lstm_parity.sides.kinds.forecaster import Forecaster
from lstm_parity.sides.kinds.kind import ModelKind
from lstm_parity.sides.kinds.lstm import LSTM
from lstm_parity.sides.kinds.records import Asked, Given, Layers, Sizes
from lstm_shared.specs import Spec

__all__ = ["KINDS", "Asked", "Given", "Layers", "ModelKind", "Sizes", "kind_named", "kind_of"]

# In the order in which reports count them.
KINDS: tuple[type[ModelKind[Spec]], ...] = (LSTM, Forecaster, Cell, ByHand)

_BY_SPEC: dict[type, type[ModelKind[Spec]]] = {kind.spec_type: kind for kind in KINDS}
_BY_NAME = {kind.name: kind for kind in KINDS}


def kind_of(spec: Spec) -> ModelKind[Spec]:
    """Return the adapter of the model that a spec describes."""
    return _BY_SPEC[type(spec)](spec)


def kind_named(name: str) -> type[ModelKind[Spec]]:
    """Return the kind of model with this name: "LSTM", "forecaster", "cell" or "by hand"."""
    return _BY_NAME[name]
