"""Define someone else's port, and call it: what arguments it gets, and in which form."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from lstm_parity.sides.case import Case
from lstm_parity.sides.port_returns import named
from lstm_shared.array_types import Array
from lstm_shared.errors import InputError
from lstm_shared.layout_table import LAYOUTS
from lstm_shared.layouts import to_layout
from lstm_shared.names import place_name
from lstm_shared.specs import in_words

Framework = Literal["numpy", "jax", "torch"]
FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)

# What a sentence calls the arrays of a framework.
ARRAYS = {"numpy": "NumPy arrays", "jax": "JAX arrays", "torch": "torch tensors"}


@dataclass(frozen=True)
class Port:
    """A port to judge.

    Attributes:
        function: ``function(params, inputs, **given)`` -> outputs, or (outputs, (h_n, c_n)). ``given`` holds ``state``
            if the function takes it, and ``lengths``, ``reset`` and ``batch_first`` if the check was given them. A cell
            returns (h, c). The function gets copies of everything.
        layout: the form of ``params``: "torch" for the weight dictionary, or one of ``lstm_shared.LAYOUTS`` for
            {"l0": tree, "l0_reverse": tree, "l1": …}.
        framework: the framework of the arrays that go in; None to find out from what comes back. For "numpy" only
            outputs are compared. For "jax" and "torch" the gradients of the inputs are compared too, and those of every
            weight if the layout is "torch".
        dtypes: the precisions it can compute in; None to find out.
    """

    function: Callable[..., Any]
    layout: str = "torch"
    framework: Framework | None = None
    dtypes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.layout not in ("torch", *LAYOUTS):
            problems.append(f"layout is {self.layout!r}, expected one of torch, {', '.join(LAYOUTS)}")
        if self.framework is not None and self.framework not in FRAMEWORKS:
            problems.append(f"framework is {self.framework!r}, expected one of {', '.join(FRAMEWORKS)}")
        if not callable(self.function):
            problems.append(f"the candidate is a {type(self.function).__name__}, expected a function (params, inputs)")
        InputError.raise_any(problems)

    def takes(self, name: str, *, optional: bool = False) -> bool:
        """Return whether the function has an argument of this name; with ``optional``, one that may be left out."""
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # a C function without a signature
            return False
        if name not in parameters:
            return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        one = parameters[name]
        return one.kind is not one.POSITIONAL_ONLY and not (optional and one.default is one.empty)


def call_port(
    case: Case, port: Port, weights: Mapping[str, Array], inputs: Array, state: Mapping[str, Array]
) -> dict[str, Any]:
    given: dict[str, object] = {}
    if case.state and port.takes("state"):
        given["state"] = (state["h"], state["c"])
    copy = torch.tensor if port.framework == "torch" else np.array
    if case.lengths is not None:
        given["lengths"] = copy(case.lengths)
    if case.reset is not None:
        given["reset"] = copy(case.reset)
    if case.batch_first and case.kind.takes_sequence_options:
        given["batch_first"] = True
    return named(case, port.function(_in_layout(case, port.layout, weights), inputs, **given))


def _in_layout(case: Case, layout: str, weights: Mapping[str, Array]) -> Mapping[str, object]:
    if layout == "torch":
        return dict(weights)
    lstm = case.kind.lstm
    if lstm is None or not case.kind.has_layouts:
        raise InputError(f"layout {layout!r} is for LSTMs; these are the weights of {in_words(case.spec)}: use 'torch'")
    copies = {name: np.array(array) for name, array in case.weights.items()}
    return {
        place_name(layer, suffix): to_layout(copies, layout, layer=layer, reverse=bool(suffix))
        for layer, suffix in lstm.places
    }
