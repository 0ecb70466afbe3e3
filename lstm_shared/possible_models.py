"""Find what looks like a model inside a larger checkpoint, by names alone."""

from collections.abc import Mapping
from typing import Any

from lstm_shared.argument_kinds import is_text
from lstm_shared.by_hand import BY_HAND
from lstm_shared.names import CELL_PARTS, parse_weight_name
from lstm_shared.words import some_of

HEAD_NAMES = ("fc.weight", "fc.bias")


def possible_models(weights: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return prefix -> the names under it that look like those of one model, whatever their shapes."""
    possible: dict[str, list[str]] = {}
    for full_name in weights:
        if not is_text(full_name):
            continue
        module, dot, name = full_name.rpartition(".")
        if name in BY_HAND or name in CELL_PARTS or parse_weight_name(name):
            possible.setdefault(module + dot, []).append(name)
    for prefix in [prefix for prefix in possible if prefix.endswith("lstm.")]:
        parent = prefix.removesuffix("lstm.")
        head = [name for name in HEAD_NAMES if parent + name in weights]
        if (not parent or parent.endswith(".")) and head and parent not in possible:
            possible[parent] = [f"lstm.{name}" for name in possible.pop(prefix)] + head
    return {prefix: tuple(names) for prefix, names in possible.items()}


def possible_in_words(weights: Mapping[str, Any]) -> str:
    """Say which prefixes hold models. To be called if there is no model at the top."""
    possible = possible_models(weights)
    if not possible:
        return f"no known model has these names: {some_names(weights)}"
    return f"there are models under these prefixes: {', '.join(map(repr, possible))}"


def some_names(names: Mapping[str, Any]) -> str:
    """Return the first few names, in alphabetical order, for a message."""
    return some_of(sorted(map(str, names))) or "nothing"
