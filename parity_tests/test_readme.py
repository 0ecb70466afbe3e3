"""The README: its Python runs as it stands, and its commands print what it shows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
PYTHON = [body for language, body in BLOCKS if language == "python"]
CONSOLE = [body for language, body in BLOCKS if language == "console" and "$ make" not in body]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A directory with the files that the README speaks of, and nothing else."""
    model = torch.nn.Module()
    model.encoder = torch.nn.LSTM(5, 4, num_layers=2, bidirectional=True)
    model.head = torch.nn.Linear(8, 2)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    torch.manual_seed(0)
    torch.save(torch.nn.LSTM(5, 4, num_layers=2).state_dict(), tmp_path / "two_layers.pt")
    (port,) = (body for body in PYTHON if body.startswith("# port.py"))
    (tmp_path / "port.py").write_text(port)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize("code", PYTHON, ids=[body.strip().splitlines()[-1][:40] for body in PYTHON])
def test_python_runs_as_it_stands(code, workplace):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=workplace)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("session", CONSOLE, ids=[body.splitlines()[0][2:42] for body in CONSOLE])
def test_commands_print_what_is_shown(session, workplace):
    commands = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    assert commands
    for command, shown in (part.split("\n", 1) for part in commands):
        assert shutil.which(command.split()[0]), command
        done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=workplace)
        refused = shown.startswith("error: ")
        assert done.returncode == (2 if refused else 1 if "repair:" in shown else 0), done.stderr
        assert without_measures(shown) in without_measures(done.stderr if refused else done.stdout), command


def without_measures(text: str) -> str:
    """The text without what differs from run to run (seconds), and without the table's spacing."""
    text = re.sub(r"\d+\.\d+ s\b", "# s", text)
    text = re.sub(r"(predicted \d\.\d{5})\d\d", r"\1", text)  # float32 rounds differently from machine to machine
    text = re.sub(r"\d\.\d{13,}", lambda number: f"{float(number[0]):.12f}", text)  # so do float64's last digits
    return re.sub(r"\s+", " ", text).strip()


def test_the_repaired_port_agrees(workplace):
    broken = (workplace / "port.py").read_text()
    (workplace / "port.py").write_text(broken.replace('"igfo"', '"ifgo"'))
    command = "lstm-parity check two_layers.pt --against port.py:port --framework jax --dtypes float64"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "verdict: agree" in done.stdout


def test_the_golden_table_is_that_of_the_published_run():
    from lstm_shared import PUBLISHED_PREDICTIONS

    for epochs, figures in PUBLISHED_PREDICTIONS.items():
        for company, figure in zip("AB", figures, strict=True):
            (row,) = re.findall(rf"^ *{epochs} +{company} +(.*)$", README.read_text(), re.MULTILINE)
            np.testing.assert_array_equal([float(number) for number in row.split()], [figure] * 3)
