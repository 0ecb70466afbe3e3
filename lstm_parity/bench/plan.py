"""The plan of a benchmark: cases, modes, contenders and rounds, from the options of the command line."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from lstm_parity.bench.cases import CASES, FORWARD, GRADIENT, MODES, NAMED_CASES, SCALING_CASES, BenchCase
from lstm_parity.bench.contenders.registry import CONTENDERS, OURS, PEERS, REFERENCE
from lstm_shared.errors import InputError
from lstm_shared.requirements import not_installed


@dataclass(frozen=True)
class Plan:
    """A benchmark to run.

    Attributes:
        cases: names of cases.
        modes: names of modes. A case that supports none of them runs in its own modes.
        contenders: names of installed contenders.
        missing: contender that was asked for and is not installed -> why it is left out.
        rounds: how often each contender is timed on each case in each mode.
        seconds: roughly how long each round lasts.
        scaling: contenders that also run the points of the scaling curves.
    """

    cases: tuple[str, ...]
    modes: tuple[str, ...]
    contenders: tuple[str, ...]
    rounds: int
    seconds: float
    missing: dict[str, str]
    scaling: tuple[str, ...]

    def groups(self) -> Iterator[tuple[BenchCase, str, tuple[str, ...]]]:
        """Yield each case and mode with its contenders, including those that will refuse it."""
        for case in map(CASES.__getitem__, self.cases):
            chosen = [name for name in self.contenders if not case.curve or name in self.scaling]
            for mode in self._modes_of(case):
                yield case, mode, tuple(chosen)

    def _modes_of(self, case: BenchCase) -> tuple[str, ...]:
        return tuple(mode for mode in case.modes if mode in self.modes) or case.modes


_SCALING = (REFERENCE, OURS, "jax-scan", "flax")

# Under two minutes on two cores: shapes that compile and run quickly, and the contenders that most people know.
_QUICK = Plan(
    cases=("tiny", "small", "h64", "streaming", "by-hand"),
    modes=(FORWARD, GRADIENT),
    contenders=(REFERENCE, "lightning", OURS, "jax-scan", "jax-step", "flax"),
    rounds=2,
    seconds=0.1,
    missing={},
    scaling=_SCALING,
)
_DEFAULT = Plan(NAMED_CASES, tuple(MODES), tuple(CONTENDERS), rounds=3, seconds=0.4, missing={}, scaling=_SCALING)
_FULL = replace(_DEFAULT, cases=(*NAMED_CASES, *SCALING_CASES), rounds=5, seconds=0.6)


def make_plan(
    *,
    quick: bool = False,
    full: bool = False,
    cases: Sequence[str] = (),
    modes: Sequence[str] = (),
    contenders: Sequence[str] = (),
    peers: bool = True,
    rounds: int | None = None,
    seconds: float | None = None,
) -> Plan:
    """Make the plan of the quick, the default or the full benchmark. Arguments replace its own choices.

    Raises:
        InputError: for unknown names (with the known ones), numbers out of range, options that exclude each other,
            packages that are not installed, or a plan with nothing to run. It lists all that is wrong with the names,
            numbers and options.
    """
    problems = [*_unknown("case", cases, CASES), *_unknown("mode", modes, MODES)]
    problems += _unknown("contender", contenders, CONTENDERS)
    if quick and full:
        problems.append("--quick and --full: give one of them, not both")
    if rounds is not None and rounds < 1:
        problems.append(f"--rounds is {rounds}, expected 1 or more")
    if seconds is not None and not 0 < seconds < float("inf"):
        problems.append(f"--seconds is {seconds:g}, expected a positive number")
    if not peers:
        problems += [f"--contender {name}: left out by --no-peers" for name in contenders if name in PEERS]
    for name in dict.fromkeys(cases):
        if modes and name in CASES and set(CASES[name].modes).isdisjoint(modes):
            problems.append(f"--case {name}: it can only be timed in the mode {', '.join(CASES[name].modes)}")
    InputError.raise_any(problems)
    frameworks = [name for name in ("torch", "jax") if find_spec(name) is None]
    InputError.raise_any([not_installed(name) for name in frameworks])

    preset = _QUICK if quick else _FULL if full else _DEFAULT
    wanted = [name for name in contenders or preset.contenders if peers or name not in PEERS]
    wanted = list(dict.fromkeys(wanted))
    there = tuple(name for name in wanted if CONTENDERS[name].installed)
    plan = Plan(
        cases=tuple(dict.fromkeys(cases)) or preset.cases,
        modes=tuple(dict.fromkeys(modes)) or preset.modes,
        contenders=there,
        rounds=preset.rounds if rounds is None else rounds,
        seconds=preset.seconds if seconds is None else seconds,
        missing={n: not_installed(CONTENDERS[n].package, "bench") for n in wanted if n not in there},
        scaling=there if contenders else _SCALING,
    )
    if modes and not cases:  # drop cases with none of these modes, unless they were asked for by name
        plan = replace(plan, cases=tuple(n for n in plan.cases if not set(CASES[n].modes).isdisjoint(modes)))
    if not plan.contenders:
        raise InputError([f"{name}: {why}" for name, why in plan.missing.items()])
    if all(CONTENDERS[name].refuses(case, mode) for case, mode, names in plan.groups() for name in names):
        raise InputError(
            [
                f"--contender {name}: cannot run {case.name} in the mode {mode}: {why}"
                for case, mode, names in plan.groups()
                for name in names
                if (why := CONTENDERS[name].refuses(case, mode))
            ]
        )
    return plan


def _unknown(kind: str, names: Sequence[str], known: Iterable[str]) -> list[str]:
    known = tuple(known)
    return [f"--{kind} {name}: unknown, expected one of {', '.join(known)}" for name in names if name not in known]
