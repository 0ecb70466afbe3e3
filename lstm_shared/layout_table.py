"""How each framework keeps the weights of one LSTM layer: names, shapes, gate order, biases.

This table follows the code of flax 0.12.8, dm-haiku 0.0.17, equinox 0.13.8, keras 3.15.1 and onnx 1.23.2 (LSTM-22).
The tests run every row against the packages themselves. ``linear-gates`` is the textbook cell: for each gate, one
``torch.nn.Linear`` on the concatenation (input, hidden state).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


class Axis(NamedTuple):
    """The length of one axis: ``hidden`` times the hidden size, ``input`` times the input size, plus ``more``."""

    hidden: int = 0
    input: int = 0
    more: int = 0

    def __add__(self, other: Any) -> "Axis":
        return Axis(*(mine + its for mine, its in zip(self, other, strict=True)))

    def length(self, hidden_size: int, input_size: int) -> int:
        return self.hidden * hidden_size + self.input * input_size + self.more

    def __str__(self) -> str:
        hidden = f"{self.hidden}·hidden" if self.hidden > 1 else "hidden" * self.hidden
        return " + ".join(filter(None, ["input" * self.input, hidden, str(self.more or "")]))


WIDTHS = {"weight_ih": Axis(input=1), "weight_hh": Axis(hidden=1)}


@dataclass(frozen=True)
class Layout:
    """How one cell keeps its weights.

    Attributes:
        gates: the order of the gates, in torch's letters.
        arrays: names of arrays -> the parts they hold, side by side. Four names hold one gate each, in the order of
            ``gates``. One name holds all four gates, stacked as rows. ``bias`` is the sum of torch's two biases.
        input_first: True if kernels are (input, output), as in ``x @ kernel``; False if (output, input), as in torch.
        direction_axis: whether every array has a leading axis of length 1 for the direction.
        forget_offset: what the cell's forward pass adds to the forget gate.
        bias_optional: whether the cell also exists without biases.
    """

    gates: str
    arrays: dict[str, str]
    input_first: bool = False
    direction_axis: bool = False
    forget_offset: float = 0.0
    bias_optional: bool = False

    def entries(self) -> Iterator[tuple[list[str], list[str], tuple[Axis, ...]]]:
        """Yield, for each row of ``arrays``, the names, the parts they hold, and the shape of each named array."""
        for names, parts in self.arrays.items():
            names, parts = names.split(), parts.split()
            rows = Axis(hidden=4 // len(names))
            if parts[0] in WIDTHS:
                shape = (rows, sum((WIDTHS[part] for part in parts), Axis()))
            else:
                shape = (sum((rows for _ in parts), Axis()),)
            yield names, parts, (Axis(more=1),) * self.direction_axis + (shape[::-1] if self.input_first else shape)


LAYOUT_TABLE: dict[str, Layout] = {
    # flax.linen.LSTMCell and OptimizedLSTMCell, variables["params"]. Only the h side has biases.
    "flax-linen": Layout(
        gates="ifgo",
        arrays={
            "ii/kernel if/kernel ig/kernel io/kernel": "weight_ih",
            "hi/kernel hf/kernel hg/kernel ho/kernel": "weight_hh",
            "hi/bias hf/bias hg/bias ho/bias": "bias",
        },
        input_first=True,
    ),
    # flax.nnx.LSTMCell: it has if_ because no attribute can be called `if`.
    "flax-nnx": Layout(
        gates="ifgo",
        arrays={
            "ii/kernel if_/kernel ig/kernel io/kernel": "weight_ih",
            "hi/kernel hf/kernel hg/kernel ho/kernel": "weight_hh",
            "hi/bias hf/bias hg/bias ho/bias": "bias",
        },
        input_first=True,
    ),
    # flax.nnx.OptimizedLSTMCell: its tree differs from that of nnx.LSTMCell, whatever its docstring says.
    "flax-nnx-optimized": Layout(
        gates="ifgo",
        arrays={"dense_i/kernel": "weight_ih", "dense_h/kernel": "weight_hh", "dense_h/bias": "bias"},
        input_first=True,
    ),
    # haiku.LSTM, params["lstm/linear"] (the module's name before the slash): sigmoid(f + 1) in the forward pass.
    "haiku": Layout(
        gates="igfo",
        arrays={"w": "weight_ih weight_hh", "b": "bias"},
        input_first=True,
        forget_offset=1.0,
    ),
    # equinox.nn.LSTMCell: its array fields.
    "equinox": Layout(
        gates="ifgo",
        arrays={"weight_ih": "weight_ih", "weight_hh": "weight_hh", "bias": "bias"},
        bias_optional=True,
    ),
    # keras.layers.LSTMCell: the names of its variables. Its forget bias of 1 is only an initial value: nothing to undo.
    "keras": Layout(
        gates="ifgo",
        arrays={"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias"},
        input_first=True,
        bias_optional=True,
    ),
    # The ONNX operator LSTM: its inputs of these names. No other layout here keeps both biases.
    "onnx": Layout(
        gates="iofg",
        arrays={"W": "weight_ih", "R": "weight_hh", "B": "bias_ih bias_hh"},
        direction_axis=True,
        bias_optional=True,
    ),
    "linear-gates": Layout(
        gates="figo",
        arrays={
            "Wf.weight Wi.weight Wc.weight Wo.weight": "weight_ih weight_hh",
            "Wf.bias Wi.bias Wc.bias Wo.bias": "bias",
        },
    ),
}
LAYOUTS: tuple[str, ...] = tuple(LAYOUT_TABLE)
