"""What a search has reached: how many cases took each path, compiled and operation by operation."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from lstm_parity.fuzz.size_classes import LARGEST, batch_classes, hidden_classes, path_of
from lstm_parity.sides.case import Case
from lstm_parity.sides.kinds import KINDS

# The steps of a sequence, counted in the chunks into which the fast backward pass cuts it, from its end.
STEPS = (
    "no steps",
    "one step",
    "part of a chunk",
    "one chunk",
    "a chunk and a rest",
    "several chunks",
    "several chunks and a rest",
)


class Reach:
    """Counts of the cases that had each value of each topic: each model, dtype, path, size class and option."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, Counter[str]]] = {
            topic: {value: Counter() for value in values} for topic, values in _topics().items()
        }

    def add(self, case: Case, *, compiled: bool, implementation: str = "auto") -> None:
        """Count one compared case."""
        for topic, value in _of(case, implementation):
            self._counts[topic][value]["compiled" if compiled else "by_operation"] += 1

    def to_dict(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return topic -> value -> {"by_operation": cases, "compiled": cases}, with 0 for what was not reached."""
        return {
            topic: {value: {way: n[way] for way in ("by_operation", "compiled")} for value, n in values.items()}
            for topic, values in self._counts.items()
        }

    def unreached(self) -> list[str]:
        """Return every value that no case had, as "topic: value"."""
        counts = [(topic, value, n) for topic, values in self._counts.items() for value, n in values.items()]
        return [f"{topic}: {value}" for topic, value, n in counts if not n.total()]

    def __str__(self) -> str:
        """Return a line or two for each topic, in less than 80 columns: "implementation  scan 25+8, …"."""
        width = max(map(len, self._counts))
        lines = ["cases that reached each path, run operation by operation + compiled:"]
        for topic, values in self._counts.items():
            counts = ", ".join(
                f"{value} {n['by_operation']}+{n['compiled']}".replace(" ", "\xa0") for value, n in values.items()
            )
            start = f"  {topic:{width}}  "
            lines += textwrap.wrap(
                counts, 79, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
            )
        return "\n".join(lines).replace("\xa0", " ")


def _topics() -> dict[str, Sequence[str]]:
    """Return all topics and their values."""
    return {
        "model": tuple(kind.name for kind in KINDS),
        "dtype": ("float64", "float32", "bfloat16"),
        "implementation": ("scan", "chunked", "single-kernel"),
        "chunks": STEPS,
        "directions": ("one", "both in one loop", "both apart"),
        "loop forward": ("rows first", "features first"),
        "products a step": ("two", "one, forward", "one, with gradients"),
        "rows": tuple(map(_in_words, batch_classes())),
        "hidden size": tuple(map(_in_words, hidden_classes())),
        "inputs": ("one", "more"),
        "layers": ("one", "more"),
        "projection": ("no", "yes"),
        "lengths": ("none", "of one row", "of more"),
        "resets": ("none", "in one row", "in more"),
        "layout": ("time first", "batch first", "unbatched"),
        "state": ("zeros", "given", "left out"),
    }


def _of(case: Case, implementation: str) -> Iterator[tuple[str, str]]:
    """Yield the (topic, value) of one case; for a cell and by hand, without the topics that only an LSTM has."""
    yield "model", case.kind.name
    yield "dtype", case.inputs.dtype.name
    yield "state", "left out" if not case.state else "given" if any(x.any() for x in case.state.values()) else "zeros"
    spec = case.kind.lstm
    if spec is None:
        return
    batched = case.inputs.ndim == 3
    batch = case.inputs.shape[1 - case.time_axis] if batched else 1
    path = path_of(implementation, case.time, batch, spec.input_size, spec.hidden_size, case.inputs.dtype)
    yield "implementation", path.implementation
    if path.implementation == "chunked":
        yield "chunks", _chunks(case.time, path.chunk)
        yield "loop forward", "features first" if path.features_first else "rows first"
        forward, with_gradients = path.one_product
        if not (forward and with_gradients):
            yield "products a step", "two"
        if forward:
            yield "products a step", "one, forward"
        if with_gradients:
            yield "products a step", "one, with gradients"
    yield "directions", "one" if not spec.bidirectional else "both in one loop" if path.shared_loop else "both apart"
    yield "rows", _class_of(batch, batch_classes())
    yield "hidden size", _class_of(spec.hidden_size, hidden_classes())
    yield "inputs", "one" if spec.input_size == 1 else "more"
    yield "layers", "one" if spec.num_layers == 1 else "more"
    yield "projection", "yes" if spec.proj_size else "no"
    yield "layout", "unbatched" if not batched else "batch first" if case.batch_first else "time first"
    yield "lengths", "none" if case.lengths is None else "of one row" if case.lengths.size <= 1 else "of more"
    rows = 0 if case.reset is None else _rows_reset(case)
    yield "resets", "none" if not rows else "in one row" if rows == 1 else "in more"


def _chunks(steps: int, chunk: int) -> str:
    whole, rest = divmod(steps, chunk)
    if steps <= 1:
        return STEPS[steps]
    if not whole:
        return "part of a chunk"
    return ("one chunk", "a chunk and a rest")[bool(rest)] if whole == 1 else STEPS[-2:][bool(rest)]


def _rows_reset(case: Case) -> int:
    """Count the rows that have a reset after their first step."""
    assert case.reset is not None
    later = case.reset.take(range(1, case.time), axis=case.time_axis)
    return int(later.any(case.time_axis).sum())


def _in_words(sizes: range) -> str:
    """Return a class of sizes in words; the last class has no end."""
    if sizes.stop > LARGEST:
        return f"{sizes[0]} and more"
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _class_of(size: int, classes: Sequence[range]) -> str:
    return _in_words(next((sizes for sizes in classes if size in sizes), classes[-1]))
