"""What a set of comparisons covers, in words: precisions, outputs, states, gradients, optimizer steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from lstm_parity.compare.rows import Row
from lstm_shared.words import listed

_OUTPUTS = ("outputs", "predictions", "h", "short_memory")


@dataclass(frozen=True)
class Compared:
    """What was compared.

    Attributes:
        dtypes: the precisions, as "float64 and float32".
        things: "outputs, states and gradients"; optimizer steps are counted.
        gradients: whether gradients are among them.
    """

    dtypes: str
    things: str
    gradients: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Self:
        """What these rows cover."""
        things = []
        forward = {row.name for row in rows if "forward" in row.stage}
        if forward & {*_OUTPUTS}:
            things.append("outputs")
        if forward - {*_OUTPUTS}:
            things.append("states")
        gradients = {row.name for row in rows if row.stage == "gradient"}
        if gradients - {"inputs", "h_0", "c_0"}:
            things.append("gradients")
        elif gradients:
            things.append("gradients of the inputs")
        if (steps := adam_steps(rows)) is not None:
            judged, taken = steps
            share = f"{judged} of {taken}" if judged < taken else f"{taken}"
            things.append(f"{share} Adam step{'s' if taken != 1 else ''}")
        others = {row.stage for row in rows} - {"forward", "loss", "gradient", "adam"}
        things += sorted(stage.replace(" steps", " training steps") for stage in others if "step" in stage)
        return cls(listed(dict.fromkeys(row.dtype for row in rows)), listed(things), bool(gradients))


def in_words(rows: Sequence[Row]) -> str:
    """As "in float64 and float32 (outputs, states and gradients)"."""
    compared = Compared.of(rows)
    return f"in {compared.dtypes}" + (f" ({compared.things})" if compared.things else "")


def adam_steps(rows: Sequence[Row]) -> tuple[int, int] | None:
    """(judged, taken): optimizer steps in the first precision, which is the one that decides; None without any."""
    of_adam = [row for row in rows if row.stage == "adam" and row.adam_steps is not None]
    return next((row.adam_steps for row in of_adam if row.dtype == of_adam[0].dtype), None)
