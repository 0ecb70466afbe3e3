"""The notebooks run, are committed as executed, and are in step with their paired scripts."""

import re
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbmake.nb_run import NotebookRun

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST_BYTES = 600_000  # pictures are kept small, so that a clone stays small and GitHub shows the notebook
SECONDS_A_CELL = 300

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def kinds(cell) -> set[str]:
    """What a cell puts out: streams by name, pictures and values by their MIME types."""
    return {
        kind
        for output in cell.outputs
        for kind in (
            [output.name] if output.output_type == "stream" else output.get("data", {output.output_type: None})
        )
    }


def texts(output) -> str:
    """Whatever in an output can be read: not the pictures."""
    data = output.get("data", {})
    return "\n".join([output.get("text", ""), *(str(data[kind]) for kind in data if kind.startswith("text/"))])


def test_notebooks_and_scripts_come_in_pairs():
    assert NOTEBOOKS
    assert {path.stem for path in NOTEBOOKS} == {path.stem for path in FOLDER.glob("*.py")}


@each_notebook
def test_notebook_and_script_are_in_step(path):
    notebook, script = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    for side in (notebook, script):
        assert side.metadata["jupytext"]["formats"] == "ipynb,py:percent"
        assert side.metadata["kernelspec"]["name"] == "python3"
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ]


@each_notebook
def test_notebook_is_committed_as_executed(path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "not run once from top to bottom"
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"], "a warning is on show"
    assert not [text for text in map(texts, outputs) if re.search(r"/(home|root|Users|tmp|work|usr)/", text)]
    assert path.stat().st_size <= LARGEST_BYTES


@each_notebook
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # nobody's start-up files
    copy = Path(shutil.copy(path, tmp_path))
    result = NotebookRun(copy, default_timeout=SECONDS_A_CELL, kernel="python3").execute()
    if result.error is not None:
        pytest.fail(re.sub(r"\x1b\[[\d;]*m", "", result.error.trace), pytrace=False)  # without the colours
    for fresh, committed in zip(code_cells(result.nb), code_cells(read(path)), strict=True):
        assert kinds(fresh) == kinds(committed), f"other outputs than the committed ones:\n{fresh.source}"
