"""Write lists of names and words as part of a sentence."""

from collections.abc import Iterable


def some_of(names: Iterable[object], most: int = 5) -> str:
    """Return the first few names: "a, b, c and 7 more"."""
    every = list(map(str, names))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def listed(words: Iterable[str]) -> str:
    """Return all words: "a, b and c"."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last
