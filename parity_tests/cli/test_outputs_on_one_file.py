"""No output takes the place of another, or of what is read: refused before any work, and nothing is touched."""

import os

import pytest

from lstm_shared import init_by_hand, init_lstm, save

CASES = [
    "train --out w.npz --json w.npz",
    "train --out w.npz --json ./w.npz",
    "train --out w.npz --json W.npz",
    "train --out w.npz --json other/../w.npz",
    "train --out w.npz --json here/w.npz",
    "train --json a.png --plot a.png",
    "train --json a.png --plot A.PNG",
    "train --weights bh.npz --out bh.npz",
    "train --weights bh.npz --out link.npz",
    "train --weights link.npz --out bh.npz",
    "train --weights bh.npz --json hard.npz",
    "train --weights bh.npz --out here/bh.npz",
    "train --csv p.csv --json p.csv",
    "train --csv p.csv --plot link.csv.svg",
    "train --checkpoint-dir run --json run/epoch-3.checkpoint",
    "train --checkpoint-dir run --json run/.lock",
    "trace --weights bh.npz --json bh.npz",
    "trace --json a.svg --plot ./a.svg",
    "check m.npz --json m.npz",
    "check m.npz --html here/m.npz",
    "check m.npz --json r.json --html r.json",
    "check m.npz --inputs x.npz --json x.npz",
    "check m.npz --against port.py:f --html port.py",
    "check m.npz --against port.py:f --json here/port.py",
    "check --case m.npz --json m.npz",
    "diagnose --weights m.npz --inputs x.npz --outputs y.npz --json m.npz",
    "diagnose --weights m.npz --inputs x.npz --outputs y.npz --json x.npz",
    "diagnose --weights m.npz --inputs x.npz --outputs y.npz --json y.npz",
    "diagnose --weights m.npz --against port.py:f --json port.py",
    "fuzz --out f.npz --json f.npz",
    "fuzz --out here --json failing-case.npz",
    "bench --json b.png --plot b.png",
    "bench --json b-scaling.png --plot b.png",
    "bench --show m.npz --plot pic.svg",
    "inspect m.npz --json m.npz",
    "inspect link.npz --json bh.npz",
    "convert m.npz m.npz",
    "convert m.npz ./m.npz",
    "convert bh.npz hard.npz",
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("m.npz", init_lstm(3, 4))
    save("bh.npz", init_by_hand())
    os.mkdir("other")
    os.mkdir("run")
    os.symlink(".", "here")
    os.symlink("bh.npz", "link.npz")
    os.link("bh.npz", "hard.npz")
    for name in ("p.csv", "x.npz", "y.npz", "port.py"):
        with open(name, "w") as file:
            file.write("kept")
    os.symlink("p.csv", "link.csv.svg")
    os.symlink("m.npz", "pic.svg")
    return tmp_path


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", CASES)
def test_an_output_on_another_file_is_refused_before_any_work(cli, place, command):
    before = contents(place)
    ran = cli(*command.split())
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.problems
    assert any(
        words in line for words in ("is the file that", "give each its own file", "is reserved for checkpoints")
    ), line
    assert contents(place) == before


def test_two_outputs_on_a_device_are_no_loss(cli, place):
    assert cli("trace", "--json", "/dev/null").code == 0
    assert cli("convert", "m.npz", "M2.npz").code == 0


def test_outputs_beside_each_other_are_written(cli, place):
    assert cli("train", "--epochs", 1, "--checkpoint-dir", "run", "--out", "run/w.npz", "--json", "w.json").code == 0
    assert (place / "run" / "w.npz").exists()
