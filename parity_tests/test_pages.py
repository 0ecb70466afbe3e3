"""README and documentation: every block of code runs as it stands, with only what the page says to install."""

import functools
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import typer
from lean_environment import make_lean_environment
from pages import MAKE_TARGETS, PAGES, ROOT, Block, Install, blocks, install_of

from lstm_parity.cli import app
from lstm_shared import PUBLISHED_PREDICTIONS
from lstm_shared.layout_table import LAYOUT_TABLE, Layout

README = ROOT / "README.md"
RUNNING = [page for page in PAGES if blocks(page, "python", "console")]
# What takes longer than a test may: the two commands that run this very suite, or begin with it.
NOT_RUN = ("make check", "make test")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def environment_of(tmp_path_factory):
    """environment_of(what to install) -> the ``bin`` of an environment that has only that."""
    return functools.cache(lambda install: make_lean_environment(tmp_path_factory.mktemp("lean"), install))


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_every_block_runs_in_the_environment_of_its_page(page, tmp_path, environment_of):
    here = Reader(tmp_path, environment_of(install_of(page)))
    for block in blocks(page, "python", "console"):
        where = f"{name_of(page)}:{block.line}"
        if block.file_name:
            (tmp_path / block.file_name).write_text(block.body)
        elif block.language == "python":
            done = here.runs("python", "-W", "error", "-c", block.body)
            assert done.returncode == 0, f"{where}\n{done.stderr}"
        else:
            here.types(block, where)


class Reader:
    """Somebody who follows a page from top to bottom, in an empty directory and an 80-column terminal."""

    def __init__(self, directory: Path, commands: Path):
        self.directory = directory
        self.assignments = ""
        self.environment = {name: os.environ[name] for name in ("HOME", "OMP_NUM_THREADS") if name in os.environ}
        self.environment |= {"PATH": f"{commands}:/usr/bin:/bin", "COLUMNS": "80"}

    def runs(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, capture_output=True, text=True, cwd=self.directory, env=self.environment)

    def types(self, session: Block, where: str) -> None:
        """Type the commands of a console session; each must print what the page shows below it."""
        parts = re.split(r"^\$ ", session.body, flags=re.MULTILINE)[1:]
        assert parts, where
        for command, shown in (part.split("\n", 1) for part in parts):
            if command.startswith(NOT_RUN):
                continue
            if re.match(r"\w+=", command):
                self.assignments += f"{command}\n"
                continue
            done = self.runs("bash", "-c", self.assignments + command)
            assert done.returncode == exit_code_shown(shown), f"{where}: {command}\n{done.stdout}{done.stderr}"
            printed = done.stderr if done.returncode == 2 else done.stdout
            assert without_measures(shown) in without_measures(printed), f"{where}: {command}\n{printed}"


def exit_code_shown(shown: str) -> int:
    return 2 if "error: " in shown else 1 if "verdict: differ" in shown or "repair:" in shown else 0


def without_measures(text: str) -> str:
    """The text without what differs from run to run (seconds), and without the table's spacing."""
    text = re.sub(r"\d+\.\d+ ?s\b", "# s", text)
    return re.sub(r"\s+", " ", text).strip()


def test_the_repaired_port_agrees(tmp_path, environment_of):
    here = Reader(tmp_path, environment_of(install_of(README)))
    saved = next(block for block in blocks(README, "python") if "two_layers.pt" in block.body)
    port = next(block for block in blocks(README, "python") if block.file_name == "port.py")
    assert here.runs("python", "-c", saved.body).returncode == 0
    (tmp_path / "port.py").write_text(port.body.replace('"igfo"', '"ifgo"'))
    done = here.runs(*shlex.split("lstm-parity check two_layers.pt --against port.py:port --dtypes float64"))
    assert done.returncode == 0, done.stderr
    assert "verdict: agree" in done.stdout


def test_the_golden_table_is_that_of_the_published_run():
    for epochs, figures in PUBLISHED_PREDICTIONS.items():
        for company, figure in zip("AB", figures, strict=True):
            (row,) = re.findall(rf"^ *{epochs} +{company} +(.*)$", README.read_text(), re.MULTILINE)
            np.testing.assert_array_equal([float(number) for number in row.split()], [figure] * 3)


def test_the_table_of_layouts_is_that_of_the_code():
    text = (ROOT / "docs" / "files.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|", text, re.MULTILINE))
    assert rows.keys() == LAYOUT_TABLE.keys()
    spelled = {name: order.replace(" ", "") for name, order in rows.items() if re.fullmatch("(. ){3}.", order)}
    assert spelled.keys() == {name for name, layout in LAYOUT_TABLE.items() if max(map(len, gates(layout))) == 1}
    for name, order in spelled.items():
        assert order.replace("c", "g") == LAYOUT_TABLE[name].gates, name


def gates(layout: Layout) -> list[list[str]]:
    """The arrays of each part: four names if the layout keeps one array for each gate."""
    return [names.split() for names in layout.arrays]


def shell_commands() -> list[tuple[str, str]]:
    """Every command of the blocks that are not run, because they install, measure for hours or need a browser."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            body = re.sub(r"<<'END'\n.*?^END$", "", block.body, flags=re.DOTALL | re.MULTILINE)
            lines = [line for line in body.splitlines() if shlex.split(line, comments=True)]
            found += [(f"{name_of(page)}:{block.line}", line) for line in lines]
    return found


@pytest.mark.parametrize(("where", "command"), shell_commands(), ids=lambda text: text[:60])
def test_commands_that_are_not_run_exist_with_their_options(where, command):
    program, *arguments = shlex.split(command, comments=True)
    if program == "make":
        assert set(arguments) <= MAKE_TARGETS
    elif program == "lstm-parity":
        group = typer.main.get_command(app)
        context = group.make_context("lstm-parity", arguments, resilient_parsing=True)
        subcommand = group.get_command(context, arguments[0])
        assert subcommand is not None
        subcommand.make_context(arguments[0], arguments[1:])
    elif program == "python" and arguments[0] != "-":
        assert (ROOT / arguments[0]).is_file()
    elif program == "pip":
        extras = re.findall(r"\.\[([a-z,]+)\]", " ".join(arguments))
        known = (ROOT / "pyproject.toml").read_text()
        assert extras
        assert all(f"\n{extra} = [" in known for extra in ",".join(extras).split(","))
    else:
        assert program in ("python", "jupyter", "source", ".venv/bin/python", ".venv/bin/pre-commit"), (
            f"{where}: {command}"
        )


def test_programs_that_are_not_run_can_be_read():
    """What stands between ``<<'END'`` and ``END``."""
    programs = [
        program
        for page in PAGES
        for block in blocks(page, "bash")
        for program in re.findall(r"<<'END'\n(.*?)^END$", block.body, re.DOTALL | re.MULTILINE)
    ]
    assert programs
    for program in programs:
        compile(program, "page", "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    """Sphinx checks the links of the site; this checks those that a reader of the repository follows."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def test_the_lean_environment_is_lean(tmp_path, environment_of):
    """With [jax] there is no torch, and with [torch] no JAX: or else the tests above would say nothing."""
    for extra, has, lacks in (("jax", "jax_lstm", "torch"), ("torch", "torch_lstm", "jax")):
        here = Reader(tmp_path, environment_of(Install(frozenset({extra}), frozenset())))
        assert here.runs("python", "-c", f"import {has}").returncode == 0
        done = here.runs("python", "-c", f"import {lacks}")
        assert f"No module named '{lacks}'" in done.stderr


def test_an_exported_program_can_be_serialised_with_the_jax_extra(tmp_path, environment_of):
    """JAX asks for flatbuffers only then."""
    here = Reader(tmp_path, environment_of(Install(frozenset({"jax"}), frozenset())))
    program = """
import jax, jax.export, jax_lstm, numpy
from lstm_shared import init_lstm
program = jax.export.export(jax.jit(jax_lstm.lstm))(init_lstm(3, 2), numpy.ones((4, 2, 3), numpy.float32))
print(len(program.serialize()))
"""
    done = here.runs("python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150
