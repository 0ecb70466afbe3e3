"""Read from a weight dictionary which model it is: kind, sizes, layers, directions, projection and bias.

The dictionary is the model: nothing else describes it. This code reads names, shapes and dtypes only, so the arrays
may be NumPy's, JAX's (traced ones too) or torch's.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from lstm_shared.argument_kinds import FLOATING, as_array, dtype_name, require_mapping, wrong_kinds
from lstm_shared.by_hand import BY_HAND
from lstm_shared.errors import OtherCellError, WeightsError
from lstm_shared.names import CELL_PARTS, parse_weight_name, weight_name
from lstm_shared.possible_models import HEAD_NAMES, possible_in_words, possible_models, some_names
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec, Shapes, Spec, in_words, known

Kind = TypeVar("Kind", LSTMSpec, CellSpec, ForecasterSpec)

_EXPECTED: dict[type, str] = {
    LSTMSpec: "an LSTM (weight_ih_l0, …)",
    CellSpec: "an LSTM cell (weight_ih, …)",
    ForecasterSpec: "a forecaster (lstm.…, fc.…)",
}

_OTHER_CELLS: dict[float, str] = {3: "a GRU", 1: "a plain RNN"}  # rows of weight_hh per column; an LSTM has four


def describe(weights: Mapping[str, Any]) -> Spec:
    """Return which model a dictionary holds.

    Args:
        weights: name -> array. Arrays need only a shape and a dtype; Python floats count as scalars.

    Returns:
        ByHandSpec, LSTMSpec, CellSpec or ForecasterSpec. It is frozen. It has the sizes under torch's argument names,
        and ``shapes``, the names and shapes of the weights of such a model.

    Raises:
        WeightsError: it is none of the four. The message lists every missing name, every unexpected name, every
            wrong shape with the expected shape and the reason, and every name and array of the wrong kind.
    """
    require_mapping(weights)
    wrong = wrong_kinds(weights)
    try:
        spec = _read(weights, _shapes(weights, wrong))
    except WeightsError as error:
        if not wrong:
            raise
        # List values of the wrong kind first. If the dictionary holds nothing else, they explain the other problems.
        raise WeightsError([*wrong.values(), *(error.problems if len(wrong) < len(weights) else ())]) from None
    require_spec(weights, spec)
    return spec


def _read(weights: Mapping[str, Any], shapes: Shapes) -> Spec:
    if any(name in BY_HAND for name in shapes):
        return ByHandSpec()
    if any(name in HEAD_NAMES for name in shapes):
        return _read_forecaster(shapes)
    if any(parse_weight_name(name) for name in shapes):
        return _read_lstm(shapes)
    if any(name in CELL_PARTS for name in shapes):
        layer = _read_lstm({weight_name(name, 0): shape for name, shape in shapes.items() if name in CELL_PARTS})
        return CellSpec(layer.input_size, layer.hidden_size, layer.bias)
    raise WeightsError(_nothing_known({name: weights[name] for name in shapes}))


def describe_as(weights: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """Return what ``describe`` returns, for callers that accept one kind of model only.

    Raises:
        WeightsError: as in ``describe``, or the weights are valid but those of another kind of model.
    """
    spec = describe(weights)
    if not isinstance(spec, kind):
        raise WeightsError(f"these are the weights of {in_words(spec)}, expected those of {_EXPECTED[kind]}")
    return spec


def require_spec(weights: Mapping[str, Any], spec: Spec) -> None:
    """Raise a WeightsError that lists how a dictionary differs from the expected model, unless it matches."""
    require_mapping(weights)
    WeightsError.raise_any(_departures(weights, spec))


def require_by_hand(weights: Mapping[str, Any]) -> None:
    """Raise a WeightsError that lists how a dictionary differs from the by-hand model, unless it matches."""
    require_mapping(weights)
    if not any(name in BY_HAND for name in weights):
        raise WeightsError(f"a by-hand model is needed ({', '.join(BY_HAND)}); this holds {some_names(weights)}")
    require_spec(weights, ByHandSpec())


def _read_lstm(shapes: Shapes) -> LSTMSpec:
    """Take each size from the majority of the arrays, so that one wrong array is blamed and not all the others.

    A size is 0 if no array shows it.
    """
    found = [(known, shapes[name]) for name in shapes if (known := parse_weight_name(name))]
    layers = sorted({name.layer for name, _ in found})
    if layers[-1] >= len(found):  # do not list all missing weights: a name can contain any number
        raise WeightsError(f"expected layers 0 to {layers[-1]}, found only {', '.join(map(str, layers))}")
    _refuse_other_cells([shape for name, shape in found if name.part in ("weight_ih", "weight_hh")], shapes)
    projected = any(name.part == "weight_hr" for name, _ in found)

    def votes(part: str, axis: int) -> list[int]:
        return [shape[axis] for name, shape in found if name.part == part and len(shape) > axis]

    rows = [size // 4 for part in CELL_PARTS for size in votes(part, 0) if size % 4 == 0]
    hidden = _majority(rows + (votes("weight_hr", 1) if projected else votes("weight_hh", 1)))
    first = [shape for name, shape in found if (name.part, name.layer) == ("weight_ih", 0) and len(shape) == 2]
    return LSTMSpec(
        input_size=_majority(
            [columns for rows, columns in first if rows == 4 * hidden] or [shape[1] for shape in first]
        ),
        hidden_size=hidden,
        num_layers=1 + layers[-1],
        bias=any(name.part.startswith("bias") for name, _ in found),
        bidirectional=any(name.suffix for name, _ in found),
        proj_size=_majority(votes("weight_hr", 0) + votes("weight_hh", 1)) if projected else 0,
    )


def _refuse_other_cells(matrices: list[tuple[int, ...]], shapes: Shapes) -> None:
    """Raise an OtherCellError if all matrices are those of a GRU or a plain RNN. ``shapes`` includes weight_hh."""
    recurrent = {shape for name, shape in shapes.items() if "weight_hh" in name}
    if len(recurrent) == 1 and len(shape := recurrent.pop()) == 2 and {other[:1] for other in matrices} == {shape[:1]}:
        rows, columns = shape
        if columns and (other := _OTHER_CELLS.get(rows / columns)):
            raise OtherCellError(
                f"this is {other}, not an LSTM: weight_hh has {rows} rows for {columns} columns, not four times as many"
            )


def _majority(sizes: list[int]) -> int:
    return Counter(sizes).most_common(1)[0][0] if sizes else 0


def _read_forecaster(shapes: Shapes) -> ForecasterSpec:
    lstm = {name.removeprefix("lstm."): shape for name, shape in shapes.items() if name.startswith("lstm.")}
    if not any(parse_weight_name(name) for name in lstm):
        raise WeightsError(f"a forecaster needs an LSTM under 'lstm.' beside its head; this holds {some_names(shapes)}")
    spec = _read_lstm(lstm)
    weight, bias = (shapes.get(name, ()) for name in HEAD_NAMES)
    trusted = bias if bias and weight[1:] != (spec.output_size,) else weight
    return ForecasterSpec(spec, trusted[0] if trusted else 0)


def _shapes(weights: Mapping[Any, Any], wrong: Mapping[Any, str]) -> Shapes:
    """Return name -> shape, for every weight of the right kind."""
    return {name: tuple(np.shape(value)) for name, value in weights.items() if name not in wrong}


def _departures(weights: Mapping[str, Any], spec: Spec) -> list[str]:
    wrong = wrong_kinds(weights)
    shapes = _shapes(weights, wrong)
    problems = [*wrong.values()]
    problems += [
        f"{name} is missing: {in_words(spec)} has it, with shape {known(shape)}"
        for name, shape in spec.shapes.items()
        if name not in shapes and name not in wrong
    ]
    for name, shape in shapes.items():
        if name not in spec.shapes:
            problems.append(f"{name} is unexpected: {in_words(spec)} has no such weight")
        elif shape != spec.shapes[name]:
            problems.append(f"{name} has shape {shape}, expected {known(spec.shapes[name])}: {_why(name, spec)}")
        elif 0 in shape:
            problems.append(f"{name} has shape {shape}: a size of 0 holds no weights")
    for name in shapes:
        dtype = dtype_name(as_array(name, weights[name], problems).dtype)
        if dtype not in FLOATING:
            kinds = f"one of {', '.join(FLOATING)}" if dtype.startswith("float") else "floating-point numbers"
            problems.append(f"{name} holds {dtype}: weights are {kinds}")
    return problems


def _why(name: str, spec: Spec) -> str:
    lstm = spec.lstm if isinstance(spec, ForecasterSpec) else spec
    if isinstance(lstm, ByHandSpec):
        return "the by-hand weights are scalars"
    if name.startswith("fc."):
        sizes = "(output size,)" if name == "fc.bias" else "(output size, features of the LSTM's outputs)"
        return f"{sizes}, with {in_words(spec)}"
    if "weight_hr" in name:
        return f"(proj_size, hidden_size), with {in_words(spec)}"
    if "bias" in name:
        return f"(4·hidden_size,), with {in_words(spec)}"
    first = "_l" not in name or "_l0" in name
    columns = "features of h" if "weight_hh" in name else "input_size" if first else "features of the layer below"
    return f"(4·hidden_size, {columns}), with {in_words(spec)}"


def _nothing_known(weights: Mapping[str, Any]) -> str:
    if not weights:
        return "the dictionary is empty"
    models = possible_in_words(weights)
    return f"no model at the top; {models}" if possible_models(weights) else models
