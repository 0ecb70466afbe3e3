"""Describe which run a checkpoint belongs to, as a dictionary that JSON can hold, and how two runs differ, as text.

A resumed run equals the straight run bit for bit only if nothing has changed: the data and their order, the start
weights, the loss, the optimizer and its settings. So we compare all of these and name what differs.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_shared.words import some_of

Run = dict[str, Any]

_LONGEST_LIST = 3  # names to list in a message; the rest is only counted


def digest(*parts: Any) -> str:
    """Return the sha256 of arrays (dtype, shape and bytes) and of text."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
        else:
            array = np.asarray(part, order="C")
            total.update(f"{array.dtype.str} {array.dtype.name} {array.shape}".encode())
            total.update(array.reshape(-1).view(np.uint8).data)
        total.update(b"\0")
    return total.hexdigest()


def describe_run(
    backend: str, weights: Mapping[str, Any], data: Sequence[Any], batch_size: int, shuffle_seed: int | None
) -> Run:
    """Describe what both backends compare. Each adds its optimizer, loss or module, and software: see ``differences``.

    Args:
        weights: name -> NumPy array, the weights that the run starts from.
        data: NumPy arrays.
    """
    return {
        "backend": backend,
        "batch_size": batch_size,
        "shuffle_seed": shuffle_seed,
        "data": [_form(array) for array in data],
        "data_digest": digest(*data),
        "weights": {name: _form(array) for name, array in weights.items()},
        "start_digest": digest_of_weights(weights),
    }


def digest_of_weights(weights: Mapping[str, Any]) -> str:
    """Return the digest of the names and values of weights."""
    return digest(*(part for name in sorted(weights) for part in (name, weights[name])))


def differences(saved: Mapping[str, Any], now: Mapping[str, Any], go_on_from: str | None = None) -> list[str]:
    """Return how ``now`` differs from the saved run, as parts of a sentence. Mere consequences are left out.

    Args:
        saved, now: results of ``describe_run``, with ``optimizer`` (settings by name, and a digest of the program),
            ``loss`` (a digest) and ``software`` (versions and device by name), as far as they are known.
        go_on_from: digest of the checkpoint's own weights. A run that continues from these is the same run.
    """
    if saved.get("backend") != now["backend"]:
        return [f"the {saved.get('backend')} backend trained it, and this is {now['backend']}"]
    found = [
        f"{name} was {saved.get(name)} and is {now[name]}"
        for name in ("batch_size", "shuffle_seed")
        if saved.get(name) != now[name]
    ]
    same_forms = True
    if saved.get("data") != now["data"]:
        same_forms = False
        found.append(f"the data were {_in_words(saved.get('data'))} and are {_in_words(now['data'])}")
    elif saved.get("data_digest") != now["data_digest"]:
        found.append("the data have other values")
    if forms := _form_differences(saved.get("weights") or {}, now["weights"]):
        return found + forms
    if now["start_digest"] not in (saved.get("start_digest"), go_on_from):
        found.append("the start weights have other values")
    return found + _program_differences(saved, now, same_forms and not found)


def other_software(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the versions and devices that differ, as parts of a sentence."""
    before: Mapping[str, Any] = saved.get("software") or {}
    after: Mapping[str, Any] = now.get("software") or {}
    return [f"{name} was {before.get(name)} and is {after[name]}" for name in after if before.get(name) != after[name]]


def _program_differences(saved: Mapping[str, Any], now: Mapping[str, Any], same_so_far: bool) -> list[str]:
    found: list[str] = []
    same_software = not other_software(saved, now)
    if "optimizer" in now:
        before: Mapping[str, Any] = saved.get("optimizer") or {}
        after: Mapping[str, Any] = now["optimizer"]
        settings = list(_setting_differences(before.get("settings") or {}, after["settings"]))
        found += settings
        if not settings and same_software and before.get("program") != after["program"]:
            found.append("the optimizer is a different one")
    # The program of a loss depends on the shapes of a batch, and both programs on the framework's version.
    if "loss" in now and same_software and same_so_far and saved.get("loss") != now["loss"]:
        found.append(now["loss_is"] + " is different")
    return found


def _setting_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    before, after = json.loads(json.dumps([before, after]))  # saving turned tuples into lists, so do the same here
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            was, now = (settings.get(name, "not there") for settings in (before, after))
            yield f"the optimizer's {name} was {was} and is {now}"


def _form_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    if gone := sorted({*before} - {*after}):
        found.append(f"the weights no longer have {some_of(gone, _LONGEST_LIST)}")
    if new := sorted({*after} - {*before}):
        found.append(f"the weights have {some_of(new, _LONGEST_LIST)}, which they did not have before")
    changed = [
        f"{name} ({_in_words([before[name]])} before, now {_in_words([after[name]])})"
        for name in after
        if name in before and before[name] != after[name]
    ]
    if changed:
        found.append(f"the weights have a different shape or dtype: {some_of(changed, _LONGEST_LIST)}")
    return found


def _form(array: Any) -> list[Any]:
    array = np.asarray(array)
    return [array.dtype.name, list(array.shape)]


def _in_words(forms: Any) -> str:
    try:
        return " and ".join(f"{dtype} {tuple(shape)}" for dtype, shape in forms) or "none"
    except (TypeError, ValueError):
        return "unknown"
