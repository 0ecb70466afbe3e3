"""Weight files: what is written is what is read, by us and by the libraries whose formats they are."""

import os
import stat
from functools import partial

import lightning as L
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import jax_lstm
import torch_lstm
from lstm_shared import COMPANY_LABELS, COMPANY_PRICES, InputError, WeightsError, init_by_hand, init_lstm, load, save
from lstm_shared.safe_writing import write_file

WRITABLE = (".safetensors", ".npz")
NUMPY_DTYPES = [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_]


def assert_same(loaded, expected) -> None:
    assert set(loaded) == set(expected)
    for name, array in expected.items():
        assert loaded[name].dtype == array.dtype, name
        assert loaded[name].shape == np.shape(array), name
        assert loaded[name].tobytes() == np.asarray(array).tobytes(), name


def several_shapes(dtype) -> dict[str, np.ndarray]:
    numbers = np.arange(24).astype(dtype).reshape(2, 3, 4)
    return {
        "scalar": np.array(1, dtype),
        "numpy scalar": numbers[0, 0, 1],
        "cube": numbers,
        "transposed": numbers.T,
        "sliced": numbers[:, ::2, 1:3],
        "reversed": numbers[::-1, :, ::-1],
        "column": numbers[:, :, 1],
        "broadcast": np.broadcast_to(numbers[0, 0], (5, 4)),
        "Fortran": np.asfortranarray(numbers[0]),
        "empty": numbers[:0],
        "empty inside": numbers[:, :, :0],
    }


# Round trips


@pytest.mark.parametrize("kind", WRITABLE)
@pytest.mark.parametrize("dtype", NUMPY_DTYPES, ids=lambda dtype: dtype.__name__)
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, kind, dtype):
    weights = several_shapes(dtype)
    save(tmp_path / f"weights{kind}", weights)
    assert_same(load(tmp_path / f"weights{kind}"), weights)


def test_bfloat16_is_kept_in_safetensors(tmp_path):
    weights = several_shapes(ml_dtypes.bfloat16)
    save(tmp_path / "weights.safetensors", weights)
    assert_same(load(tmp_path / "weights.safetensors"), weights)


def test_bfloat16_is_refused_in_npz(tmp_path):
    path = tmp_path / "weights.npz"
    with pytest.raises(InputError, match=r"\.npz cannot hold bfloat16 \(wlr1, .*\); use \.safetensors"):
        save(path, init_by_hand(dtype=ml_dtypes.bfloat16))
    assert not path.exists()


@pytest.mark.parametrize("kind", WRITABLE)
@pytest.mark.parametrize(
    "wrong", [None, "text", 1j, np.longdouble(1)], ids=["nothing", "text", "complex", "longdouble"]
)
def test_what_is_no_weight_is_refused_by_its_name(tmp_path, kind, wrong):
    path = tmp_path / f"weights{kind}"
    with pytest.raises(InputError, match=rf"weights{kind}: {kind} cannot hold .* \(bad\)$"):
        save(path, {"good": np.ones(2), "bad": wrong})
    assert not path.exists()


@pytest.mark.parametrize("kind", WRITABLE)
def test_mixed_dtypes_and_python_floats_are_kept(tmp_path, kind):
    weights = {"a": np.ones(2, np.float16), "b": np.ones(2, np.float64), "c": 0.1}
    save(tmp_path / f"weights{kind}", weights)
    assert_same(load(tmp_path / f"weights{kind}"), weights | {"c": np.float64(0.1)})


@pytest.mark.parametrize("kind", WRITABLE)
def test_byte_order_is_the_machines_after_a_round_trip(tmp_path, kind):
    save(tmp_path / f"weights{kind}", {"a": np.array([1.0, 2.5], ">f4")})
    assert_same(load(tmp_path / f"weights{kind}"), {"a": np.array([1.0, 2.5], np.float32)})


@pytest.mark.parametrize("kind", WRITABLE)
@pytest.mark.parametrize("name", ["file", "allow_pickle", "encoder.weight_ih_l0", "a/b", "größe", "x.npy"])
def test_any_name_is_kept(tmp_path, kind, name):
    save(tmp_path / f"weights{kind}", {name: np.ones(2)})
    assert_same(load(tmp_path / f"weights{kind}"), {name: np.ones(2)})


@pytest.mark.parametrize("kind", [".SAFETENSORS", ".Npz"])
def test_the_suffix_may_be_in_capitals(tmp_path, kind):
    save(tmp_path / f"weights{kind}", init_by_hand())
    assert_same(load(tmp_path / f"weights{kind}"), init_by_hand())


@pytest.mark.parametrize("kind", WRITABLE)
def test_loaded_arrays_can_be_written_to(tmp_path, kind):
    save(tmp_path / f"weights{kind}", {"a": np.ones(2)})
    array = load(tmp_path / f"weights{kind}")["a"]
    array[0] = 5
    assert array.tolist() == [5, 1]


# The libraries read our files, and we read theirs


def test_safetensors_itself_reads_our_file(tmp_path):
    weights = init_lstm(5, 4)
    weights["transposed"] = weights["weight_ih_l0"].T
    save(tmp_path / "weights.safetensors", weights)
    assert_same(safetensors.numpy.load_file(tmp_path / "weights.safetensors"), weights)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["float32", "bfloat16"])
def test_torch_loads_our_safetensors_file_into_its_lstm(tmp_path, dtype):
    weights = init_lstm(5, 4, dtype=dtype)
    save(tmp_path / "weights.safetensors", weights)
    tensors = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    module = nn.LSTM(5, 4, dtype=tensors["bias_ih_l0"].dtype)
    module.load_state_dict(tensors, strict=True)
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(tensor.float().numpy(), weights[name].astype(np.float32))


def test_torchs_safetensors_file_is_read(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(0.1, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, tmp_path / "weights.safetensors")
    expected = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(0.1, ml_dtypes.bfloat16)}
    assert_same(load(tmp_path / "weights.safetensors"), expected)


def test_numpy_itself_reads_our_npz_and_we_read_its(tmp_path):
    weights = init_lstm(5, 4)
    save(tmp_path / "ours.npz", weights)
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as archive:
        assert_same(dict(archive), weights)
    np.savez_compressed(tmp_path / "theirs.npz", **weights)
    assert_same(load(tmp_path / "theirs.npz"), weights)


# PyTorch files


@pytest.mark.parametrize("kind", [".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_read_wherever_it_usually_is(tmp_path, kind, zipped, wrapper):
    state_dict = nn.LSTM(5, 4, num_layers=2).state_dict()
    content = state_dict if wrapper is None else {"epoch": 3, wrapper: state_dict, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / f"model{kind}", _use_new_zipfile_serialization=zipped)
    assert_same(load(tmp_path / f"model{kind}"), {name: tensor.numpy() for name, tensor in state_dict.items()})


def test_tensors_of_every_dtype_and_layout_are_read(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    tensors = {"parameter": nn.Parameter(base), "transposed": base.T, "scalar": torch.tensor(1.5)}
    tensors |= {str(dtype): base.to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64)}
    torch.save(tensors, tmp_path / "model.pt")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = {"parameter": values, "transposed": values.T, "scalar": np.float32(1.5)}
    for dtype in (np.float64, np.float16, ml_dtypes.bfloat16, np.int64):
        expected[f"torch.{np.dtype(dtype).name}"] = values.astype(dtype)
    assert_same(load(tmp_path / "model.pt"), expected)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of Lightning's own code
def test_a_lightning_checkpoint_of_a_training_run_is_read(tmp_path):
    module = torch_lstm.LSTMByHand(init_by_hand())
    examples = TensorDataset(torch.tensor(COMPANY_PRICES), torch.tensor(COMPANY_LABELS))
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **silent)
    trainer.fit(module, DataLoader(examples))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    assert_same(load(tmp_path / "run.ckpt"), {name: weight.numpy() for name, weight in module.state_dict().items()})


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_weights_in_our_own_checkpoints_are_read(tmp_path, backend):
    if backend == "jax":
        fit, model = partial(jax_lstm.fit, jax_lstm.by_hand.loss), init_by_hand()
    else:
        fit, model = torch_lstm.fit, torch_lstm.LSTMByHand(init_by_hand())
    result = fit(model, (COMPANY_PRICES, COMPANY_LABELS), epochs=2, checkpoint_dir=tmp_path / "run")
    path = tmp_path / "run" / "epoch-2.checkpoint"
    assert_same(load(path), result.weights)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "renamed.pt").write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"renamed\.pt: is damaged: its checksum does not match its content"):
        load(tmp_path / "renamed.pt")


# Prefixes


@pytest.mark.parametrize("kind", WRITABLE)
@pytest.mark.parametrize("prefix", ["net.encoder", "net.encoder."])
def test_a_prefix_is_taken_and_stripped_with_its_dot_or_without(tmp_path, kind, prefix):
    encoder = init_lstm(5, 4)
    everything = {f"net.encoder.{name}": array for name, array in encoder.items()}
    everything |= {"net.encoder_2.weight_ih_l0": np.ones(1), "net.encoder": np.ones(1), "fc.bias": np.ones(1)}
    save(tmp_path / f"weights{kind}", everything)
    assert_same(load(tmp_path / f"weights{kind}", prefix), encoder)


def test_nan_under_another_prefix_does_no_harm(tmp_path):
    save(tmp_path / "weights.npz", {"a.w": np.ones(1), "b.w": np.array([np.nan])})
    assert_same(load(tmp_path / "weights.npz", "a"), {"w": np.ones(1)})


# Places


@pytest.mark.parametrize("kind", WRITABLE)
def test_a_new_file_has_the_usual_permissions_and_nothing_is_beside_it(tmp_path, kind):
    path = tmp_path / f"weights{kind}"
    mask = os.umask(0o027)
    try:
        save(path, init_by_hand())
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".npz")
    save(path, init_by_hand())
    assert_same(load(path), init_by_hand())


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    save(target, {"a": np.zeros(1)})
    link.symlink_to(target)
    save(link, {"a": np.ones(1)})
    assert link.is_symlink()
    assert_same(load(target), {"a": np.ones(1)})


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(path, b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    assert path.is_fifo()
