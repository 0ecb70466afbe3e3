"""Whatever happens to the screen, a command's results are in its files, and the exit code says what happened."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from forked_commands import BROKEN, CLOSED, FULL, Commands

from lstm_shared import init_by_hand, init_lstm, load, save

PORT = """
import numpy as np
def half(params, inputs):
    return np.zeros((*inputs.shape[:-1], 4))
"""

# Commands that write every file they can, and their exit codes if they can print.
COMMANDS = {
    "trace": ("trace --json t.json --plot t.png", 0),
    "train in JAX": ("train --epochs 3 --out o.npz --json t.json --plot t.png", 0),
    "train in torch": ("train --backend torch --epochs 3 --out o.npz --json t.json", 0),
    "train on prices": ("train --csv p.csv --epochs 1 --out o.npz --plot t.svg", 0),
    "check by hand": ("check --quick --json t.json --plot t.png", 0),
    "check a file": ("check m.npz --steps 1 --dtypes float32 --html t.html --json t.json", 0),
    "check a wrong port": ("check m.npz --against port.py:half --json t.json --html t.html", 1),
    "check all devices": ("check m.npz --all-devices --steps 1 --dtypes float32 --json t.json", 0),
    "diagnose": ("diagnose --weights m.npz --against port.py:half --json t.json", 1),
    "fuzz": ("fuzz --cases 1 --json t.json", 0),
    "bench": ("bench --show record.json --plot t.pdf", 0),
    "inspect": ("inspect m.npz --json t.json", 0),
    "convert": ("convert m.npz o.safetensors --to keras", 0),
}
SCREENS = {"nobody reads": BROKEN, "closed": CLOSED, "full": FULL}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("commands")
    save(directory / "m.npz", init_lstm(3, 4))
    save(directory / "bh.npz", init_by_hand())
    (directory / "port.py").write_text(PORT)
    days = (f"2000-01-{day:02},{day % 7}.5" for day in range(1, 31))
    (directory / "p.csv").write_text("\n".join(["date,close", *days]))
    shutil.copy(Path(__file__).parents[2] / "benchmarks" / "cpu.json", directory / "record.json")
    return directory


@pytest.fixture(scope="module")
def commands(place):
    started = Commands(place)
    yield started
    started.stop()


def outputs(command: str) -> list[str]:
    names = ("--json", "--plot", "--out", "--html")
    arguments = command.split()
    options = [after for before, after in itertools.pairwise(arguments) if before in names]
    return options + (["o.safetensors"] if arguments[0] == "convert" else [])


def is_whole(path) -> bool:
    if path.suffix == ".json":
        return bool(json.loads(path.read_text()))
    if path.suffix in (".npz", ".safetensors"):
        return bool(load(path))
    ends = {".png": b"IEND\xaeB`\x82", ".svg": b"</svg>\n", ".pdf": b"%%EOF\n", ".html": b"</html>\n"}
    return path.read_bytes().endswith(ends[path.suffix])


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_computed_is_saved_whatever_becomes_of_the_screen(commands, place, command, screen):
    words, code = COMMANDS[command]
    for name in outputs(words):
        (place / name).unlink(missing_ok=True)
    ended = commands.run(*words.split(), out=SCREENS[screen])
    assert ended.code == {"nobody reads": 141, "closed": code, "full": 2}[screen], ended.err
    assert ended.err == {"full": "error: standard output: No space left on device\n"}.get(screen, "")
    for name in outputs(words):
        assert is_whole(place / name), name


@pytest.mark.parametrize("screen", [BROKEN, CLOSED, FULL])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("trace",), 0), (("inspect", "none.npz"), 2), (("train", "--epochs", "x"), 2), (("check", "--seed", "-1"), 2)],
    ids=["done", "no file", "a wrong word", "a wrong number"],
)
def test_an_error_that_cannot_be_printed_keeps_its_exit_code(commands, screen, arguments, code):
    assert commands.run(*arguments, err=screen).code == code
    assert commands.run(*arguments, out=screen, err=screen).code in (code, 141, 2)


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), (), ("check", "--nope")], ids=" ".join)
def test_help_that_nobody_reads_is_no_verdict(commands, arguments):
    assert commands.run(*arguments, out=BROKEN).code in (141, 2)
    assert commands.run(*arguments, out=FULL).code == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("command", ["trace", "train in JAX", "inspect", "bench"])
def test_every_encoding_prints_every_figure(commands, place, command, encoding):
    words, code = COMMANDS[command]
    ended = commands.run(*words.split(), encoding=encoding)
    assert (ended.code, ended.err.strip("\ufeff")) == (code, "")
    assert ended.out


def test_a_file_that_cannot_be_written_takes_no_other_file_and_no_figure_with_it(cli, tmp_path, monkeypatch):
    """The first file's disk fills up: the other file is still written, and the screen shows everything."""

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("lstm_parity.cli.outputs.write_file", full)
    ran = cli("trace", "--json", tmp_path / "t.json", "--plot", tmp_path / "t.png")
    assert ran.code == 2
    assert ran.problems == [f"{tmp_path / 't.json'}: No space left on device"]
    assert "0.00639316" in ran.out
    assert is_whole(tmp_path / "t.png")


# The environment of a command: modules read it on import, so each test starts a process.


@pytest.mark.parametrize(
    ("variables", "arguments", "code", "said"),
    [
        ({"MPLBACKEND": "bogus"}, "trace --plot t.png", 0, ""),
        ({"JAX_PLATFORMS": "cuda"}, "train --epochs 1", 2, "JAX finds no such device"),
        ({"JAX_PLATFORMS": "bogus"}, "fuzz --cases 1", 2, "JAX finds no such device"),
        ({"JAX_PLATFORMS": "cuda"}, "check --quick", 2, "JAX finds no such device"),
        ({"PYTHONIOENCODING": "ascii"}, "check m.npz --steps 1 --dtypes float32", 0, ""),
        ({"PYTHONWARNINGS": "default", "LANG": "C", "TERM": "dumb"}, "train --backend torch --epochs 1", 0, ""),
    ],
    ids=["matplotlib", "no GPU to train on", "no GPU to search on", "no GPU to check on", "ascii", "warnings"],
)
def test_what_the_environment_asks_for_has_an_answer_that_is_true(place, variables, arguments, code, said):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"} | variables
    command = [sys.executable, "-m", "lstm_parity", *arguments.split()]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == bool(said)
    assert all(line.startswith(f"error: {said}") for line in lines)


def test_a_weight_file_may_come_through_a_pipe(place):
    """A pipe can be read only once: a second reading would find it empty."""
    for arguments in ("check /dev/stdin --steps 1 --dtypes float32", "inspect /dev/stdin", "convert /dev/stdin o.npz"):
        command = [sys.executable, "-m", "lstm_parity", *arguments.split()]
        with subprocess.Popen(["cat", "m.npz"], cwd=place, stdout=subprocess.PIPE) as source:
            done = subprocess.run(command, cwd=place, stdin=source.stdout, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    for name, array in load(place / "o.npz").items():
        np.testing.assert_array_equal(array, init_lstm(3, 4)[name])
