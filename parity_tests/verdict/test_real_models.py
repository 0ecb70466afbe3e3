"""Models that were really trained: their files are read as they are, and both backends compute the same results."""

import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
import real_models
import torch
from look_alikes import TABLE, look_alike, summary
from mel_windows import drawn_speech, mel_windows
from real_models import MODELS, named, real_file, real_weights, source, speech
from safetensors.numpy import save_file
from torch import nn

import jax_lstm
import torch_lstm
from lstm_shared import CellSpec, LSTMSpec, describe, load

SPECS = {
    "voice-encoder": LSTMSpec(40, 256, num_layers=3),
    "vad-cell": CellSpec(128, 128),
    "mandarin-tagger": LSTMSpec(64, 32, bidirectional=True),
    "language-identifier": LSTMSpec(150, 150, num_layers=2, bidirectional=True),
    "persian-encoder": LSTMSpec(40, 256, num_layers=2),
    "persian-decoder": LSTMSpec(40, 256, num_layers=2),
    "protein-tagger": LSTMSpec(8, 8, bidirectional=True),
}
NOT_READ = {"mandarin-tagger": "refused, it is a pickle", "protein-tagger": "HDF5 is not supported"}

every_model = pytest.mark.parametrize("name", MODELS, ids=named)
every_file_that_is_read = pytest.mark.parametrize("name", [name for name in MODELS if name not in NOT_READ], ids=named)


def file_of(name, folder):
    """Return the file in the wheel, or one like it with the look-alike's weights."""
    if path := real_file(name):
        return path
    path, prefix = folder / MODELS[name].file.rpartition("/")[2], MODELS[name].prefix
    weights = {f"{prefix}.{weight}": array for weight, array in real_weights(name).items()}
    if path.suffix == ".safetensors":
        save_file(weights, path)
    elif path.suffix == ".h5":
        path.write_bytes(b"\x89HDF\r\n\x1a\n")
    elif name == "mandarin-tagger":
        path.write_bytes(pickle.dumps(weights))
    else:
        wrapper = prefix.partition(".")[0]
        tensors = {weight.removeprefix(f"{wrapper}."): torch.tensor(array) for weight, array in weights.items()}
        torch.save({"step": 3, wrapper: tensors}, path)
    return path


@every_model
def test_its_sizes_are_read_off_its_weights(name):
    assert describe(real_weights(name)) == SPECS[name]


@every_file_that_is_read
def test_its_file_is_read_by_its_prefix(name, tmp_path):
    loaded = load(file_of(name, tmp_path), MODELS[name].prefix)
    assert set(loaded) == set(SPECS[name].shapes)
    for weight, array in real_weights(name).items():
        np.testing.assert_array_equal(loaded[weight], array, strict=True)


@every_file_that_is_read
def test_inspect_names_the_prefix_under_which_it_is(cli, name, tmp_path):
    path = file_of(name, tmp_path)
    ran = cli("inspect", path)
    assert (ran.code, ran.err) == (0, "")
    shown = [line.split()[0] for line in ran.out.splitlines()[1:] if line.split()[0] in f"{MODELS[name].prefix}."]
    assert len(shown) == 1
    assert describe(load(path, shown[0])) == SPECS[name]


@pytest.mark.parametrize("name", NOT_READ, ids=named)
def test_a_file_of_a_kind_that_is_not_read_is_refused_in_one_line(cli, name, tmp_path):
    path = file_of(name, tmp_path)
    ran = cli("inspect", path)
    assert ran.code == 2
    (line,) = ran.problems
    assert line.startswith(f"{path}: {NOT_READ[name]}")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", ["vad-cell"], ids=named)
def test_a_torchscript_archive_is_read_as_torch_reads_it_without_its_code(cli, name, tmp_path):
    path = archive_of(name, tmp_path)
    loaded, expected = load(path), torch.jit.load(path).state_dict()
    assert set(loaded) >= set(expected)
    for weight, tensor in expected.items():
        np.testing.assert_array_equal(loaded[weight], tensor.numpy(), strict=True)
    ran = cli("inspect", path)
    assert (ran.code, ran.err) == (0, "")
    assert "_model.decoder.rnn.  " in ran.out


def archive_of(name, folder):
    """Return the TorchScript archive in the wheel, or one of the same structure with the look-alike's weights."""
    if path := real_file(name):
        return path.with_name("silero_vad.jit")
    cell = nn.LSTMCell(128, 128)
    cell.load_state_dict({weight: torch.tensor(array) for weight, array in real_weights(name).items()})
    decoder = nn.ModuleDict({"rnn": cell})
    script = torch.jit.script(_Whole(nn.ModuleDict({"decoder": decoder})))
    script.save(folder / "vad.jit")
    return folder / "vad.jit"


class _Whole(nn.Module):
    def __init__(self, model):
        super().__init__()
        self._model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


@every_model
def test_both_backends_compute_the_same_in_float64(name, x64):
    weights = {weight: array.astype(np.float64) for weight, array in real_weights(name).items()}
    spec, rng = SPECS[name], np.random.default_rng(0)
    module = torch_lstm.to_torch(weights)
    if isinstance(spec, CellSpec):
        inputs, h, c = (
            rng.standard_normal((3, size)) for size in (spec.input_size, spec.hidden_size, spec.hidden_size)
        )
        ours = jax_lstm.lstm_cell(weights, jnp.asarray(inputs), (jnp.asarray(h), jnp.asarray(c)))
        theirs = module(torch.tensor(inputs), (torch.tensor(h), torch.tensor(c)))
    else:
        inputs = rng.standard_normal((5, 3, spec.input_size))
        if name == "voice-encoder":
            inputs = speech(5, rows=3).astype(np.float64)
        outputs, (h_n, c_n) = jax_lstm.lstm(weights, jnp.asarray(inputs))
        ours = (outputs, h_n, c_n)
        outputs, (h_n, c_n) = module(torch.tensor(inputs))
        theirs = (outputs, h_n, c_n)
    for one, other in zip(ours, theirs, strict=True):
        other = other.detach().numpy()
        # Measured: at most 8.5 eps.
        assert np.abs(np.asarray(one) - other).max() <= 64 * np.finfo(np.float64).eps * max(1, np.abs(other).max())


# Look-alikes, which replace the models if there is no network


@every_model
def test_a_look_alike_has_the_shapes_and_the_norms_of_the_trained_model(name):
    alike = look_alike(name)
    assert describe(alike) == SPECS[name]
    for weight, array in real_weights(name).items():
        for ours, theirs in zip(np.split(alike[weight], 4), np.split(array, 4), strict=True):
            if array.ndim == 2:  # measured: interpolating between the table's ranks makes the norm up to 5 % smaller
                assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=0.1)


# Singular values take time to compute, so only small models are tested. The same code makes the table of all models.
SMALL = pytest.mark.parametrize("name", ["mandarin-tagger", "protein-tagger", "vad-cell"], ids=named)


@SMALL
def test_a_look_alike_has_the_spectra_of_the_table(name):
    table = json.loads(TABLE.read_text())[name]
    for weight, (shape, gates) in summary(look_alike(name)).items():
        assert shape == table[weight][0]
        for ours, theirs in zip(gates, table[weight][1], strict=True):
            if len(shape) == 2:  # to the table's four digits; float32 rounds the smallest of them
                np.testing.assert_allclose(ours[1:], theirs[1:], rtol=2e-3, atol=1e-5 * theirs[1])
                assert abs(ours[0] - theirs[0]) < 2 / np.sqrt(shape[0])
            else:  # the mean and standard deviation with which 8 to 128 numbers were drawn
                assert abs(ours[0] - theirs[0]) <= 4 * theirs[1] / np.sqrt(shape[0]) + 1e-4
                assert ours[1] == pytest.approx(theirs[1], rel=4 / np.sqrt(2 * shape[0]), abs=1e-4)


@SMALL
def test_the_table_is_that_of_the_trained_model(name):
    table = json.loads(TABLE.read_text())[name]
    measured = summary(real_weights(name))
    assert set(measured) == set(table)
    for weight, (shape, gates) in measured.items():
        assert shape == table[weight][0]
        for ours, theirs in zip(gates, table[weight][1], strict=True):
            if source(name) == "wheel":
                assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_look_alikes_are_the_same_every_time():
    for weight, array in look_alike("protein-tagger").items():
        np.testing.assert_array_equal(array, look_alike("protein-tagger")[weight])


def test_the_callers_copies_of_weights_and_speech_are_its_own():
    real_weights("vad-cell")["weight_hh"][:] = 0
    assert np.any(real_weights("vad-cell")["weight_hh"])
    speech(5)[:] = 0
    assert np.all(speech(5).any(axis=-1))


def test_without_a_network_the_look_alikes_are_taken_and_the_id_says_so(monkeypatch, tmp_path):
    """A failed download is remembered for a while, so that all workers of a test run get the same ids."""
    tried = []
    monkeypatch.setattr(real_models, "FOLDER", tmp_path)
    monkeypatch.setattr(real_models, "_install", lambda requirement, folder: tried.append(requirement))
    for function in (real_models._fetched, real_models._weights):
        function.cache_clear()
    try:
        assert named("vad-cell") == "vad-cell (look-alike)"
        np.testing.assert_array_equal(real_weights("vad-cell")["weight_hh"], look_alike("vad-cell")["weight_hh"])
        real_models._fetched.cache_clear()
        assert source("vad-cell") == "look-alike"
        assert [requirement.split("==")[0] for requirement in tried] == ["silero-vad"]
    finally:
        for function in (real_models._fetched, real_models._weights):
            function.cache_clear()


# Speech


@pytest.mark.parametrize("windows", [drawn_speech, None], ids=["a drawn voice", named("speech")])
def test_speech_is_mel_power_as_the_voice_encoder_takes_it(windows):
    power = mel_windows(windows()) if windows else speech(160, rows=10)
    assert power.dtype == np.float32
    assert power.shape[-1] == 40
    assert power.min() >= 0
    # At -30 dB of full scale, the recording's windows have medians of 5e-5 and maxima of 4.7, those of the drawn voice
    # 2e-4 and 1.5. Speech falls off towards high frequencies, and its loudness varies.
    assert 1e-5 < np.median(power) < 1e-3
    assert 0.5 < power.max() < 50
    bands = power.reshape(-1, 40).mean(axis=0)
    assert bands[:15].mean() > 10 * bands[25:].mean()
    loudness = power.reshape(-1, 40).sum(axis=1)
    assert loudness.std() > 0.5 * loudness.mean()


def test_each_row_of_speech_is_another_part():
    rows = speech(160, 40, rows=3)
    assert rows.shape == (160, 3, 40)
    np.testing.assert_array_equal(speech(480)[160:320, 0], rows[:, 1])


def test_more_speech_than_there_is_is_refused():
    with pytest.raises(ValueError, match="40 rows of 160 steps asked for: there are 2"):
        speech(160, rows=40)


def test_a_tone_is_loudest_in_the_channel_of_its_frequency():
    """1,000 Hz is at 15 mel, 8,000 Hz at 45.25. With 40 triangles 1.1036 mel apart, the nearest peak is the 14th."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert mel_windows(tone)[50].argmax() == 13
