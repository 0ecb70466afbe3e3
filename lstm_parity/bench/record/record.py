"""The record of a benchmark: what was measured, on which machine, with which settings. JSON on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from lstm_parity.annotations import JsonObject
from lstm_parity.bench.cases import BenchCase
from lstm_parity.bench.contenders.registry import OURS, REFERENCE
from lstm_parity.bench.record.measurements import DIFFERS, FAILED, LEFT_OUT, TIMED, Measurement, Round
from lstm_parity.bench.record.summary import summarize
from lstm_parity.bench.record.validate import problems_of
from lstm_shared.errors import InputError

FORMAT = 1

Fact = str | float | None


@dataclass(frozen=True)
class Record:
    """Everything that one run of the benchmark measured, and what it takes to repeat it.

    Attributes:
        date: when the run began, ISO 8601, UTC.
        command: what to type to repeat the run.
        device: the processor, its cores, and the GPU if the run used one.
        versions: distribution -> version.
        environment: environment variables that change the speed (XLA_FLAGS, MALLOC_…, …) -> value.
        settings: threads, device, precision, rounds, seconds, and the load on the machine before the run.
        missing: contender that took no part -> why.
        cases: name -> case, with all sizes and the dtype.
        measurements: in the order of the run.
    """

    date: str
    command: str
    device: Mapping[str, Fact]
    versions: Mapping[str, str]
    environment: Mapping[str, str]
    settings: Mapping[str, Fact]
    missing: Mapping[str, str]
    cases: Mapping[str, BenchCase]
    measurements: tuple[Measurement, ...]

    @property
    def ok(self) -> bool:
        """Whether something was timed, no contender's numbers differed, and neither torch nor ours failed."""
        return any(one.outcome == TIMED for one in self.measurements) and not any(
            one.outcome == DIFFERS or (one.outcome == FAILED and one.contender in (OURS, REFERENCE))
            for one in self.measurements
        )

    def groups(self) -> dict[tuple[str, str], dict[str, Measurement]]:
        """Return (case, mode) -> contender -> measurement, without those that were left out."""
        groups: dict[tuple[str, str], dict[str, Measurement]] = {}
        for one in self.measurements:
            if one.outcome != LEFT_OUT:
                groups.setdefault((one.case, one.mode), {})[one.contender] = one
        return groups

    def only(self, cases: Sequence[str] = (), modes: Sequence[str] = ()) -> "Record":
        """Return the part of the record with these cases and modes. Naming none keeps all of them.

        Raises:
            InputError: the record does not have one of the names (one line for each, with the names it has), or has
                none of these cases in any of these modes.
        """
        recorded = tuple(dict.fromkeys(one.mode for one in self.measurements))
        wanted = {"--case": (cases, tuple(self.cases)), "--mode": (modes, recorded)}
        InputError.raise_any(
            [
                f"{option} {name}: not in this record, expected one of {', '.join(known)}"
                for option, (names, known) in wanted.items()
                for name in names
                if name not in known
            ]
        )
        kept = tuple(
            one for one in self.measurements if one.case in (cases or self.cases) and one.mode in (modes or recorded)
        )
        if not kept:
            asked = " ".join(f"{option} {name}" for option, (names, _) in wanted.items() for name in names)
            raise InputError(f"{asked}: this record has no such case in such a mode")
        named = {one.case for one in kept}
        return replace(self, measurements=kept, cases={name: self.cases[name] for name in self.cases if name in named})

    def to_dict(self) -> JsonObject:
        """Return everything for JSON. Each measurement also gets the figures computed from it, as "summary"."""
        groups = self.groups()
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content["cases"] = {name: case.to_dict() for name, case in self.cases.items()}
        content["measurements"] = [
            asdict(one) | {"summary": summarize(one, groups.get((one.case, one.mode), {}))} for one in self.measurements
        ]
        return {"format": FORMAT, **content}


def read_record(path: Path) -> Record:
    """Read a record from a file that ``lstm-parity bench --json`` wrote.

    Raises:
        OSError: the file does not exist or cannot be read.
        InputError: the file is not such a record, or has another format version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: not a record of lstm-parity bench: expected an object with a format") from error
    if version != FORMAT or isinstance(version, bool):
        raise InputError(f"{path}: a record of format {str(version)[:40]!r}, expected format {FORMAT}: measure again")
    if problems := list(problems_of(content)):
        more = f", and {len(problems) - 1} more like it" if len(problems) > 1 else ""
        raise InputError(f"{path}: damaged, or a record of another version: {problems[0]}{more}")
    content["cases"] = {name: BenchCase(**case) for name, case in content["cases"].items()}
    content["measurements"] = tuple(map(_read_measurement, content["measurements"]))
    return Record(**content)


def _read_measurement(content: dict[str, Any]) -> Measurement:
    own = {name: value for name, value in content.items() if name != "summary"}
    own["rounds"] = tuple(Round(**one) for one in content.get("rounds", ()))
    return Measurement(**own)
