"""``lstm-parity fuzz``: search for a case on which the backends differ."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from lstm_parity.cli.check_case import run_in_words
from lstm_parity.cli.options import JsonFile, refuse_options, require_whole
from lstm_parity.cli.outputs import require_outputs, save_each, write_json
from lstm_parity.cli.screen import say

_NAME = "failing-case.npz"


def fuzz(
    context: typer.Context,
    cases: Annotated[int, typer.Option(help="Number of cases to draw.")] = 200,
    minutes: Annotated[float | None, typer.Option(help="Time limit in minutes, instead of --cases.")] = None,
    seed: Annotated[int, typer.Option(help="Seed. The same seed draws the same cases.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write a failing case: an .npz file or a directory.")] = Path(
        _NAME
    ),
    json_file: JsonFile = None,
) -> None:
    """Search for a case on which the backends differ, in random models, data and options.

    The first cases try any two options together, and each option with the sizes at which our backend takes another
    path. The others are random. Each case compares outputs and gradients. The table says what was reached.

    If a case differs, it is reduced to the smallest one that still differs and written to a file. Replay it with
    lstm-parity check --case FILE.

    Exit code: 0 if all cases agree, 1 if one differs, 3 if there was no time for a case.
    """
    out = out / _NAME if out.is_dir() else out
    if minutes is not None:
        refuse_options(context, "give either --cases or --minutes", "cases")

    from lstm_parity.sides.case_files import case_in_words, require_case_name, write_case
    from lstm_shared.errors import InputError

    require_case_name(out)
    require_outputs({"--out": out, "--json": json_file})
    InputError.raise_any(require_whole("--seed", seed))

    from lstm_parity.fuzz import search
    from lstm_parity.sides.devices import jax_devices

    jax_devices()  # without a device, every case would fail, and only on our side
    found = search.fuzz(cases=None if minutes is not None else cases, minutes=minutes, seed=seed, progress=True)
    pace = (
        f"{found.cases_run} cases in {found.seconds:.1f} s, {found.compiled} compiled and "
        f"{found.cases_run - found.compiled} operation by operation, seed {seed}"
    )
    content = {
        "ok": found.failure is None and found.cases_run > 0,
        "cases_run": found.cases_run,
        "compiled": found.compiled,
        "undecided": found.undecided,
        "closest": found.closest,
        "seed": seed,
        "seconds": found.seconds,
        "reached": found.reach.to_dict(),
        "failure": None,
    }
    unsaved: list[str] = []
    code = 0
    failure = found.failure
    if failure is not None and found.report is not None:
        code = 1
        how = {"compiled": found.failure_compiled, "implementation": found.failure_implementation}
        words = case_in_words(failure)
        unsaved += save_each([(out, lambda path: write_case(path, failure, **how))])
        lines = [
            f"differ: one of {pace}; reduced to the smallest case that differs:",
            words + run_in_words(**how),
            f"verdict: {found.report.verdict()}",
        ]
        if not unsaved:
            lines.append(f"written to {out}; replay it with: lstm-parity check --case {shlex.quote(str(out))}")
        report = json.loads(found.report.to_json())
        content["failure"] = {"case": words, **how, "file": str(out), "report": report}
    elif not found.cases_run:
        code = 3
        lines = [f"undecided: there was no time for a case; --minutes is {minutes}, give it more"]
    else:
        open_cases = f"; {found.undecided} of them could only be judged in part" if found.undecided else ""
        closest = f"the closest to its limit uses {100 * found.closest:.1f} % of the tolerance"
        lines = [f"agree: {pace}; {closest}{open_cases}"]
    unsaved += save_each([(json_file, write_json(content))])
    say(*lines)
    say(*str(found.reach).splitlines())
    InputError.raise_any(unsaved)
    raise typer.Exit(code)
