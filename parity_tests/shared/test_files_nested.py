"""Checkpoints as people save them: the model anywhere in them, other things beside it, under any file name."""

import argparse
import datetime
import pathlib

import numpy as np
import pytest
import torch
from torch import nn

from lstm_parity.cli.inputs import load_model
from lstm_shared import InputError, LSTMSpec, WeightsError, find_models, init_by_hand, init_lstm, load
from lstm_shared.weight_files.formats import read_contents

LSTM = nn.LSTM(5, 4, num_layers=2)
STATE = LSTM.state_dict()
SPEC = LSTMSpec(5, 4, num_layers=2)


def below(*keys: str) -> dict:
    """The state dict under these keys, the first the outermost."""
    content: dict = dict(STATE)
    for key in reversed(keys):
        content = {key: content}
    return content


def assert_is_the_lstm(weights, state=STATE) -> None:
    assert set(weights) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(weights[name], tensor.numpy(), strict=True)


# Nesting: what is saved, the prefix to type, and what is found there

NESTED = {
    "at the top": (below(), ""),
    "net": (below("net"), "net"),
    "state_dict": (below("state_dict"), ""),
    "state_dict by its name": (below("state_dict"), "state_dict"),
    "a module in state_dict": (below("state_dict", "lstm"), "lstm"),
    "dotted names in model_state": (
        {"step": 7, "model_state": {f"lstm.{name}": tensor for name, tensor in STATE.items()}},
        "model_state.lstm",
    ),
    "model_state.lstm": (below("model_state", "lstm"), "model_state.lstm"),
    "model with the prefix written out": (below("model", "lstm"), "model.lstm"),
    "state_dict in model": (below("model", "state_dict"), ""),
    "deep": (below("a", "b", "c", "d"), "a.b.c.d"),
    "a list of two": ([nn.GRU(3, 2).state_dict(), STATE], "1"),
    "a tuple in a dictionary": ({"nets": (STATE,)}, "nets.0"),
    "numbered keys": ({"nets": {7: STATE}}, "nets.7"),
    "an average beside the model": ({"model": nn.LSTM(3, 2).state_dict(), "ema": dict(STATE)}, "ema"),
    "encoder and decoder": ({"encoder": nn.LSTM(3, 2).state_dict(), "decoder": STATE}, "decoder"),
}


@pytest.fixture(params=NESTED)
def nested(request, tmp_path):
    """(path, prefix) of a checkpoint that holds the LSTM in some nesting."""
    content, prefix = NESTED[request.param]
    torch.save(content, tmp_path / "model.pt")
    return tmp_path / "model.pt", prefix


@pytest.mark.parametrize("dot", ["", "."])
def test_any_nesting_is_reached_by_a_prefix(nested, dot):
    path, prefix = nested
    assert_is_the_lstm(load(path, prefix + dot if prefix else ""))


def test_the_commands_reach_any_nesting_by_the_same_prefix(nested):
    path, prefix = nested
    _, weights, spec = load_model(path, prefix)
    assert spec == SPEC
    assert_is_the_lstm(weights)


def test_inspect_shows_a_prefix_that_can_be_typed(nested, cli):
    path, _ = nested
    ran = cli("inspect", path, "--json", path.with_suffix(".json"))
    assert ran.code == 0
    shown = [line.split()[0] for line in ran.out.splitlines() if "num_layers 2" in line]
    assert len(shown) == 1
    assert_is_the_lstm(load(path, shown[0].replace("(top)", "")))


def test_convert_takes_the_same_prefix(nested, cli, tmp_path):
    path, prefix = nested
    assert cli("convert", path, tmp_path / "out.safetensors", "--prefix", prefix).code == 0
    assert_is_the_lstm(load(tmp_path / "out.safetensors"))


def test_check_takes_the_same_prefix(cli, tmp_path):
    torch.save(below("model_state", "lstm"), tmp_path / "model.pt")
    ran = cli("check", tmp_path / "model.pt", "--prefix", "model_state.lstm", "--steps", 0)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{tmp_path / 'model.pt'}: model_state.lstm.: a 2-layer unidirectional LSTM")


def test_diagnose_takes_the_same_prefix(cli, tmp_path):
    torch.save(below("model_state", "lstm"), tmp_path / "model.pt")
    inputs = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "x.npy", inputs.numpy())
    np.save(tmp_path / "y.npy", LSTM(inputs)[0].detach().numpy())
    options = ("--inputs", tmp_path / "x.npy", "--outputs", tmp_path / "y.npy", "--prefix", "model_state.lstm")
    ran = cli("diagnose", "--weights", tmp_path / "model.pt", *options)
    assert ran.code == 0, ran.err


def test_the_only_model_needs_no_prefix_and_a_part_of_one_is_enough(tmp_path):
    torch.save(below("checkpoint", "net", "rnn"), tmp_path / "model.pt")
    for prefix in (None, "checkpoint", "checkpoint.net", "checkpoint.net.rnn"):
        found, weights, _ = load_model(tmp_path / "model.pt", prefix)
        assert found == "checkpoint.net.rnn."
        assert_is_the_lstm(weights)


@pytest.mark.parametrize("prefix", [None, "", "nets", "nets."])
def test_of_several_models_one_is_chosen_by_the_whole_prefix(tmp_path, prefix):
    torch.save({"nets": {"encoder": STATE, "decoder": STATE}}, tmp_path / "model.pt")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "model.pt", prefix)
    choice = "holds 2 models, choose one with --prefix: 'nets.encoder.', 'nets.decoder.'"
    assert str(caught.value) == f"{tmp_path / 'model.pt'}: {choice}"


def test_names_that_clash_without_the_wrapper_keep_it(tmp_path):
    torch.save({"model": {"net": dict(STATE)}, "net": nn.LSTM(3, 2).state_dict()}, tmp_path / "model.pt")
    assert_is_the_lstm(load(tmp_path / "model.pt", "model.net"))
    assert load(tmp_path / "model.pt", "net")["weight_ih_l0"].shape == (8, 3)
    assert set(find_models(read_contents(tmp_path / "model.pt").named)) == {"model.net.", "net."}


def test_what_holds_itself_is_read_once(tmp_path):
    content = below("net")
    content["self"] = content
    torch.save(content, tmp_path / "model.pt")
    assert_is_the_lstm(load(tmp_path / "model.pt", "net"))


def test_what_holds_itself_many_times_is_refused(tmp_path):
    content: dict = {}
    content |= dict.fromkeys("abcdefgh", content)
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"model\.pt: it holds more than 1000000 objects$"):
        load(tmp_path / "model.pt")


# What else is in the file


def optimizer_state() -> dict:
    lstm = nn.LSTM(5, 4, num_layers=2)
    optimizer = torch.optim.Adam(lstm.parameters())
    lstm(torch.ones(2, 1, 5))[0].sum().backward()
    optimizer.step()
    return optimizer.state_dict()


BESIDE = {
    "an optimizer's state": optimizer_state(),
    "numbers": {"epoch": 3, "loss": 0.5, "best": True, "nothing": None},
    "text": {"git": "abc", "names": ["a", "b"], "bytes": b"x"},
    "a set": {"seen": {1, 2}},
    "an embedding": torch.ones(7, 3),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a tensor without numbers": torch.ones(3, device="meta"),
    "float8": torch.ones(3).to(torch.float8_e5m2),
    "a size and a dtype": [torch.Size([2, 3]), torch.float32, torch.device("cpu")],
    "arguments": argparse.Namespace(lr=0.1, folder=pathlib.PurePath("x"), hidden=[4, 5]),
    "a score by NumPy": np.float64(0.25),
    "scores by NumPy": [np.float32(0.25), np.int64(3), np.bool_(True), np.float16(2)],
    "a path": pathlib.Path("runs/1"),
    "dates": [datetime.date(2000, 1, 2), datetime.datetime(2000, 1, 2, 3), datetime.timedelta(days=1)],
    "a GRU": nn.GRU(3, 2).state_dict(),
}


@pytest.mark.parametrize(
    ("what", "zipped"),
    # torch itself does not read back the float8 that it wrote in its old format.
    [pytest.param(what, True, id=f"{what}-zip") for what in BESIDE]
    + [pytest.param(what, False, id=f"{what}-before torch 1.6") for what in BESIDE if what != "float8"],
)
def test_what_else_is_in_the_file_does_not_matter(tmp_path, what, zipped):
    content = {"first": BESIDE[what], "net": dict(STATE), "last": [BESIDE[what]]}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    assert_is_the_lstm(load(tmp_path / "model.pt", "net"))
    _, weights, _ = load_model(tmp_path / "model.pt", "net" if what == "a GRU" else None)
    assert_is_the_lstm(weights)


@pytest.mark.parametrize("what", BESIDE)
def test_inspect_finds_the_model_whatever_else_is_in_the_file(cli, tmp_path, what):
    torch.save({"first": BESIDE[what], "net": dict(STATE)}, tmp_path / "model.pt")
    ran = cli("inspect", tmp_path / "model.pt")
    assert (ran.code, ran.err) == (0, "")
    assert "\nnet. " in ran.out


def test_text_beside_the_weights_of_an_npz_does_not_matter(tmp_path):
    np.savez(tmp_path / "w.npz", note=np.array("made in spring"), day=np.datetime64("2000-01-02"), **init_by_hand())
    assert set(load(tmp_path / "w.npz")) == set(init_by_hand())


def test_objects_beside_the_weights_of_an_npz_do_not_matter_under_a_prefix(tmp_path):
    arrays = {f"net.{name}": array for name, array in init_lstm(5, 4).items()}
    with (tmp_path / "w.npz").open("wb") as file:
        np.savez(file, options=np.array({"lr": 1}, object), **arrays)
    assert set(load(tmp_path / "w.npz", "net")) == set(init_lstm(5, 4))
    assert load_model(tmp_path / "w.npz", None)[2] == LSTMSpec(5, 4)


class Mine:
    """A class that only this file knows."""


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        (Mine(), f"{__name__}.Mine"),
        (LSTM, "torch.nn.modules.rnn.LSTM"),
        (np.ones(3), "numpy._core.multiarray._reconstruct"),
        (open, "io.open"),
    ],
    ids=["a class of one's own", "a whole module", "a NumPy array", "a function"],
)
@pytest.mark.parametrize("command", ["inspect", "check", "convert"])
def test_the_object_that_only_its_own_code_can_make_is_named(cli, tmp_path, command, foreign, name):
    torch.save({"state_dict": STATE, "extra": foreign}, tmp_path / "model.pt")
    ran = cli(command, tmp_path / "model.pt", *[tmp_path / "out.npz"] * (command == "convert"))
    assert ran.code == 2
    assert ran.problems == [
        f"{tmp_path / 'model.pt'}: refused, it holds more than tensors (unpickling it would run its code), {name}: "
        "save the weights alone, with torch.save(model.state_dict(), …)"
    ]
