"""What a model is: its kind and sizes, and the names and shapes of weights that follow from them."""

import re
from dataclasses import dataclass
from typing import ClassVar

from lstm_shared.by_hand import BY_HAND
from lstm_shared.names import weight_name

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ByHandSpec:
    """The LSTM by hand: one unit with twelve scalar weights, which reads one price per day."""

    kind: ClassVar[str] = "by-hand"

    @property
    def shapes(self) -> Shapes:
        """Name -> shape of every weight."""
        return dict.fromkeys(BY_HAND, ())


@dataclass(frozen=True)
class LSTMSpec:
    """The sizes of a ``torch.nn.LSTM``, under torch's names. The weight dictionary is its ``state_dict()``."""

    kind: ClassVar[str] = "LSTM"
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    proj_size: int = 0

    @property
    def directions(self) -> tuple[str, ...]:
        """The suffixes of weight names, one for each direction."""
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def places(self) -> tuple[tuple[int, str], ...]:
        """(layer, suffix of the direction) in the order of computation. The rows of ``h`` and ``c`` have this order."""
        return tuple((layer, suffix) for layer in range(self.num_layers) for suffix in self.directions)

    @property
    def state_size(self) -> int:
        """Features of ``h``: the size of the projection if there is one, else the hidden size."""
        return self.proj_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Number of output features, which is ``state_size`` for each direction."""
        return self.state_size * len(self.directions)

    @property
    def shapes(self) -> Shapes:
        """Name -> shape of every weight, in the order of ``torch.nn.LSTM.state_dict()``."""
        shapes: Shapes = {}
        for layer, suffix in self.places:
            shapes |= {weight_name(part, layer, suffix): shape for part, shape in self._shapes_of(layer).items()}
        return shapes

    def _shapes_of(self, layer: int) -> Shapes:
        rows = 4 * self.hidden_size
        shapes: Shapes = {
            "weight_ih": (rows, self.input_size if layer == 0 else self.output_size),
            "weight_hh": (rows, self.state_size),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes


@dataclass(frozen=True)
class CellSpec:
    """``torch.nn.LSTMCell``: one step of one layer."""

    kind: ClassVar[str] = "LSTM cell"
    input_size: int
    hidden_size: int
    bias: bool = True

    @property
    def shapes(self) -> Shapes:
        """Name -> shape of every weight."""
        layer = LSTMSpec(self.input_size, self.hidden_size, bias=self.bias).shapes
        return {name.removesuffix("_l0"): shape for name, shape in layer.items()}


@dataclass(frozen=True)
class ForecasterSpec:
    """An LSTM (names prefixed ``lstm.``) and a linear head on its last output (``fc.weight``, ``fc.bias``)."""

    kind: ClassVar[str] = "forecaster"
    lstm: LSTMSpec
    output_size: int

    @property
    def shapes(self) -> Shapes:
        """Name -> shape of every weight."""
        shapes = {f"lstm.{name}": shape for name, shape in self.lstm.shapes.items()}
        return shapes | {"fc.weight": (self.output_size, self.lstm.output_size), "fc.bias": (self.output_size,)}


Spec = ByHandSpec | LSTMSpec | CellSpec | ForecasterSpec


def in_words(spec: Spec) -> str:
    """Describe a model and its sizes for use in a sentence. A size that could not be read is ``?``."""
    if isinstance(spec, ByHandSpec):
        return "the by-hand model"
    if isinstance(spec, ForecasterSpec):
        return f"a forecaster of output size {known(spec.output_size)} over {in_words(spec.lstm)}"
    sizes = f"input_size {known(spec.input_size)}, hidden_size {known(spec.hidden_size)}"
    if isinstance(spec, CellSpec):
        return f"an LSTM cell of {sizes}"
    projection = f", proj_size {spec.proj_size}" if spec.proj_size else ""
    direction = "bidirectional" if spec.bidirectional else "unidirectional"
    return f"a {spec.num_layers}-layer {direction} LSTM of {sizes}{projection}"


def known(size: int | tuple[int, ...]) -> str:
    """Return a size or a shape as text, with ? for sizes that no array shows."""
    return re.sub(r"\b0\b", "?", str(size))
