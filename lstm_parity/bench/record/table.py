"""A record as text: rich tables for a terminal, and Markdown that compares ours with torch and the best other."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lstm_parity.bench.cases import FORWARD, GRADIENT, TRAINING
from lstm_parity.bench.contenders.registry import CONTENDERS, OURS, REFERENCE
from lstm_parity.bench.record.measurements import Measurement
from lstm_parity.bench.record.record import Record
from lstm_parity.bench.record.summary import Ratio, against_reference, as_times, ours_against, pays_off, strongest
from lstm_parity.report.tables import table_of_numbers

# If the medians of the rounds differ by more than this factor, something else disturbed them.
_UNSTEADY = 1.3

# On two lines each, so that the table fits 80 columns.
_COLUMNS = ("first\ncall", "a call", "quartiles", "µs a\nstep", "×\ntorch", "lowest–\nhighest")


# What the headings mean, for a terminal and for a page in Markdown.
_HEADINGS = (
    "first call: includes tracing and compiling; a call, quartiles: of the later calls, median over the rounds",
    "µs a step: the time of a call divided by its time steps, or by its Adam steps in training",
    "× torch: how many times as fast as torch eager in the same round; lowest–highest: over the rounds",
    "calls to pay off: after how many calls the total time, compiling included, is at most that of torch eager",
)
MARKDOWN_HEADINGS = (
    "T, B, I, H: time steps, batch size, input size, hidden size. torch ms, ours ms: one call, median over the rounds. "
    "× torch: how many times as fast as torch eager in the same round, with the lowest and highest of the rounds. "
    "best other JAX library: the fastest one, and how many times as fast as that library ours is. –: not timed."
)


def show(record: Record) -> Group:
    """Return everything in a record: a table for each case and mode, what was left out, and the settings."""
    parts: list[Table | Text] = []
    for (case, mode), group in record.groups().items():
        title = f"{case} ({record.cases[case].in_words()}), {mode}"
        parts += [_table(title, mode, group), Text(_verdict(group), style="dim")]
        parts += [Text(f"{name}: {one.reason}", style="red") for name, one in group.items() if one.reason]
        if unsteady := [
            name for name, one in group.items() if one.rounds and max(one.a_step) > _UNSTEADY * min(one.a_step)
        ]:
            parts.append(Text(f"unsteady, measure again on an idle machine: {', '.join(unsteady)}", style="yellow"))
        parts.append(Text())
    names = dict.fromkeys(one.contender for one in record.measurements if one.rounds)
    titles = [f"{name}: {title}" for name in names if (title := _title(name, False) or _title(name, True))]
    parts += [Text("; ".join(titles), style="dim")]
    parts += [Text(line, style="dim") for line in _HEADINGS]
    parts += [Text(f"{name}: left out: {why}", style="yellow") for name, why in record.missing.items()]
    parts.append(Text(settings(record), style="dim"))
    return Group(*parts)


def settings(record: Record) -> str:
    """Return one line with the processor, settings, versions, environment variables, date and command."""
    named = [*record.device.items(), *record.settings.items(), *record.versions.items(), *record.environment.items()]
    named += [("date", record.date), *([("command:", record.command)] if record.command else [])]
    return "; ".join(f"{name} {value}" for name, value in named)


def markdown(record: Record) -> str:
    """Return a row for each case: torch, ours and the best other JAX library, forward and with the gradient."""
    modes = (FORWARD, GRADIENT)
    groups = record.groups()
    lines = [
        "| case | "
        + " | ".join(f"{mode}: torch ms | ours ms | × torch | best other JAX library" for mode in modes)
        + " |",
        "|---|" + "---:|---:|---:|---|" * len(modes),
    ]
    for name, case in record.cases.items():
        cells = [cell for mode in modes for cell in _cells(groups.get((name, mode), {}))]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {name} ({case.in_words()}) | {' | '.join(cells)} |")
    training = [(name, groups[name, TRAINING]) for name in record.cases if (name, TRAINING) in groups]
    if rows := list(_training_rows(training)):
        lines += ["", "| whole training | contender | µs an Adam step | × torch |", "|---|---|---:|---:|", *rows]
    return "\n".join(lines)


def _table(title: str, mode: str, group: Mapping[str, Measurement]) -> Table:
    table = table_of_numbers(title, "contender", (*_COLUMNS, f"{'step' if mode == TRAINING else 'call'}s to\npay off"))
    timed = [one for one in group.values() if one.rounds]
    for one in sorted(timed, key=lambda one: sorted(one.a_step)[len(one.a_step) // 2]):
        table.add_row(one.contender, *_figures(one, group), style="bold" if one.contender == OURS else "")
    for name, one in group.items():
        if not one.rounds:
            table.add_row(name, one.outcome, style="red")
    return table


def _figures(one: Measurement, group: Mapping[str, Measurement]) -> list[str]:
    steady, to_torch, after = one.steady, against_reference(one, group), pays_off(one, group)
    assert steady is not None
    return [
        "" if one.first_call is None else _time(one.first_call),
        _time(steady.median),
        _time(steady.lower_quartile, steady.upper_quartile),
        _digits(1e6 * steady.median / one.steps),
        "" if to_torch is None else as_times(to_torch.median),
        "" if to_torch is None else f"{as_times(to_torch.lowest)}–{as_times(to_torch.highest)}",
        f"{after:,}" if isinstance(after, int) else after or "",
    ]


def _verdict(group: Mapping[str, Measurement]) -> str:
    used = max((one.tolerance_used or 0.0 for one in group.values() if one.rounds), default=0.0)
    line = f"same numbers: at most {100 * used:.2g} % of the tolerance used"
    best = strongest(group)
    ratio = ours_against(group, best)
    if ratio is None or best is None:
        return line
    return f"{line}; {OURS} is {_with_spread(ratio)} times as fast as {best.contender}, the fastest of the others"


def _cells(group: Mapping[str, Measurement]) -> list[str]:
    torch, ours = (group.get(name) for name in (REFERENCE, OURS))
    times = [_digits(1e3 * one.steady.median) if one and one.steady else "–" for one in (torch, ours)]
    to_torch = None if ours is None else against_reference(ours, group)
    best = strongest(group, lambda family: family == "peer")
    to_best = ours_against(group, best)
    other = "–" if best is None or to_best is None else f"{best.contender}: {_with_spread(to_best)}"
    return [*times, "–" if to_torch is None else f"**{as_times(to_torch.median)}** {_spread(to_torch)}", other]


def _training_rows(training: Sequence[tuple[str, Mapping[str, Measurement]]]) -> Iterator[str]:
    for case, group in training:
        for one in group.values():
            if one.steady is not None:
                ratio = against_reference(one, group)
                title = _title(one.contender, case == "by-hand")
                shown = "–" if ratio is None else f"{as_times(ratio.median)} {_spread(ratio)}"
                step = _digits(1e6 * one.steady.median / one.steps)
                yield f"| {case} | {one.contender}{title and f': {title}'} | {step} | {shown} |"


def _title(contender: str, by_hand: bool) -> str:
    known = CONTENDERS.get(contender)  # the record may come from another version
    return "" if known is None else known.by_hand if by_hand else known.title


def _with_spread(ratio: Ratio) -> str:
    return f"{as_times(ratio.median)} {_spread(ratio)}"


def _spread(ratio: Ratio) -> str:
    return f"({as_times(ratio.lowest)}–{as_times(ratio.highest)})"


def _time(*seconds: float) -> str:
    """Format seconds in the unit that suits the last and largest of them; two make a range."""
    largest = seconds[-1]
    unit, size = ("s", 1.0) if largest >= 1 else ("ms", 1e-3) if largest >= 1e-3 else ("µs", 1e-6)
    return f"{'–'.join(_digits(value / size) for value in seconds)} {unit}"


def _digits(value: float) -> str:
    """Format with three significant digits and no power of ten."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"
