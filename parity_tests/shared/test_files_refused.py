"""Weight files that are refused in one line, and pickles whose code never runs."""

import io
import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from lstm_shared import InputError, WeightsError, init_by_hand, init_lstm, load, save
from lstm_shared.weight_files.formats import READABLE
from lstm_shared.weight_files.load_save import read_arrays

NO_STATE_DICT = "it holds no state dict: save the weights alone, with torch.save(model.state_dict(), …)"
RANDOM = np.random.default_rng(0).bytes(2000)


@pytest.fixture
def content(tmp_path):
    """content(kind) -> the bytes of a good file of that kind."""

    def content(kind: str) -> bytes:
        path = tmp_path / f"good{kind}"
        weights = init_lstm(5, 4)
        if kind in (".safetensors", ".npz"):
            save(path, weights)
        else:
            torch.save({name: torch.tensor(array) for name, array in weights.items()}, path)
        return path.read_bytes()

    return content


def refused(path: Path, prefix: str = "") -> str:
    """The one line of the refusal, which starts with the file."""
    with pytest.raises(WeightsError) as caught:
        load(path, prefix)
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: ")
    assert len(line) < 300
    return line.removeprefix(f"{path}: ")


# Damaged files


@pytest.mark.parametrize("kind", READABLE)
def test_an_empty_file_is_refused(write, kind):
    assert refused(write(b"", f"weights{kind}")) == "the file is empty"


@pytest.mark.parametrize("kind", READABLE)
@pytest.mark.parametrize(
    "damaged",
    [b"x", b"PK\x03\x04" + RANDOM, RANDOM, bytes(1000), b"\x89PNG\r\n\x1a\n", b"hello\n", b"\x93NUMPY\x01\0" + RANDOM],
    ids=["a byte", "start of a zip", "random", "zeros", "png", "text", "start of an npy"],
)
def test_a_file_of_something_else_is_refused(write, kind, damaged):
    line = refused(write(damaged, f"weights{kind}"))
    assert line.startswith(("damaged, or not a", "refused, it holds more than tensors"))


@pytest.mark.parametrize("kind", READABLE)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(write, content, kind, part):
    data = content(kind)
    refused(write(data[: int(len(data) * part)], f"weights{kind}"))


@pytest.mark.parametrize("kind", READABLE)
def test_a_flipped_byte_never_ends_in_another_error(write, content, kind):
    data = content(kind)
    said = []
    for at in range(0, len(data), max(1, len(data) // 150)):
        path = write(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :], f"weights{kind}")
        try:
            load(path)
        except WeightsError as error:
            said += error.problems
    assert len(said) > 10
    assert all(line.startswith(f"{path}: ") for line in said)


def test_a_single_array_is_not_an_archive(write):
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    assert refused(write(buffer.getvalue(), "weights.npz")) == "damaged, or not an .npz of plain arrays"


def test_a_zip_of_other_things_is_refused(write):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert refused(write(buffer.getvalue(), "weights.npz")) == "not numbers: notes.txt"


def test_text_in_an_npz_is_refused_by_its_name(tmp_path):
    np.savez(tmp_path / "weights.npz", note=np.array("made in spring"))
    assert refused(tmp_path / "weights.npz") == "not numbers: note"


def test_text_among_the_arrays_of_a_case_is_refused_by_its_name(tmp_path):
    np.savez(tmp_path / "case.npz", inputs=np.ones((2, 3)), lengths=np.array("two"))
    with pytest.raises(WeightsError, match=r"case\.npz: not numbers: lengths$"):
        read_arrays(tmp_path / "case.npz")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones(2, ml_dtypes.bfloat16), "w holds bytes without a dtype, as .npz keeps bfloat16: save it as"),
        (np.ones(2, complex), "w holds complex128: weights are floating-point numbers"),
    ],
    ids=["bfloat16", "complex"],
)
def test_an_npz_says_which_array_is_no_weight_and_why(tmp_path, array, said):
    np.savez(tmp_path / "weights.npz", good=np.ones(2), w=array)
    assert refused(tmp_path / "weights.npz").startswith(said)


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (torch.ones(3), NO_STATE_DICT),
        ({}, NO_STATE_DICT),
        ({"epoch": 3, "names": ["a", "b"]}, NO_STATE_DICT),
        ({"w": torch.eye(3).to_sparse()}, "w is a sparse tensor: save it dense, with .to_dense()"),
        ({"w": torch.ones(3, device="meta")}, "w has a shape but no numbers: it was saved from the device meta"),
        (
            {"w": torch.ones(3).to(torch.float8_e5m2)},
            "w holds torch.float8_e5m2, which NumPy does not have: save it as float32",
        ),
    ],
    ids=["tensor", "nothing", "no tensors", "sparse", "no data", "float8"],
)
def test_a_pytorch_file_without_plain_tensors_is_refused(tmp_path, made, line):
    torch.save(made, tmp_path / "model.pt")
    assert refused(tmp_path / "model.pt") == line


# Pickles


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def plain_pickle(path: Path, trap: Trap) -> None:
    path.write_bytes(pickle.dumps({"wlr1": trap}))


def torch_save(path: Path, trap: Trap) -> None:
    torch.save({"state_dict": init_by_hand(), "hyper_parameters": trap}, path)


def object_array(path: Path, trap: Trap) -> None:
    with path.open("wb") as file:
        np.savez(file, wlr1=np.ones(()), wlr2=np.array(trap, object))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (torch_save, ".pt"),
        (torch_save, ".pth"),
        (torch_save, ".ckpt"),
        (plain_pickle, ".pt"),
        (plain_pickle, ".npz"),
        (plain_pickle, ".safetensors"),
        (object_array, ".npz"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_pickle_with_code_in_it_is_refused_and_its_code_does_not_run(tmp_path, make, kind):
    sprung = tmp_path / "sprung"
    path = tmp_path / f"weights{kind}"
    make(path, Trap(sprung))
    line = refused(path)
    assert not sprung.exists()
    if make is torch_save:
        assert line.startswith("refused, it holds more than tensors (unpickling it would run its code)")
    if make is object_array:
        assert line == "wlr2 is refused: it holds Python objects, and unpickling them would run their code"


def test_the_trap_would_spring(tmp_path):
    """What the test above is worth: executed, the same files do run their code."""
    torch_save(tmp_path / "weights.pt", Trap(tmp_path / "sprung"))
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()
    object_array(tmp_path / "weights.npz", Trap(tmp_path / "sprung again"))
    with np.load(tmp_path / "weights.npz", allow_pickle=True) as archive:
        _ = archive["wlr2"]
    assert (tmp_path / "sprung again").exists()


# Values and names


@pytest.mark.parametrize("kind", [".safetensors", ".npz", ".pt"])
def test_nan_and_infinity_are_named_with_their_number(tmp_path, kind):
    weights = init_lstm(5, 4)
    weights["bias_ih_l0"][:3] = np.nan
    weights["weight_hh_l0"][0, 1] = -np.inf
    path = tmp_path / f"weights{kind}"
    if kind == ".pt":
        torch.save({name: torch.tensor(array) for name, array in weights.items()}, path)
    else:
        save(path, weights)
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert set(caught.value.problems) == {
        f"{path}: bias_ih_l0 holds 3 of 16 values that are NaN or infinite",
        f"{path}: weight_hh_l0 holds 1 of 64 values that are NaN or infinite",
    }


@pytest.mark.parametrize("prefix", ["decoder", "decoder.", "enc", "encoder.weight_ih_l0"])
def test_nothing_under_a_prefix_is_refused_with_the_prefixes_that_there_are(tmp_path, prefix):
    save(tmp_path / "weights.npz", {"encoder.weight_ih_l0": np.ones(2)})
    assert refused(tmp_path / "weights.npz", prefix) == (
        f"nothing under the prefix '{prefix.removesuffix('.')}.'; there are models under these prefixes: 'encoder.'"
    )


def test_a_model_at_the_root_is_not_said_to_have_a_prefix(tmp_path):
    weights = init_lstm(5, 4)
    save(tmp_path / "weights.npz", weights)
    said = "nothing under the prefix 'decoder.'; there is an LSTM without a prefix"
    assert refused(tmp_path / "weights.npz", "decoder") == said
    weights |= {f"encoder.{name}": array for name, array in init_lstm(3, 2).items()}
    save(tmp_path / "weights.npz", weights)
    assert (
        refused(tmp_path / "weights.npz", "decoder") == f"{said}, and there are models under these prefixes: 'encoder.'"
    )


@pytest.mark.parametrize("content", [b"", b"hello\n", RANDOM, b"PK\x03\x04" + RANDOM], ids=["", "text", "random", "PK"])
@pytest.mark.parametrize("name", ["weights", "weights.txt", "weights.npz.bak", "weights.h5", ".npz"])
def test_where_neither_content_nor_name_tells_the_kind_it_is_refused_both_ways(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"must end in one of \.safetensors, \.npz, \.pt, \.pth, \.ckpt$"):
        load(tmp_path / name)
    with pytest.raises(InputError, match=r"must end in one of \.safetensors, \.npz$"):
        save(tmp_path / name, init_by_hand())
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("kind", [".pt", ".pth", ".ckpt"])
def test_pytorch_files_are_not_written(tmp_path, kind):
    with pytest.raises(InputError, match=r"one of \.safetensors, \.npz \(PyTorch files are read only\)"):
        save(tmp_path / f"weights{kind}", init_by_hand())
    assert list(tmp_path.iterdir()) == []
