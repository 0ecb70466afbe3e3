"""Kill training at random moments and damage its checkpoints: does every resumed run equal the straight run?

    python benchmarks/kills.py --kills 500 --record benchmarks/kills.json
    python benchmarks/kills.py --show benchmarks/kills.json

Each trial starts ``lstm-parity train --checkpoint-dir`` in its own process and sends it SIGKILL, SIGTERM or SIGINT at a
random moment, either of its training or of its whole life. Some trials then kill the resumed run as well. Half of the
trials flip bits in the checkpoints or cut them short. Finally the run resumes and trains to the end. The results are:

- *straight*: weights, losses and predictions of the resumed run equal those of the straight run bit for bit;
- *refused*: one line said why the run could not resume, which may only happen after damage;
- *wrong*: anything else: different bits; a refusal without damage; no line about damage to the checkpoint that the run
  resumed from, or would have resumed from; an exit code other than the signal's; more lines on standard error than
  errors.

Processes are forked from one that has imported everything. A trial depends only on the seed and its number. Finished
trials can be kept in a file, so that an interrupted run continues where it stopped. The exit code is 0 if nothing is
wrong, otherwise 1.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}

BACKENDS = ("jax", "torch")
SIGNALS = {"SIGKILL": 137, "SIGTERM": 143, "SIGINT": 130}  # and their exit codes
DAMAGES = ("flip", "flip the first line", "cut", "empty", "flip all but one")
EPOCHS = {"jax": 4000, "torch": 30}  # about half a second of training, with a checkpoint every tenth of it
_OF_TRAINING = 0.75  # share of signals sent while checkpoints are being written; starting up takes most of a run
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT  # ask whether a process has ended, and leave it to be waited for

Trial = dict[str, Any]


def main() -> int:
    """Run the remaining trials, print the table, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=Path, help="keep finished trials in this file (default: none)")
    parser.add_argument("--record", type=Path, help="write the counts to this file")
    parser.add_argument("--show", type=Path, help="print a record instead of running")
    arguments = parser.parse_args()
    if arguments.show:
        record = json.loads(arguments.show.read_text())
    else:
        record = summary(run(arguments.kills, arguments.seed, arguments.trials))
        record |= {"command": f"python benchmarks/kills.py --kills {arguments.kills} --seed {arguments.seed}"}
        record |= {"processor": platform.machine(), "system": platform.system()}
        if arguments.record:
            arguments.record.write_text(json.dumps(record, indent=1) + "\n")
    show(record)
    return 1 if record["wrong"] else 0


def run(kills: int, seed: int, kept: Path | None) -> list[Trial]:
    """Return every trial. Those that the file has are not run again."""
    done: dict[int, Trial] = {}
    if kept is not None and kept.exists():
        done = {trial["number"]: trial for trial in map(json.loads, kept.read_text().splitlines())}
        done = {number: trial for number, trial in done.items() if trial["seed"] == seed}
    _import_everything()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = stack.enter_context(kept.open("a")) if kept is not None else None
        place = Path(folder)
        straight: dict[str, dict[str, Any]] = {}
        seconds: dict[str, tuple[float, float]] = {}
        for backend in BACKENDS:  # once to compile, for all to reuse, and once to time it
            straight[backend] = _in_a_process(lambda b=backend: _resume(b, place / b), place)
            seconds[backend] = _times(backend, place)
        for number in range(kills):
            if number not in done:
                trial = _trial(number, seed, place / str(number), straight, seconds) | {"number": number, "seed": seed}
                done[number] = trial
                if file is not None:
                    file.write(json.dumps(trial) + "\n")
                    file.flush()
                if trial["result"] == "wrong":
                    print(f"trial {number}: {trial}", file=sys.stderr)
                shutil.rmtree(place / str(number), ignore_errors=True)
                if (number + 1) % 50 == 0:
                    print(f"{number + 1} of {kills}", file=sys.stderr, flush=True)
    return [done[number] for number in range(kills)]


def _trial(
    number: int, seed: int, place: Path, straight: dict[str, Any], seconds: dict[str, tuple[float, float]]
) -> Trial:
    draw = random.Random(f"{seed} {number}")
    backend = BACKENDS[number % 2]
    directory = place / "run"
    place.mkdir()
    trial: Trial = {"backend": backend, "signals": [], "damage": None}
    for _ in range(draw.choice([1, 1, 1, 2])):
        name = draw.choice(list(SIGNALS))
        training = draw.random() < _OF_TRAINING
        after = draw.uniform(0, 1.1 * seconds[backend][training])
        trial["signals"].append([name, "of training" if training else "of all", round(after, 4)])
        code, errors = _killed(backend, directory, place, getattr(signal, name), after, training)
        if code not in (0, SIGNALS[name]) or errors:
            return trial | {
                "result": "wrong",
                "why": f"exit code {code} after {name}, and on standard error {errors!r}",
            }
    files = sorted(directory.glob("epoch-*.checkpoint"), key=lambda path: int(path.stem[6:])) if place.exists() else []
    trial["checkpoints"] = len(files)
    damaged: list[Path] = []
    if files and draw.random() < 0.5:
        trial["damage"] = draw.choice(DAMAGES)
        damaged = _damage(trial["damage"], files, draw)
    sound = [path for path in files if path not in damaged]
    try:
        resumed = _in_a_process(lambda: _resume(backend, directory), place)
    except RuntimeError as error:
        return trial | {"result": "wrong", "why": str(error)}
    if "refused" in resumed:
        trial |= {"why": resumed["refused"]}
        expected = bool(damaged) and not sound and len(resumed["refused"]) == 1
        return trial | {"result": "refused" if expected else "wrong"}
    passed_over = [path for path in damaged if not sound or int(path.stem[6:]) > int(sound[-1].stem[6:])]
    unsaid = [path.name for path in passed_over if not any(path.name in note for note in resumed["notes"])]
    same = resumed["digest"] == straight[backend]["digest"]
    from_newest = resumed["resumed_from"] == (int(sound[-1].stem[6:]) if sound else 0)
    trial |= {"resumed_from": resumed["resumed_from"], "notes": len(resumed["notes"])}
    if same and from_newest and not unsaid and len(resumed["notes"]) == bool(passed_over):
        return trial | {"result": "straight"}
    return trial | {"result": "wrong", "why": f"same bits: {same}, newest: {from_newest}, not mentioned: {unsaid}"}


def _damage(kind: str, files: list[Path], draw: random.Random) -> list[Path]:
    """Damage some of the checkpoints, most often the newest, and return which."""
    if kind == "flip all but one":
        damaged = draw.sample(files, len(files) - 1)
    else:
        damaged = [files[-1] if draw.random() < 0.6 else draw.choice(files)]
        if draw.random() < 0.2:
            damaged = list(files)
    for path in damaged:
        content = bytearray(path.read_bytes())
        if kind == "cut":
            del content[draw.randrange(len(content)) :]
        elif kind == "empty":
            content.clear()
        else:
            last = content.index(b"\n") if kind == "flip the first line" else len(content)
            for _ in range(draw.choice([1, 1, 3])):
                # One flip may undo another. Only the line below the loop flips the first byte.
                content[draw.randrange(1, last)] ^= 1 << draw.randrange(8)
            content[0] ^= 1 if kind == "flip the first line" else 0
        path.write_bytes(content)
    return damaged


def _killed(backend: str, directory: Path, place: Path, number: int, after: float, training: bool) -> tuple[int, str]:
    """Run the command, send it a signal, and return its exit code, as a shell gives it, and its standard error.

    Args:
        after: seconds from the start or, if ``training``, from the first checkpoint.
    """
    err = place / "stderr.txt"
    before = set(directory.glob("epoch-*"))
    # Until the command handles signals, they end the process, as they would end Python. None may reach this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    else:
        _command(["train", "--backend", backend, "--epochs", str(EPOCHS[backend]), "--dtype", "float64",
                  "--checkpoint-dir", str(directory), "--resume"], err)  # fmt: skip
    if training:
        while set(directory.glob("epoch-*")) <= before and os.waitid(os.P_PID, child, _LOOK) is None:
            time.sleep(0.002)
    time.sleep(after)
    os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (code if code >= 0 else 128 - code), err.read_text() if err.exists() else ""


def _times(backend: str, place: Path) -> tuple[float, float]:
    """Return the seconds of a whole run, and those from its first checkpoint on."""
    directory = place / f"timed {backend}"
    first: list[float] = []
    began = time.perf_counter()

    def watched() -> None:
        while not list(directory.glob("epoch-*")):
            time.sleep(0.002)
        first.append(time.perf_counter())

    watcher = threading.Thread(target=watched, daemon=True)
    watcher.start()
    _in_a_process(lambda: _resume(backend, directory), place)
    ended = time.perf_counter()
    watcher.join()
    return ended - began, ended - first[0]


def _command(arguments: list[str], err: Path) -> None:
    """Run the command line in this new process, with standard error in a file."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for number, name in ((1, os.devnull), (2, str(err))):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb", closefd=False)) for number in (1, 2))
    sys.argv = ["lstm-parity", *arguments]
    from lstm_parity.__main__ import main as command

    code = 1
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _resume(backend: str, directory: Path) -> dict[str, Any]:
    """Train to the end from the newest checkpoint. Return the result, or the lines that refuse to resume."""
    import numpy as np

    from lstm_parity.training import backends
    from lstm_shared import COMPANY_LABELS, COMPANY_PRICES, PUBLISHED_INIT
    from lstm_shared.errors import ReportedError
    from lstm_shared.training.run_identity import digest

    weights = {name: np.asarray(weight, np.float64) for name, weight in PUBLISHED_INIT.items()}
    data = tuple(np.asarray(array, np.float64) for array in (COMPANY_PRICES, COMPANY_LABELS))
    options: dict[str, Any] = {"checkpoint_dir": directory, "progress": True, "resume": True}
    try:
        result = backends.train(backend, weights, data, epochs=EPOCHS[backend], **options)  # pyright: ignore[reportArgumentType]
    except ReportedError as error:
        return {"refused": list(error.problems)}
    parts = (result.losses, result.predictions, *(result.weights[name] for name in sorted(result.weights)))
    return {"digest": digest(*parts), "resumed_from": result.resumed_from, "notes": list(result.notes)}


def _in_a_process(work: Callable[[], dict[str, Any]], place: Path) -> dict[str, Any]:
    """Do the work in a forked process and return its result. Raise a RuntimeError if it raises."""
    answer, said = place / "answer.json", place / "said.txt"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            with said.open("w") as file, contextlib.redirect_stderr(file):
                answer.write_text(json.dumps(work()))
        except BaseException as error:
            answer.write_text(json.dumps({"raised": f"{type(error).__name__}: {error}"}))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    content = json.loads(answer.read_text()) if answer.exists() else {"raised": "nothing, but its process died"}
    if "raised" in content:
        raise RuntimeError(f"the resumed run raised {content['raised']}")
    return content


def _import_everything() -> None:
    warnings.simplefilter("ignore")  # about forking: JAX is loaded, but has no threads yet
    import jax
    import lightning.pytorch  # noqa: F401
    import matplotlib.figure  # noqa: F401

    # Trials read compiled programs from here. Compiling would take most of their time.
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp(prefix="lstm-parity-kills-"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Return the counts, by backend and by kind of damage."""
    rows = []
    for backend in BACKENDS:
        for damage in (None, *DAMAGES):
            of_these = [trial for trial in trials if (trial["backend"], trial["damage"]) == (backend, damage)]
            counts = Counter(trial["result"] for trial in of_these)
            later = sum(trial.get("resumed_from", 0) > 0 for trial in of_these)
            rows.append({"backend": backend, "damage": damage or "none", "trials": len(of_these), "resumed": later}
                        | {result: counts[result] for result in ("straight", "refused", "wrong")})  # fmt: skip
    signals = Counter(name for trial in trials for name, *_ in trial["signals"])
    wrong = [trial for trial in trials if trial["result"] == "wrong"]
    return {"trials": len(trials), "signals": signals, "rows": rows, "wrong": wrong}


def show(record: dict[str, Any]) -> None:
    """Print a record."""
    signals = ", ".join(f"{count} {name}" for name, count in sorted(record["signals"].items()))
    print(f"{record['trials']} trials, {signals}; {len(record['wrong'])} wrong")
    names = ("backend", "damage", "trials", "resumed", "straight", "refused", "wrong")
    for row in [dict(zip(names, names, strict=True)), *record["rows"]]:
        print(f"{row['backend']:8}{row['damage']:22}" + "".join(f"{row[name]:>10}" for name in names[2:]))


if __name__ == "__main__":
    sys.exit(main())
