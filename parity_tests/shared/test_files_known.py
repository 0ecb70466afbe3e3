"""A weight file is known by its content under any name, and every message names the file, the prefix and the fault."""

import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from lstm_parity.cli.inputs import load_model
from lstm_shared import LSTMSpec, WeightsError, init_lstm, load, save

LSTM = nn.LSTM(5, 4, num_layers=2)
STATE = LSTM.state_dict()


def assert_is_the_lstm(weights) -> None:
    assert set(weights) == set(STATE)
    for name, tensor in STATE.items():
        np.testing.assert_array_equal(weights[name], tensor.numpy(), strict=True)


# Names of files


def files_of_every_kind(folder: pathlib.Path) -> dict[str, bytes]:
    torch.save(STATE, folder / "new.pt")
    torch.save(STATE, folder / "old.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(STATE, folder / "s.safetensors")
    save(folder / "n.npz", {name: tensor.numpy() for name, tensor in STATE.items()})
    torch.jit.script(LSTM).save(folder / "script.pt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["model", "model.pth.tar", "pytorch_model.bin", "model.pkl", "m.jit", "m.npz", "m.pt"])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["new.pt", "old.pt", "s.safetensors", "n.npz", "script.pt"])
def test_a_file_is_known_by_its_content_under_any_name(cli, tmp_path, kind, name):
    (tmp_path / "made").mkdir()
    (tmp_path / name).write_bytes(files_of_every_kind(tmp_path / "made")[kind])
    weights = load(tmp_path / name)
    assert_is_the_lstm({weight: weights[weight] for weight in STATE})
    assert load_model(tmp_path / name, None)[2] == LSTMSpec(5, 4, num_layers=2)
    assert cli("inspect", tmp_path / name).code == 0


# TorchScript: its tensors are read, its code is not run


def archive(folder: pathlib.Path, pickled: bytes, storage: bytes = bytes(16)) -> pathlib.Path:
    """A TorchScript archive with this pickle and this storage of its tensors."""
    with zipfile.ZipFile(folder / "model.pt", "w") as file:
        for name, content in (("data.pkl", pickled), ("constants.pkl", b""), ("data/0", storage)):
            file.writestr(f"model/{name}", content)
    return folder / "model.pt"


def pickled_tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str = "Float") -> bytes:
    """{"w": tensor} in the opcodes that TorchScript writes."""
    numbers = [b"(" + b"".join(b"I%d\n" % number for number in numbers) + b"t" for numbers in (shape, strides)]
    storage = b"(S'storage'\nctorch\n" + kind.encode() + b"Storage\nS'0'\nS'cpu'\nI4\ntQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I%d\n" % offset + b"".join(numbers) + b"I00\nNtR"
    return b"\x80\x02}S'w'\n" + call + b"s."


def test_a_tensor_is_a_part_of_a_storage_in_any_order(tmp_path):
    storage = np.arange(4, dtype=np.float32).tobytes()
    path = archive(tmp_path, pickled_tensor(0, (2, 2), (1, 2)), storage)
    np.testing.assert_array_equal(load(path)["w"], np.array([[0, 2], [1, 3]], np.float32), strict=True)
    path = archive(tmp_path, pickled_tensor(3, (), ()), storage)
    np.testing.assert_array_equal(load(path)["w"], np.float32(3))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (-1, (2,), (1,)), (3, (2,), (-1,)), (0, (-2,), (1,)), (0, (2, 2), (1,))],
    ids=["longer", "beyond", "before", "backwards", "negative", "other rank"],
)
def test_a_tensor_outside_its_storage_is_damage(tmp_path, offset, shape, strides):
    path = archive(tmp_path, pickled_tensor(offset, shape, strides))
    with pytest.raises(WeightsError, match=r"model\.pt: damaged, or not a TorchScript archive$"):
        load(path)


def test_an_archive_without_tensors_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.pt: a TorchScript archive without tensors$"):
        load(archive(tmp_path, pickle.dumps({"epoch": 3}, protocol=2)))


def test_a_dtype_that_numpy_has_not_is_said_of_the_tensor(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.pt: w holds QInt8, which NumPy does not have$"):
        load(archive(tmp_path, pickled_tensor(0, (4,), (1,), kind="QInt8")))


def test_the_code_in_a_torchscript_archive_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "sprung",))

    pickled = pickle.dumps({"w": Trap(), "net": Trap()}, protocol=2)
    with pytest.raises(WeightsError, match=r"model\.pt: damaged, or not a TorchScript archive$"):
        load(archive(tmp_path, pickled))
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickled)
    assert (tmp_path / "sprung").exists()  # it would have


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_damaged_torchscript_archive_never_ends_in_another_error(tmp_path):
    torch.jit.script(nn.LSTMCell(2, 1)).save(tmp_path / "made.pt")
    data = (tmp_path / "made.pt").read_bytes()
    refused = 0
    for at in range(0, len(data), len(data) // 150):
        (tmp_path / "model.pt").write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            load(tmp_path / "model.pt")
        except WeightsError as error:
            (line,) = error.problems
            assert line.startswith(f"{tmp_path / 'model.pt'}: ")
            refused += 1
    assert refused > 10


# Messages


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.GRU(5, 4), "this is a GRU, not an LSTM: weight_hh has 12 rows for 4 columns, not four times as many"),
        (nn.RNN(5, 4), "this is a plain RNN, not an LSTM: weight_hh has 4 rows for 4 columns, not four times as many"),
    ],
    ids=["a GRU", "a plain RNN"],
)
@pytest.mark.parametrize("outer", ["", "model."])
def test_a_message_keeps_the_prefix_apart_from_the_sentence(cli, tmp_path, module, said, outer):
    path = tmp_path / "model.pt"
    torch.save({f"{outer}rnn.{name}": tensor for name, tensor in module.state_dict().items()}, path)
    for arguments in (("check", path), ("check", path, "--prefix", f"{outer}rnn")):
        ran = cli(*arguments)
        assert (ran.code, ran.problems) == (2, [f"{path}: {outer}rnn.: {said}"])
    assert cli("inspect", path).problems == [f"{path}: {outer}rnn.: {said}"]


def test_a_missing_weight_and_nan_are_said_with_file_and_prefix(tmp_path):
    weights = {f"rnn.{name}": array for name, array in init_lstm(5, 4).items()}
    weights["rnn.bias_ih_l0"][2] = np.nan
    save(tmp_path / "w.npz", weights)
    with pytest.raises(WeightsError, match=r"w\.npz: rnn\.: bias_ih_l0 holds 1 of 16 values that are NaN or infinite$"):
        load_model(tmp_path / "w.npz", None)
    del weights["rnn.bias_hh_l0"]
    save(tmp_path / "w.npz", weights)
    with pytest.raises(WeightsError, match=r"w\.npz: rnn\.: bias_hh_l0 is missing: a 1-layer unidirectional LSTM"):
        load_model(tmp_path / "w.npz", "rnn")


def test_a_sparse_weight_is_said_with_file_and_prefix(tmp_path):
    torch.save({"rnn": STATE | {"weight_hh_l1": STATE["weight_hh_l1"].to_sparse()}}, tmp_path / "model.pt")
    with pytest.raises(WeightsError) as caught:
        load_model(tmp_path / "model.pt", None)
    assert (
        str(caught.value)
        == f"{tmp_path / 'model.pt'}: rnn.: weight_hh_l1 is a sparse tensor: save it dense, with .to_dense()"
    )


@pytest.mark.parametrize("command", ["inspect", "check", "convert"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"", "the file is empty"),
        (b"PK\x03\x04 and no more", "damaged, or not a PyTorch file"),
        (b"\x80\x04]\x94.", "refused, it is a pickle (unpickling it would run its code): if you trust it, load it in "),
        (b"\x89HDF\r\n\x1a\n", "HDF5 is not supported: save a layer's arrays with numpy.savez(…, kernel=…, "),
    ],
    ids=["missing", "empty", "damaged", "a pickle", "HDF5"],
)
def test_a_file_that_holds_no_weights_is_refused_in_one_line(cli, tmp_path, command, content, said):
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    ran = cli(command, path, *[tmp_path / "out.npz"] * (command == "convert"))
    assert ran.code == 2
    (line,) = ran.problems
    assert line.startswith(f"{path}: {said}")


@pytest.mark.parametrize("command", ["inspect", "check", "convert"])
def test_a_wrong_prefix_is_answered_with_the_right_one(cli, tmp_path, command):
    path = tmp_path / "model.pt"
    torch.save({"step": 7, "model_state": {"lstm": STATE}}, path)
    if command == "inspect":
        assert "model_state.lstm. " in cli("inspect", path).out
        return
    ran = cli(command, path, *[tmp_path / "out.npz"] * (command == "convert"), "--prefix", "lstm")
    said = "nothing under the prefix 'lstm.'; there are models under these prefixes: 'model_state.lstm.'"
    assert (ran.code, ran.problems) == (2, [f"{path}: {said}"])
