"""The report of a check: a verdict, every row worst first, and where and how it was made."""

import json
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from lstm_parity.compare import Row
from lstm_parity.tables import table_of_numbers


@dataclass(frozen=True)
class Report:
    """What ``check`` found.

    Attributes:
        rows: every comparison, in the order of computation.
        environment: versions, devices and precision settings.
        seed: of whatever was drawn at random.
        seconds: time each backend took, compilation included.
        command: what to type to repeat it; empty when it was called from Python.
    """

    rows: tuple[Row, ...]
    environment: dict[str, str]
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
    command: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is something compared and every row is within its tolerance."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst_first(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.used, reverse=True)

    @property
    def first_divergence(self) -> Row | None:
        """The first failed row in the order of computation: the place to look; None when all agree.

        Its ``location`` says more than its index does, where more is known: see ``Row``.
        """
        first = next((row for row in self.rows if not row.ok), None)
        if first is None or first.stage != "adam":
            return first
        steps = [row for row in self.rows if not row.ok and (row.stage, row.dtype) == (first.stage, first.dtype)]
        return min(steps, key=lambda row: row.where[:1])

    @property
    def location(self) -> str:
        """Where in the model, in the outputs or in a gradient the two part first, as a sentence; empty if not known."""
        return next((str(row.location) for row in self.rows if row.location is not None), "")

    def verdict(self) -> str:
        """One line: agree with how much room, or differ and where first."""
        if not self.rows:
            return "nothing was compared"
        if self.ok:
            worst = self.worst_first[0]
            return (
                f"agree: {len(self.rows)} comparisons, the closest to its limit uses {_percent(worst.used)} "
                f"of the tolerance ({_stage(worst)}, {worst.name}, {worst.dtype})"
            )
        row = self.first_divergence
        assert row is not None
        failed = sum(not row.ok for row in self.rows)
        return f"differ: {failed} of {len(self.rows)} comparisons; first in {_place(row)}"

    def tables(self) -> list[Table]:
        """A rich table for each dtype and pair of sides; every row, worst first."""
        groups: dict[tuple[str, tuple[str, str]], list[Row]] = {}
        for row in self.worst_first:
            groups.setdefault((row.dtype, row.sides), []).append(row)
        order = list(dict.fromkeys((row.dtype, row.sides) for row in self.rows))
        return [_table(dtype, sides, groups[dtype, sides]) for dtype, sides in order]

    def failures(self) -> list[str]:
        """A line for each failed row, in the order of computation, and one for the place of the first."""
        return [_place(row) for row in self.rows if not row.ok] + ([self.location] if self.location else [])

    def settings(self) -> Text:
        """One line: versions, devices, precision settings, the seed and the command."""
        named = [*self.environment.items(), ("seed", self.seed)]
        named += [("command:", self.command)] if self.command else []
        return Text("; ".join(f"{name} {value}" for name, value in named), style="dim")

    def __rich__(self) -> Group:
        blank = Text()
        verdict = Text(f"verdict: {self.verdict()}", style="bold green" if self.ok else "bold red")
        tables = [part for table in self.tables() for part in (table, blank)]
        return Group(*tables, self.settings(), *(Text(line, style="red") for line in self.failures()), verdict)

    def __str__(self) -> str:
        text = StringIO()
        Console(file=text, width=120, no_color=True).print(self)
        return text.getvalue().rstrip()

    def to_json(self) -> str:
        """Everything, as JSON text; NaN and infinity as null, with the row's ``problem`` saying so."""
        first = self.first_divergence
        content = {
            "ok": self.ok,
            "verdict": self.verdict(),
            "seed": self.seed,
            "location": self.location,
            "first_divergence": None if first is None else asdict(first),
            "command": self.command,
            "seconds": self.seconds,
            "environment": self.environment,
            "rows": [asdict(row) | {"ok": row.ok} for row in self.rows],
        }
        return json.dumps(finite(content), indent=2, allow_nan=False)


def _table(dtype: str, sides: tuple[str, str], rows: list[Row]) -> Table:
    exact = any(row.errors is not None for row in rows)
    # With the distances from the truth there is no room for the tolerance itself; it is difference / used.
    columns = ["difference", *([] if exact else ["allowed"]), "used", "relative"]
    columns += [f"{side} off" for side in sides] if exact else []
    table = table_of_numbers(f"{dtype}, {sides[0]} against {sides[1]}", "array", columns)
    for row in rows:
        cells = describe_row(row)
        numbers = [cells[column] for column in columns if column in cells]
        numbers += [f"{error:.2f}" for error in row.errors or ()]
        table.add_row(cells["array"], *numbers, style="" if row.ok else "bold red")
    if exact:
        table.caption = "off: distance of each side from the float64 result, in eps · scale"
        table.caption_justify = "left"
    return table


def describe_row(row: Row) -> dict[str, str]:
    """The cells of a row as text, by the titles of their columns."""
    return {
        "array": f"{_stage(row)} {row.name}",
        "difference": f"{row.difference:.1e}",
        "allowed": f"{row.tolerance:.1e}",
        "used": _percent(row.used),
        "relative": f"{row.relative:.1e}",
    }


def _stage(row: Row) -> str:
    return f"adam step {row.where[0] + 1}" if row.stage == "adam" and row.where else row.stage


def _place(row: Row) -> str:
    index = row.where[1:] if row.stage == "adam" else row.where
    where = f" at {list(index)}" if index else ""
    what = row.problem or f"{row.values[0]!r} ({row.sides[0]}) against {row.values[1]!r} ({row.sides[1]})"
    return f"{_stage(row)}, {row.name}{where}, {row.dtype}: {what}"


def _percent(used: float) -> str:
    return f"{100 * used:.1f} %" if used < 10 else f"{used:.1e} ×"


def finite(value: Any) -> Any:
    """A JSON-ready copy in which NaN and infinity, which JSON has no word for, are None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
