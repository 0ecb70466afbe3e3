"""Checks that the content of a JSON file is a complete benchmark record, before anything else uses it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, TypeGuard

from lstm_parity.bench.cases import MODES, BenchCase
from lstm_parity.bench.record.measurements import DIFFERS, FAILED, LEFT_OUT, TIMED, Measurement, Round

# Nobody measures anything near these limits. Within them, no figure computed from the numbers overflows.
_SHORTEST, _LONGEST = 1e-12, 1e12  # seconds
_LARGEST = 2**53

_KINDS = ("sequence", "streaming", "by hand")
_DTYPES = ("float64", "float32", "bfloat16", "float16")
_OUTCOMES = (TIMED, DIFFERS, FAILED, LEFT_OUT)

Test = Callable[[object], bool]


def problems_of(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the content of a record: missing names, wrong types, numbers out of range.

    Nothing is yielded if the record can be shown.

    Args:
        content: the result of ``Record.to_dict`` as JSON returns it, without ``format``.
    """
    expected: dict[str, tuple[str, Test]] = {
        "date": _TEXT,
        "command": _TEXT,
        "device": _FACTS,
        "versions": _TEXTS,
        "environment": _TEXTS,
        "settings": _FACTS,
        "missing": _TEXTS,
        "cases": _OBJECT,
        "measurements": _LIST,
    }
    wrong = list(_wrong(content, "", expected, {}))
    yield from wrong
    if wrong:
        return
    for name, case in content["cases"].items():
        yield from _wrong_fields(case, f"cases.{name}", BenchCase, _CASE)
    for place, one in enumerate(content["measurements"]):
        yield from _wrong_measurement(one, f"measurements[{place}]", content["cases"])
    yield from _unequal_rounds(content["measurements"])


def _wrong_measurement(one: Any, where: str, cases: Mapping[str, object]) -> Iterator[str]:
    wrong = list(_wrong_fields(one, where, Measurement, _MEASUREMENT, extra=("summary",)))
    yield from wrong
    if wrong:
        return
    for place, round_ in enumerate(one.get("rounds", [])):
        yield from _wrong_fields(round_, f"{where}.rounds[{place}]", Round, _ROUND)
    if one["case"] not in cases:
        yield f"{where}.case is {_shown(one['case'])}, which is none of its cases"
    if (one["outcome"] == TIMED) != bool(one.get("rounds")):
        yield f"{where} is {one['outcome']!r} and has {len(one.get('rounds', []))} rounds"


def _unequal_rounds(measurements: Sequence[object]) -> Iterator[str]:
    """Yield contenders with another number of rounds than the first in their group: ratios are taken round by round."""
    seen: dict[tuple[str, str], int] = {}
    for place, one in enumerate(measurements):
        if not isinstance(one, dict) or not isinstance(one.get("rounds"), list) or not one["rounds"]:
            continue
        group = str(one.get("case")), str(one.get("mode"))
        if seen.setdefault(group, len(one["rounds"])) != len(one["rounds"]):
            yield f"measurements[{place}] has {len(one['rounds'])} rounds, others of its case {seen[group]}"


def _wrong_fields(
    content: object, where: str, kind: type, expected: Mapping[str, tuple[str, Test]], *, extra: tuple[str, ...] = ()
) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"{where} is {_shown(content)}, expected an object"
        return
    optional = {field.name for field in fields(kind) if _has_default(field)}
    yield from _wrong(content, f"{where}.", expected, dict.fromkeys((*optional, *extra)))


def _has_default(field: Field[object]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _wrong(
    content: Mapping[str, object], where: str, expected: Mapping[str, tuple[str, Test]], optional: Mapping[str, None]
) -> Iterator[str]:
    for name, (words, holds) in expected.items():
        if name in content:
            if not holds(content[name]):
                yield f"{where}{name} is {_shown(content[name])}, expected {words}"
        elif name not in optional:
            yield f"{where}{name} is missing"
    for name in content:
        if name not in expected and name not in optional:
            yield f"{where}{name} is not known"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: object) -> bool:
    return _is_number(value) and _SHORTEST <= value <= _LONGEST


def _is_whole(value: object, at_least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= _LARGEST


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can hold it, and nothing can print it
        return False
    return True


def _one_of(names: tuple[str, ...]) -> tuple[str, Test]:
    return f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names


_TEXT = "text", _is_text
_TEXTS = "an object of texts", lambda value: isinstance(value, dict) and all(map(_is_text, value.values()))
_FACTS = (
    "an object of texts and numbers",
    lambda value: isinstance(value, dict) and all(isinstance(one, str | int | float | None) for one in value.values()),
)
_OBJECT = "an object", lambda value: isinstance(value, dict)
_LIST = "a list", lambda value: isinstance(value, list)
_SIZE = "a positive whole number", _is_whole
_WHOLE = "a whole number, 0 or larger", lambda value: _is_whole(value, 0)
_SWITCH = "true or false", lambda value: isinstance(value, bool)
_TIME = "a number of seconds", _is_time
_TIME_OR_NOTHING = "a number of seconds or null", lambda value: value is None or _is_time(value)
_SHARE = "a number or null", lambda value: value is None or (_is_number(value) and 0 <= value <= _LARGEST)

_CASE: dict[str, tuple[str, Test]] = {
    "name": _TEXT,
    **dict.fromkeys(("time", "batch", "input_size", "hidden_size", "num_layers", "train_steps"), _SIZE),
    "proj_size": _WHOLE,
    **dict.fromkeys(("bidirectional", "ragged"), _SWITCH),
    "dtype": _one_of(_DTYPES),
    "kind": _one_of(_KINDS),
    "curve": _one_of(("", "T", "B", "H")),
}
_MEASUREMENT: dict[str, tuple[str, Test]] = {
    **dict.fromkeys(("case", "contender", "reason"), _TEXT),
    "mode": _one_of(tuple(MODES)),
    "outcome": _one_of(_OUTCOMES),
    "tolerance_used": _SHARE,
    "first_call": _TIME_OR_NOTHING,
    "steps": _SIZE,
    "rounds": _LIST,
}
_ROUND: dict[str, tuple[str, Test]] = {
    "samples": _SIZE,
    **dict.fromkeys(("minimum", "lower_quartile", "median", "upper_quartile"), _TIME),
}
