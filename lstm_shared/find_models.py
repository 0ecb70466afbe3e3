"""Find the models inside a larger checkpoint: all of them with their prefixes, or the names under one prefix."""

from collections.abc import Mapping
from typing import Any

from lstm_shared.argument_kinds import in_words, is_text, require_mapping, wrong_kinds
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.possible_models import possible_in_words, possible_models
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec, Spec


def find_models(weights: Mapping[str, Any]) -> dict[str, Spec]:
    """Find every model of the four kinds inside a larger checkpoint.

    Returns:
        prefix -> spec. The prefix ends in a dot, or is empty for a model at the top. ``load(path, prefix)`` loads the
        names under it. This leaves out what only looks like a model (a GRU, an LSTM with a layer missing);
        ``possible_models`` lists these, too.
    """
    require_mapping(weights)
    found: dict[str, Spec] = {}
    for prefix, names in possible_models(weights).items():
        try:
            found[prefix] = describe({name: weights[prefix + name] for name in names})
        except WeightsError:
            continue
    return found


def under_prefix(weights: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the weights under a prefix, with the prefix stripped from their names. Its final dot is optional.

    Raises:
        InputError: the prefix is not text.
        WeightsError: no name has this prefix, and the message lists the prefixes that hold models; or a name is not
            text.
    """
    require_mapping(weights)
    if not is_text(prefix):
        raise InputError(f"prefix is {in_words(prefix)}, expected text")
    if any(not is_text(name) for name in weights):
        raise WeightsError(list(wrong_kinds(weights).values()))
    prefix = prefix if not prefix or prefix.endswith(".") else prefix + "."
    chosen = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if not chosen:
        raise WeightsError(f"nothing under the prefix {prefix!r}; {_models_there(weights)}")
    return chosen


def _models_there(weights: Mapping[str, Any]) -> str:
    possible = possible_models(weights)
    if "" not in possible:
        return possible_in_words(weights)
    prefixes = ", ".join(repr(prefix) for prefix in possible if prefix)
    others = f", and there are models under these prefixes: {prefixes}" if prefixes else ""
    return f"there is {_root_in_words(weights)} without a prefix{others}"


def _root_in_words(weights: Mapping[str, Any]) -> str:
    """Name the kind of model at the root: "a model" if it is none of the four."""
    kinds: dict[type, str] = {
        ByHandSpec: "a by-hand model",
        LSTMSpec: "an LSTM",
        CellSpec: "an LSTM cell",
        ForecasterSpec: "a forecaster",
    }
    return kinds.get(type(find_models(weights).get("")), "a model")
