"""Convert one LSTM layer from PyTorch's dictionary to another framework's tree, and back.

A layout is a row of ``layout_table``, and PyTorch's own layout is one more such row. A conversion reads the four parts
(input kernel, recurrent kernel, two biases) by one row and writes them by another.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_shared.argument_kinds import in_words, native, require_mapping, wrong_switches
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.inputs import is_whole
from lstm_shared.layout_table import LAYOUT_TABLE, LAYOUTS, WIDTHS, Axis, Layout
from lstm_shared.names import GATE_LETTERS, SUFFIXES, WITH_GATES, place_name
from lstm_shared.trees import flatten_tree, unflatten_tree

DTYPES = ("float64", "float32", "float16", "bfloat16")
TORCH_NAME = re.compile(r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))(?P<ending>|_l\d+(?:_reverse)?)")


def to_layout(weights: Mapping[str, Any], layout: str, *, layer: int = 0, reverse: bool = False) -> dict[str, Any]:
    """Return one layer and direction of a ``torch.nn.LSTM`` dictionary as another framework's cell keeps it.

    The result has the same dtype, and its arrays are contiguous copies. If the layout has one bias, it is the sum of
    torch's two. A model without biases gets a zero bias, even if the framework also has a cell without one. For
    ``haiku``, 1 is subtracted from the forget gate's bias, because haiku's forward pass adds 1. The result is rounded
    to the spacing of numbers near 1.

    Args:
        weights: ``weight_ih_l{k}{_reverse}`` (4·hidden, input), ``weight_hh_…`` (4·hidden, hidden), ``bias_ih_…`` and
            ``bias_hh_…`` (4·hidden,), gates in the order i, f, g, o. For layer 0, this may also be an
            ``nn.LSTMCell`` dictionary: the same names without the ending. NumPy arrays, or anything NumPy can read.
        layout: one of ``LAYOUTS``.
        layer: which layer to take.
        reverse: whether to take the layer's reverse direction.

    Returns:
        A nested dictionary of NumPy arrays. With H = hidden and I = input, its names and shapes are:

        - ``flax-linen``: ``ii if ig io`` with ``kernel`` (I, H); ``hi hf hg ho`` with ``kernel`` (H, H), ``bias`` (H,)
        - ``flax-nnx``: the same, with ``if_`` for ``if``
        - ``flax-nnx-optimized``: ``dense_i`` with ``kernel`` (I, 4H); ``dense_h``: ``kernel`` (H, 4H), ``bias`` (4H,)
        - ``haiku``: ``w`` (I+H, 4H), ``b`` (4H,), gates i, g, f, o
        - ``equinox``: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias`` (4H,)
        - ``keras``: ``kernel`` (I, 4H), ``recurrent_kernel`` (H, 4H), ``bias`` (4H,)
        - ``onnx``: ``W`` (1, 4H, I), ``R`` (1, 4H, H), ``B`` (1, 8H), gates i, o, f, c
        - ``linear-gates``: ``W{f,i,c,o}.weight`` (H, I+H), ``W{f,i,c,o}.bias`` (H,)

    Raises:
        InputError: there is no such layout, or the layer or direction is impossible.
        WeightsError: the dictionary is wrong (the message lists everything), has projections (no cell above has a
            place for ``weight_hr``), or lacks the layer or direction.
    """
    InputError.raise_any(_wrong_place(layout, layer, reverse))
    require_mapping(weights)
    target = LAYOUT_TABLE[layout]
    endings = {name: match["ending"] for name in weights if (match := TORCH_NAME.fullmatch(str(name)))}
    if projections := ", ".join(name for name in endings if name.startswith("weight_hr")):
        # Report only this: a projection changes every recurrent kernel's shape too, and that is not a second mistake.
        raise WeightsError(f"{projections}: a projection (proj_size > 0) has no place in other frameworks' LSTM cells")
    ending = _ending(layer, reverse)
    if ending == "_l0" and set(endings.values()) == {""}:
        ending = ""  # nn.LSTMCell
    if endings and ending not in endings.values():
        there = ", ".join(sorted({other or "nn.LSTMCell (no ending)" for other in endings.values()}))
        direction = "reverse" if reverse else "forward"
        raise WeightsError(f"layer {layer} {direction} ({ending}) is not in the dictionary, which has {there}")

    # Ignore other layers, but keep names that belong to no layer at all: they are reported as unexpected.
    chosen = {name: array for name, array in weights.items() if endings.get(name, ending) in (ending, "")}
    biased = any(name.startswith("bias_") for name in endings)
    return unflatten_tree(_write(_read(chosen, _torch_layout(ending, bias_optional=not biased)), target))


def from_layout(
    tree: Mapping[str, Any], layout: str, *, layer: int = 0, reverse: bool = False
) -> dict[str, np.ndarray]:
    """Return another framework's cell as one layer and direction of a ``torch.nn.LSTM`` dictionary.

    A merged bias becomes ``bias_ih``, and ``bias_hh`` is zero. Outputs are equal, but training differs afterwards,
    because torch updates both biases. A cell whose bias is absent or None (equinox, keras, onnx) gives a dictionary
    without biases. For ``haiku``, the 1 that its forward pass adds goes into the forget gate's bias.

    Args:
        tree: the nested dictionary that ``to_layout`` describes. NumPy arrays, or anything NumPy can read.
        layout: one of ``LAYOUTS``.
        layer: the layer to name in the result.
        reverse: whether to name the result as the reverse direction.

    Returns:
        ``weight_ih_l{k}{_reverse}``, ``weight_hh_…`` and, with biases, ``bias_ih_…``, ``bias_hh_…``: contiguous copies
        in the tree's dtype.

    Raises:
        InputError: as in ``to_layout``.
        WeightsError: the tree is wrong. The message lists everything that is.
    """
    InputError.raise_any(_wrong_place(layout, layer, reverse))
    parts = _read(flatten_tree(tree), LAYOUT_TABLE[layout])
    weights = _write(parts, _torch_layout(_ending(layer, reverse)))
    return {name: weights[name] for name in weights if name.startswith(tuple(parts))}


def _wrong_place(layout: Any, layer: Any, reverse: Any) -> list[str]:
    problems: list[str] = []
    if not isinstance(layout, str) or layout not in LAYOUT_TABLE:
        problems.append(f"layout is {in_words(layout)}, expected one of {', '.join(LAYOUTS)}")
    if not is_whole(layer, at_least=0):
        problems.append(f"layer is {in_words(layer)}, expected a whole number, 0 or larger")
    return problems + wrong_switches(reverse=reverse)


def _torch_layout(ending: str, bias_optional: bool = True) -> Layout:
    return Layout(GATE_LETTERS, {f"{part}{ending}": part for part in WITH_GATES}, bias_optional=bias_optional)


def _ending(layer: int, reverse: bool) -> str:
    return f"_{place_name(layer, SUFFIXES[reverse])}"


def _read(arrays: Mapping[str, Any], layout: Layout) -> dict[str, np.ndarray]:
    """Return the four parts, or two without biases: weights (4, H, width), biases (4, H), gates in torch's order."""
    entries = list(layout.entries())
    arrays = {name: array for name, array in arrays.items() if array is not None}  # bias=None in equinox and keras
    biased = any(name in arrays for names, held, _ in entries if held[0] not in WIDTHS for name in names)
    if layout.bias_optional and not biased:
        entries = [entry for entry in entries if entry[1][0] in WIDTHS]
    known, hidden_size, input_size = _check(arrays, {name: shape for names, _, shape in entries for name in names})

    parts: dict[str, np.ndarray] = {}
    order = [layout.gates.index(gate) for gate in GATE_LETTERS]
    for names, held, _ in entries:
        blocks = [known[name][0] if layout.direction_axis else known[name] for name in names]
        joined = np.stack([block.T if layout.input_first else block for block in blocks])
        widths = [WIDTHS.get(part, Axis(hidden=4 // len(names))).length(hidden_size, input_size) for part in held]
        for part, block in zip(held, np.split(joined, np.cumsum(widths)[:-1], axis=-1), strict=True):
            parts[part] = block.reshape(4, hidden_size, *block.shape[2:])[order]
    if "bias" in parts:
        bias = parts.pop("bias")
        bias[1] += bias.dtype.type(layout.forget_offset)
        parts |= {"bias_ih": bias, "bias_hh": np.zeros_like(bias)}
    return parts


def _write(parts: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """Return the parts that ``_read`` returned under the layout's flat names. Missing biases become zeros."""
    zero = np.zeros_like(parts["weight_hh"][..., 0])
    bias = parts.get("bias_ih", zero) + parts.get("bias_hh", zero)
    bias[1] -= bias.dtype.type(layout.forget_offset)
    parts = {"bias_ih": zero, "bias_hh": zero, **parts, "bias": bias}

    arrays: dict[str, np.ndarray] = {}
    order = [GATE_LETTERS.index(gate) for gate in layout.gates]
    for names, held, _ in layout.entries():
        rows = 4 * len(zero[0]) // len(names)
        blocks = [parts[part][order].reshape(len(names), rows, *parts[part].shape[2:]) for part in held]
        joined: np.ndarray = np.concatenate(blocks, axis=-1)
        for name, block in zip(names, joined, strict=True):
            turned = block.T if layout.input_first else block
            # Copy to contiguous memory: safetensors silently writes wrong numbers for a transposed view.
            arrays[name] = np.array(turned[None] if layout.direction_axis else turned, order="C")
    return arrays


def _check(arrays: Mapping[str, Any], shapes: Mapping[str, Sequence[Axis]]) -> tuple[dict[str, np.ndarray], int, int]:
    """Return NumPy arrays, the hidden size and the input size; or raise a WeightsError that lists every problem."""
    problems = [f"{name}: missing" for name in shapes if name not in arrays]
    problems += [f"{name}: unexpected, the names are {', '.join(shapes)}" for name in arrays if name not in shapes]
    known: dict[str, np.ndarray] = {}
    for name in filter(arrays.__contains__, shapes):
        try:
            known[name] = np.asarray(native(arrays[name]))
        except (TypeError, ValueError, RuntimeError) as error:  # NumPy and torch raise these
            problems.append(f"{name}: cannot be read as an array ({error})")

    sizes = _find_sizes([(array.shape, shapes[name]) for name, array in known.items()])
    for name, array in known.items():
        words = f"({', '.join(map(str, shapes[name]))})"
        if sizes is None:
            problems.append(f"{name}: shape {array.shape}, expected {words}")
        elif array.shape != (expected := tuple(axis.length(*sizes) for axis in shapes[name])):
            why = f"{words} with hidden size {sizes[0]} and input size {sizes[1]}, as most arrays have them"
            problems.append(f"{name}: shape {array.shape}, expected {expected} = {why}")

    dtypes = {name: array.dtype.name for name, array in known.items()}
    choices = f"expected one of {', '.join(DTYPES)}"
    problems += [f"{name}: dtype {dtype}, {choices}" for name, dtype in dtypes.items() if dtype not in DTYPES]
    if len(set(dtypes.values())) > 1:
        problems.append(f"expected one dtype, found {', '.join(map(' '.join, dtypes.items()))}")
    WeightsError.raise_any(problems)
    assert sizes is not None  # otherwise there is a problem, and the line above has raised it
    return known, *sizes


def _find_sizes(found: Sequence[tuple[tuple[int, ...], Sequence[Axis]]]) -> tuple[int, int] | None:
    """Return the (hidden, input) sizes of most axes, so that one wrong array is blamed and not all the right ones."""
    pairs = [pair for shape, axes in found if len(shape) == len(axes) for pair in zip(shape, axes, strict=True)]
    votes = Counter(length // axis.hidden for length, axis in pairs if axis.hidden and not axis.input and length)
    if not votes:
        return None
    hidden_size = votes.most_common(1)[0][0]
    votes = Counter(length - axis.hidden * hidden_size for length, axis in pairs if axis.input)
    input_size = max(votes, key=votes.__getitem__, default=-1)
    return (hidden_size, input_size) if min(hidden_size, input_size + 1) > 0 else None
