"""A description, as text, of what a set of comparisons covers: precisions, outputs, states, gradients, Adam steps."""

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
        dtypes: the precisions, such as "float64 and float32".
        things: the kinds of arrays, such as "outputs, states and gradients", and how many optimizer steps.
        gradients: whether gradients were compared.
    """

    dtypes: str
    things: str
    gradients: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Self:
        """Return what these rows cover."""
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
    """Describe what the rows cover, as in "in float64 and float32 (outputs, states and gradients)"."""
    compared = Compared.of(rows)
    return f"in {compared.dtypes}" + (f" ({compared.things})" if compared.things else "")


def adam_steps(rows: Sequence[Row]) -> tuple[int, int] | None:
    """Return (judged, taken), the Adam steps in the first precision, which decides the verdict; None without steps."""
    of_adam = [row for row in rows if row.stage == "adam" and row.adam_steps is not None]
    return next((row.adam_steps for row in of_adam if row.dtype == of_adam[0].dtype), None)
