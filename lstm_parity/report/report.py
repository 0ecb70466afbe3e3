"""The report of a check: the answer first, then the evidence, and where and how the check ran."""

import json
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group
from rich.text import Text

from lstm_parity.compare.coverage import Compared, adam_steps, in_words
from lstm_parity.compare.rows import Row
from lstm_parity.compare.sensitivity import Sensitivity
from lstm_parity.report.sentences import explained, place
from lstm_parity.report.tables import indented, percent, stage_in_words, titled_table
from lstm_shared.finite import json_ready
from lstm_shared.printable import printable

if TYPE_CHECKING:
    from lstm_parity.diagnosis.explain import Diagnosis

Verdict = Literal["agree", "differ", "undecided"]

# Number of rows shown by default, worst first. With the answer above, they fit on one screen.
SHOWN_ROWS = 10


@dataclass(frozen=True)
class Report:
    """Result of ``check``.

    Attributes:
        rows: every comparison, in the order of computation.
        environment: versions, devices and precision settings.
        seed: seed of everything that was drawn at random.
        seconds: time each backend took, compilation included.
        command: the command that repeats the check; empty if it was called from Python.
        undecided: why there is no verdict, one sentence for each reason: the inputs do not reach a part of the model,
            or a result responds too strongly to rounding errors. Empty if everything that must be judged was judged.
        notes: what was not compared, or only in part, and why; one sentence each.
        sensitivity: how far the results move with each weight, gate and state.
        diagnosis: the mistake that explains the first outputs that differ, if a known one does.
    """

    rows: tuple[Row, ...]
    environment: dict[str, str]
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
    command: str = ""
    undecided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    diagnosis: "Diagnosis | None" = None

    @property
    def verdict_word(self) -> Verdict:
        """ "differ" if a comparison fails, "undecided" if something could not be judged, else "agree"."""
        if any(not row.ok for row in self.rows):
            return "differ"
        return "undecided" if self.undecided or not self.rows else "agree"

    @property
    def ok(self) -> bool:
        """True if something was compared, every row is within its tolerance, and all of it was judged."""
        return self.verdict_word == "agree"

    @property
    def exit_code(self) -> int:
        """0 for agree, 1 for differ, 3 for undecided."""
        return {"agree": 0, "differ": 1, "undecided": 3}[self.verdict_word]

    @property
    def worst_first(self) -> list[Row]:
        """The rows, sorted by their share of the tolerance, the largest first."""
        return sorted(self.rows, key=lambda row: row.used, reverse=True)

    @property
    def first_divergence(self) -> Row | None:
        """The first failed row in the order of computation, which is the place to look; None if all agree.

        Its ``location``, if it has one, says more than its index: see ``Row``.
        """
        first = next((row for row in self.rows if not row.ok), None)
        if first is None or first.stage != "adam":
            return first
        steps = [row for row in self.rows if not row.ok and (row.stage, row.dtype) == (first.stage, first.dtype)]
        return min(steps, key=lambda row: row.where[:1])

    @property
    def location(self) -> str:
        """A sentence on where the sides first differ, in the model, the outputs or a gradient; empty if unknown."""
        return next((str(row.location) for row in self.rows if row.location is not None), "")

    def verdict(self) -> str:
        """Return the verdict in one line: how closely both sides agree, where they first differ, or what is unknown.

        Like every sentence of a report, it is safe to print, whatever the names in it contain: see ``printable``.
        """
        return printable(self._verdict())

    def _verdict(self) -> str:
        count = f"{len(self.rows)} comparison{'s' if len(self.rows) != 1 else ''}"
        if self.verdict_word == "undecided":
            if not self.rows:
                return "undecided: nothing was compared"
            return f"undecided: {self.undecided[0]}; what was compared agrees: {count} {in_words(self.rows)}"
        if self.verdict_word == "agree":
            worst = self.worst_first[0]
            closest = (
                f"the closest to its limit uses {percent(worst.used)} of the tolerance "
                f"({stage_in_words(worst)}, {worst.name}, {worst.dtype})"
            )
            compared = Compared.of(self.rows)
            if compared.gradients or all(row.stage not in ("forward", "gradient") for row in self.rows):
                return f"agree: {count} {in_words(self.rows)}, {closest}"
            return f"agree in {compared.dtypes} {compared.things} only: {count}, {closest}"
        row = self.first_divergence
        assert row is not None
        failed = sum(not row.ok for row in self.rows)
        return f"differ: {failed} of {count}; first in {place(row)}"

    def answer(self) -> list[str]:
        """Return the lines after the verdict: where the sides first differ, the mistake, its repair, open questions."""
        lines = [self.location] if self.location else []
        if self.diagnosis is not None:
            lines += explained(self.diagnosis)
        open_questions = self.undecided if self.verdict_word == "differ" else self.undecided[1:]
        return [printable(line) for line in (*lines, *open_questions, *self.notes)]

    def failures(self) -> list[str]:
        """Return one line per failed row, in the order of computation, and one that locates the first."""
        lines = [place(row) for row in self.rows if not row.ok] + ([self.location] if self.location else [])
        return [printable(line) for line in lines]

    def settings(self) -> Text:
        """Return one line with versions, devices, precision settings, the seed and the command."""
        named = [*self.environment.items(), ("seed", self.seed)]
        named += [("command:", self.command)] if self.command else []
        return Text(printable("; ".join(f"{name} {value}" for name, value in named)), style="dim")

    def headline(self) -> Text:
        """Return the verdict in its color."""
        style = {"agree": "bold green", "differ": "bold red", "undecided": "bold yellow"}[self.verdict_word]
        return Text(f"verdict: {self.verdict()}", style=style)

    def screen(self, *, every_row: bool = False) -> Group:
        """Return what a terminal shows: the answer, the worst rows (or all), and how the check ran."""
        return Group(self.headline(), *map(indented, self.answer()), Text(), self.evidence(every_row=every_row))

    def evidence(self, *, every_row: bool = False) -> Group:
        """Return the evidence for the answer: the worst rows (or all), and how the check ran."""
        rows = self.worst_first if every_row else self.worst_first[:SHOWN_ROWS]
        parts = titled_table(rows, self.rows, agree=self.ok) if rows else []
        return Group(*parts, self.settings())

    def __rich__(self) -> Group:
        return self.screen()

    def __str__(self) -> str:
        return self.text()

    def text(self, *, every_row: bool = False) -> str:
        """Return what the screen shows, without colors and with every sentence on one line."""
        text = StringIO()
        Console(file=text, width=10_000, no_color=True).print(self.screen(every_row=every_row))
        return "\n".join(map(str.rstrip, text.getvalue().rstrip().split("\n")))

    def to_json(self) -> str:
        """Return everything as JSON text. NaN and infinity become null, and the row's ``problem`` says so."""
        first = self.first_divergence
        content = {
            "ok": self.ok,
            "verdict_word": self.verdict_word,
            "verdict": self.verdict(),
            "seed": self.seed,
            "location": self.location,
            "first_divergence": None if first is None else asdict(first),
            "undecided": self.undecided,
            "notes": self.notes,
            "adam_steps": adam_steps(self.rows),
            "diagnosis": None if self.diagnosis is None else json.loads(self.diagnosis.to_json()),
            "sensitivity": [asdict(one) for one in self.sensitivity],
            "command": self.command,
            "seconds": self.seconds,
            "environment": self.environment,
            "rows": [asdict(row) | {"ok": row.ok} for row in self.rows],
        }
        return json.dumps(json_ready(content), indent=2, allow_nan=False)
