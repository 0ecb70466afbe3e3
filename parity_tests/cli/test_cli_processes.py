"""The command line as a process: both ways to start it, missing packages, an interruption."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_shared import init_by_hand, init_lstm, save

ENTRIES = {
    "python -m": [sys.executable, "-m", "lstm_parity"],
    "console script": [str(Path(sys.executable).with_name("lstm-parity"))],
}

# Hides packages as if they were not installed: neither their modules nor their distributions are found.
BLOCKER = """
import importlib.metadata, sys
sys.modules.update(dict.fromkeys({blocked!r}))
found = importlib.metadata.distribution
def distribution(name):
    if name in {blocked!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)
importlib.metadata.distribution = distribution
sys.argv = ["lstm-parity", *{arguments!r}]
from lstm_parity.__main__ import main
main()
"""


def start(command, directory) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("entry", ENTRIES)
def test_both_ways_to_start_it_do_the_same(tmp_path, entry):
    save(tmp_path / "weights.npz", init_by_hand())
    done = start([*ENTRIES[entry], "inspect", "weights.npz"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["(top)", "by-hand", "float32", "12", "12"]


def test_a_computation_prints_its_figures_and_nothing_on_stderr(tmp_path):
    done = start([*ENTRIES["console script"], "trace", "--example"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.98929553" in done.stdout


@pytest.mark.parametrize("entry", ENTRIES)
def test_both_ways_refuse_in_one_line(tmp_path, entry):
    done = start([*ENTRIES[entry], "inspect", "none.npz"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none.npz: No such file or directory\n"


@pytest.mark.parametrize(
    ("blocked", "arguments", "said"),
    [
        ("typer", ["--help"], "typer is not installed: pip install 'lstm-parity[all]'"),
        ("rich", ["--help"], "rich is not installed: pip install 'lstm-parity[all]'"),
        ("typer rich matplotlib", ["--version"], "typer is not installed: pip install 'lstm-parity[all]'"),
        ("matplotlib", ["trace", "--plot", "t.png"], "--plot needs matplotlib: pip install 'lstm-parity[all]'"),
        ("matplotlib", ["check", "--plot", "t.png"], "--plot needs matplotlib: pip install 'lstm-parity[all]'"),
        ("matplotlib", ["train", "--plot", "t.png"], "--plot needs matplotlib: pip install 'lstm-parity[all]'"),
        ("matplotlib", ["check", "m", "--html", "t.html"], "--html needs matplotlib: pip install 'lstm-parity[all]'"),
        ("torch", ["check", "--quick"], "torch is not installed: pip install 'lstm-parity[all]'"),
        ("jax", ["trace", "--example"], "jax is not installed: pip install 'lstm-parity[all]'"),
        ("optax", ["train", "--epochs", "1"], "optax is not installed: pip install 'lstm-parity[all]'"),
        ("lightning", ["check"], "lightning is not installed: pip install 'lstm-parity[all]'"),
        (
            "torch",
            ["inspect", "model.pt"],
            "model.pt: reading a PyTorch file needs torch: pip install 'lstm-parity[torch]'",
        ),
    ],
)
def test_a_missing_package_is_said_in_one_line_with_what_to_install(tmp_path, blocked, arguments, said):
    (tmp_path / "model.pt").write_bytes(b"content")
    code = BLOCKER.format(blocked=blocked.split(), arguments=arguments)
    done = start([sys.executable, "-c", code], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {said}\n"


def test_matplotlib_is_needed_for_plots_alone(tmp_path):
    for arguments in (["trace", "--example"], ["check", "--quick"]):
        code = BLOCKER.format(blocked=["matplotlib"], arguments=arguments)
        done = start([sys.executable, "-c", code], tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_help_and_weight_files_need_neither_a_framework_nor_matplotlib(tmp_path):
    save(tmp_path / "a.npz", init_lstm(5, 4))
    commands = (
        ["--help"],
        ["train", "--help"],
        ["--version"],
        ["inspect", "a.npz"],
        ["convert", "a.npz", "b.safetensors"],
    )
    for arguments in commands:
        code = BLOCKER.format(blocked=["jax", "torch", "flax", "lightning", "matplotlib"], arguments=arguments)
        done = start([sys.executable, "-c", code], tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "b.safetensors").exists()


def test_an_interruption_ends_in_code_130_without_a_traceback(cli, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lstm_parity.training.backends.trace", interrupted)
    ran = cli("trace")
    assert (ran.code, ran.out, ran.err) == (130, "", "")
