"""``make`` says which Python it needs, and makes a ``.venv`` anew that would fail later."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT


@pytest.fixture
def make(tmp_path):
    """make(arguments…) runs this project's Makefile in an empty directory."""
    shutil.copy(ROOT / "Makefile", tmp_path)

    def make(*arguments: str) -> subprocess.CompletedProcess:
        # As from a shell: a make that runs the suite would hand on its options.
        environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        return subprocess.run(["make", *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment)

    return make


def fake_python(path: Path, version: str) -> Path:
    """A Python that is too old: it says its version, and fails at whatever else it is asked."""
    path.write_text(f'#!/bin/sh\ncase "$*" in *--version*) echo Python {version};; *) exit 1;; esac\n')
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused_by_name(make, tmp_path):
    fake_python(tmp_path / "python3.10", "3.10.14")
    done = make("PYTHON=./python3.10", "check")
    assert done.returncode == 2
    assert "error: ./python3.10 is Python 3.10.14, expected Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("broken", ["missing", "old"])
def test_an_environment_that_cannot_work_is_made_anew(make, tmp_path, broken):
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    if broken == "old":
        fake_python(commands / "python", "3.10.14")
    done = make(f"PYTHON={sys.executable}", "python")
    assert done.returncode == 0, done.stderr
    assert "making .venv anew" in done.stdout
    assert subprocess.run([commands / "python", "-c", ""]).returncode == 0


def test_an_environment_that_works_stays(make, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    (tmp_path / ".venv" / "mine").touch()
    for arguments in ([], [f"PYTHON={sys.executable}"]):
        done = make(*arguments, "python")
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
    assert (tmp_path / ".venv" / "mine").exists()
