"""Sentences of a report: where a row is first wrong, and which mistake explains the outputs."""

from typing import TYPE_CHECKING

from lstm_parity.compare.places import rounded
from lstm_parity.compare.rows import Row
from lstm_parity.report.tables import stage_in_words

if TYPE_CHECKING:
    from lstm_parity.diagnosis.explain import Diagnosis


def explained(diagnosis: "Diagnosis") -> list[str]:
    """Name the mistakes that explain the outputs, with their repairs; nothing if the outputs are right."""
    if diagnosis.right:
        return []
    if not diagnosis.explanations:
        return ["none of the known mistakes explains the outputs"]
    best, *others = diagnosis.explanations
    lines = []
    for mistake in best.mistakes:
        lines += [f"{mistake.identifier}: {mistake.words}", f"  repair: {mistake.repair}"]
    if others:
        names = [" with ".join(one.identifiers) for one in others]
        lines.append(
            f"  these outputs cannot tell it apart from {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        )
    return lines


def place(row: Row) -> str:
    """Say where a row has its first wrong value (or its worst, if all are right), with both values."""
    index = row.where[1:] if row.stage == "adam" else row.where
    where = f" at {list(index)}" if index else ""
    texts = rounded(row.values, row.tolerance)
    candidate, reference = (f"{text} ({side})" for text, side in zip(texts, row.sides, strict=True))
    what = row.problem or f"{candidate} against {reference}"
    setting = f" ({row.setting})" if row.setting else ""
    return f"{stage_in_words(row)}, {row.name}{where}{setting}, {row.dtype}: {what}"
