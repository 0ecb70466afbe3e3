"""``lstm-parity bench`` with real processes: a tiny run, contenders that are wrong or die, and refused options."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lstm_parity.bench.contenders.registry import CONTENDERS

TINY = ("bench", "--case", "tiny", "--contender", "torch", "--contender", "jax", "--rounds", 1, "--seconds", 0.05)

# Contenders by somebody else, in a module that their processes import.
PLANTED = """
import os
import numpy as np
from lstm_parity.bench.contenders import reference

def wrong_gates(case, mode, dtype):
    print("a library that talks on stdout")
    weights = type(case).weights
    def shuffled(self, dtype):  # i, g, f, o instead of i, f, g, o
        return {name: np.concatenate([array.reshape(4, -1)[[0, 2, 1, 3]]]).reshape(array.shape)
                for name, array in weights(self, dtype).items()}
    type(case).weights = shuffled
    try:
        return reference.eager(case, mode, dtype)
    finally:
        type(case).weights = weights

def dies(case, mode, dtype):
    os.write(2, b"out of luck\\n")
    os._exit(3)

def raises(case, mode, dtype):
    raise NotImplementedError("no such LSTM\\non this machine")
"""


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run one tiny benchmark as a user types it."""
    directory = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "lstm_parity", *map(str, TINY), "--json", "record.json", "--plot", "ratios.png"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False), directory


def test_a_run_leaves_a_table_a_record_and_a_picture(tiny_run):
    done, directory = tiny_run
    assert (done.returncode, done.stderr) == (0, "")
    for mode in ("forward", "forward+backward", "adam-step", "training"):
        assert f"tiny (T 4, B 2, I 1, H 1), {mode}\n" in "".join(
            f"{line.rstrip()}\n" for line in done.stdout.splitlines()
        )
    assert sorted(path.name for path in directory.iterdir()) == ["ratios.png", "record.json"]
    assert (directory / "ratios.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((directory / "record.json").read_text())
    assert record["command"].startswith("lstm-parity bench --case tiny --contender torch")
    assert {"cpu", "cores"} <= set(record["device"])
    assert {"python", "jax", "jaxlib", "flax", "torch", "numpy"} <= set(record["versions"])
    assert (record["settings"]["threads"], record["settings"]["rounds"]) == (1, 1)
    assert len(record["measurements"]) == 8
    for one in record["measurements"]:
        assert (one["outcome"], len(one["rounds"])) == ("timed", 1)
        assert one["tolerance_used"] < 1
        assert 0 < one["summary"]["steady"]["minimum"] <= one["summary"]["steady"]["median"]
        assert one["summary"]["times_as_fast_as_torch"]["median"] > 0


def test_a_record_is_shown_again_without_measuring(tiny_run, cli, tmp_path):
    done, directory = tiny_run
    file = directory / "record.json"
    shown = cli("bench", "--show", file, "--plot", tmp_path / "again.svg")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.split() == done.stdout.split()
    assert (tmp_path / "again.svg").exists()
    markdown = cli("bench", "--show", file, "--markdown").out.splitlines()
    assert markdown[0].startswith("| case | forward: torch ms | ours ms | × torch | best other JAX library |")
    assert markdown[2].startswith("| tiny (T 4, B 2, I 1, H 1) | ")
    assert sum(line.startswith("| tiny |") for line in markdown) == 2  # whole training: torch and ours
    assert all(f"{heading}:" in markdown[-1] for heading in ("ours ms", "× torch", "best other JAX library", "–"))


def test_some_cases_of_a_record_are_shown(cli):
    record = Path(__file__).parents[2] / "benchmarks" / "cpu.json"
    every = cli("bench", "--show", record, "--markdown").out.splitlines()
    chosen = [option for name in ("h128", "small") for option in ("--case", name)]
    shown = cli("bench", "--show", record, "--markdown", *chosen, "--mode", "forward", "--mode", "forward+backward")
    assert (shown.code, shown.err) == (0, "")
    rows = [line for line in shown.out.splitlines() if line.startswith("|")]
    assert rows == [*every[:2], *(line for line in every if line.startswith(("| small (", "| h128 (")))]
    with_training = cli("bench", "--show", record, "--markdown", "--case", "small").out.splitlines()
    assert sum(line.startswith("| small |") for line in with_training) == 2
    as_tables = cli("bench", "--show", record, "--case", "streaming").out
    assert "streaming (T 1" in as_tables
    assert "h128 (" not in as_tables
    (problem,) = cli("bench", "--show", record, "--case", "H512").problems
    assert "--case H512: not in this record, expected one of tiny, small, h64" in problem


def test_who_computes_other_numbers_is_not_timed(cli, monkeypatch, tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("wrong_gates", "dies", "raises"):
        planted = replace(CONTENDERS["torch"], name=name, programs=f"planted:{name}", family="peer")
        monkeypatch.setitem(CONTENDERS, name, planted)
    names = ("torch", "wrong_gates", "dies", "raises")
    options = [option for name in names for option in ("--contender", name)]
    modes = ("--mode", "forward", "--mode", "forward+backward")
    limits = ("--rounds", 1, "--seconds", 0.05)
    ran = cli("bench", "--case", "small", *modes, *options, *limits, "--json", tmp_path / "record.json")
    assert (ran.code, ran.err) == (1, "")
    assert "wrong_gates: its numbers differ from torch's: forward, outputs at [0, 0, 0], float32" in ran.out
    assert "wrong_gates: its numbers differ from torch's: gradient, " in ran.out
    measurements = json.loads((tmp_path / "record.json").read_text())["measurements"]
    assert [(one["mode"], one["contender"], one["outcome"]) for one in measurements] == [
        (mode, name, outcome)
        for mode in ("forward", "forward+backward")
        for name, outcome in zip(names, ("timed", "differs", "failed", "failed"), strict=True)
    ]
    reasons = {one["contender"]: one["reason"] for one in measurements}
    assert reasons["dies"] == "its process ended with code 3: out of luck"
    assert reasons["raises"] == "NotImplementedError: no such LSTM"
    assert all(bool(one["rounds"]) == (one["contender"] == "torch") for one in measurements)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--case", "huge"), "--case huge: unknown, expected one of tiny, small, h64"),
        (("--mode", "backward"), "--mode backward: unknown, expected one of forward, forward+backward, adam-step"),
        (("--contender", "mxnet"), "--contender mxnet: unknown, expected one of torch, torch-cell"),
        (("--rounds", 0), "--rounds is 0, expected 1 or more"),
        (("--seconds", 0), "--seconds is 0, expected a positive number"),
        (("--seconds", "nan"), "--seconds is nan, expected a positive number"),
        (("--threads", 0), "--threads is 0, expected 1 to"),
        (("--threads", 4096), "--threads is 4096, expected 1 to"),
        (("--device", "tpu"), "Invalid value for '--device'"),
        (("--quick", "--full"), "--quick and --full: give one of them, not both"),
        (("--no-peers", "--contender", "haiku"), "--contender haiku: left out by --no-peers"),
        (("--case", "streaming", "--mode", "adam-step"), "--case streaming: it can only be timed in the mode forward"),
        (
            ("--case", "h64", "--contender", "lightning", "--mode", "forward"),
            "it trains the LSTM by hand and nothing else",
        ),
        (("--plot", "picture.txt"), "the name of a plot must end in one of .png, .svg, .pdf"),
        (("--json", "nowhere/record.json"), "there is no directory"),
        (("--show", "nothing.json"), "nothing.json: No such file or directory"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_refused_in_one_line(cli, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = cli("bench", *arguments)
    (line,) = ran.problems
    assert (ran.code, ran.out) == (2, "")
    assert said in line
    assert not list(tmp_path.iterdir())


def test_every_wrong_name_has_its_line(cli):
    assert len(cli("bench", "--case", "a", "--case", "b", "--mode", "c", "--contender", "d").problems) == 4


def test_showing_takes_no_option_of_measuring(cli, tiny_run):
    file = tiny_run[1] / "record.json"
    ran = cli("bench", "--show", file, "--quick", "--rounds", 2, "--json", "again.json")
    assert (ran.code, len(ran.problems)) == (2, 3)
    assert all("--show does not measure" in line for line in ran.problems)
