"""``lstm-parity diagnose``, from files to exit code."""

import json

import numpy as np
import pytest
from planted_port import draw_plan, plant, run

from lstm_shared import WORKED_EXAMPLE_WEIGHTS, save


@pytest.fixture
def files(tmp_path):
    """files(mistake) writes the files of a port with that mistake and returns the options that name them."""

    def write(*mistakes: str, ragged: bool = False, prefix: str = "") -> list:
        plan = draw_plan(1, True, ragged=ragged)
        save(tmp_path / "w.safetensors", {prefix + name: x for name, x in plan.weights.items()})
        h, c = plan.state
        np.savez(tmp_path / "inputs.npz", inputs=plan.inputs, h=h, c=c)
        for mistake in mistakes:
            plant(plan, mistake)
        np.save(tmp_path / "outputs.npy", run(plan)[0])
        names = {"weights": "w.safetensors", "inputs": "inputs.npz", "outputs": "outputs.npy"}
        return [part for option, name in names.items() for part in (f"--{option}", tmp_path / name)]

    return write


def test_a_mistake_is_named_with_its_repair(cli, files, tmp_path):
    ran = cli("diagnose", *files("gate-order:i,g,f,o"), "--json", tmp_path / "found.json")
    assert ran.code == 1
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert lines[0].startswith("first difference at step 0, batch row 0, unit 0: ")
    assert lines[1] == "gate-order:i,g,f,o: the port reads the gates in the order i,g,f,o"
    assert lines[2].startswith("  repair: read the four blocks")
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["right"] is False
    assert content["mistakes"] == ["gate-order:i,g,f,o"]
    assert content["explanations"][0]["mistakes"][0]["repair"] in ran.out


def test_right_outputs_exit_with_0(cli, files, tmp_path):
    ran = cli("diagnose", *files(), "--json", tmp_path / "found.json")
    assert ran.code == 0
    assert ran.out.startswith("nothing to explain: the outputs are right")
    assert json.loads((tmp_path / "found.json").read_text())["right"] is True


def test_lengths_and_a_prefix_are_taken(cli, files):
    ran = cli("diagnose", *files("reverse-from-padding", ragged=True, prefix="encoder."), "--lengths", "3,6,5")
    assert ran.code == 1
    assert "reverse-from-padding: the reverse direction starts in the padding" in ran.out


def test_two_calls_that_differ_mean_dropout(cli, files, tmp_path):
    options = files()
    np.save(tmp_path / "again.npy", np.load(tmp_path / "outputs.npy") * 1.1)
    ran = cli("diagnose", *options, "--outputs-again", tmp_path / "again.npy")
    assert ran.code == 1
    assert "dropout-left-on: " in ran.out


def test_the_misprinted_listing_of_the_article_is_diagnosed(cli, tmp_path):
    save(tmp_path / "w.npz", {name: np.float64(x) for name, x in WORKED_EXAMPLE_WEIGHTS.items()})
    np.savez(tmp_path / "inputs.npz", inputs=np.array([1.0]), h=np.float64(2), c=np.float64(1))
    np.save(tmp_path / "outputs.npy", np.array([0.98981472]))
    files = (
        "--weights",
        tmp_path / "w.npz",
        "--inputs",
        tmp_path / "inputs.npz",
        "--outputs",
        tmp_path / "outputs.npy",
    )
    ran = cli("diagnose", *files)
    assert ran.code == 1  # eight decimals are too few: no mistake fits to within rounding
    exact = _misprinted()
    np.save(tmp_path / "outputs.npy", exact)
    ran = cli("diagnose", *files)
    assert ran.code == 1
    assert "bias-of:forget-in:input: the input gate adds the forget gate's bias" in ran.out


def _misprinted() -> np.ndarray:
    w = WORKED_EXAMPLE_WEIGHTS

    def gate(name: str, bias: str) -> float:
        return w[f"w{name}1"] * 1.0 + w[f"w{name}2"] * 1.0 + w[bias]

    f, i, o = (1 / (1 + np.exp(-gate(*names))) for names in (("lr", "blr1"), ("pr", "blr1"), ("o", "bo1")))
    return np.array([o * np.tanh(f * 2.0 + i * np.tanh(gate("p", "bp1")))])


def test_everything_wrong_with_the_files_is_said(cli, files, tmp_path):
    options = files()
    np.savez(tmp_path / "inputs.npz", prices=np.zeros(3), h=np.zeros(3))
    ran = cli("diagnose", *options)
    assert ran.code == 2
    assert ran.problems == [
        f"{tmp_path / 'inputs.npz'}: unknown array 'prices', expected inputs, h, c, lengths, reset",
        f"{tmp_path / 'inputs.npz'}: holds only one of h and c: give both or neither",
    ]
    np.savez(tmp_path / "inputs.npz", reset=np.zeros(3, bool))
    ran = cli("diagnose", *options)
    assert ran.code == 2
    assert ran.problems[0].endswith("inputs.npz: holds no array named inputs")
    assert "diagnose does not take reset" in ran.problems[1]


@pytest.mark.parametrize(
    ("name", "array", "problem"),
    [
        ("outputs.npy", np.zeros((6, 3, 9)), "outputs has shape (6, 3, 9), expected (6, 3, 8)"),
        ("inputs.npz", None, "No such file"),
        ("outputs.npy", None, "No such file"),
        ("outputs.npy", np.zeros((6, 3, 8), int), "outputs holds int64"),
    ],
)
def test_a_wrong_file_exits_with_2(cli, files, tmp_path, name, array, problem):
    options = files()
    (tmp_path / name).unlink()
    if array is not None:
        np.save(tmp_path / name, array)
    ran = cli("diagnose", *options)
    assert ran.code == 2
    assert problem in ran.problems[0]
    assert ran.out == ""
