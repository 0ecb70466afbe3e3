"""LSTMs that were really trained, and real speech, from wheels on PyPI; or look-alikes if these are not available.

``real_models.txt`` pins the wheels. Each is installed by itself, without its dependencies, into its own folder: they
pin versions that cannot be installed together with ours. Only their files are read. Nothing in them is imported and no
pickle is executed. Without a network, look-alikes of the same shapes, norms and spectra replace them. ``named`` puts
into a test's id which one it is.
"""

import functools
import importlib
import io
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from look_alikes import look_alike
from mel_windows import drawn_speech, mel_windows, read_wav

FOLDER = Path(sys.prefix) / "real-models"
PINNED = Path(__file__).with_suffix(".txt")
# All workers of a test run must get the same answer, or their test ids differ. So a failure counts for this long.
RETRY_AFTER_SECONDS = 3600


def _from_torch(path: Path, prefix: str) -> dict[str, np.ndarray]:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    *keys, module = prefix.split(".")
    if keys and keys[0] in content:
        content, keys = content[keys[0]], keys[1:]
    start = ".".join([*keys, module, ""])
    return {name.removeprefix(start): value.numpy() for name, value in content.items() if name.startswith(start)}


def _from_safetensors(path: Path, prefix: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in load_file(path).items()
        if name.startswith(f"{prefix}.")
    }


def _from_pickled_arrays(path: Path, prefix: str) -> dict[str, np.ndarray]:
    class ArraysOnly(pickle.Unpickler):
        """Loads what NumPy's own arrays need, and nothing that runs other code."""

        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
                return importlib.import_module("numpy._core.multiarray")._reconstruct
            if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
                return getattr(np, name)
            raise pickle.UnpicklingError(f"{module}.{name} is refused")

    content = ArraysOnly(io.BytesIO(path.read_bytes())).load()
    return {name.removeprefix(f"{prefix}."): value for name, value in content.items() if name.startswith(f"{prefix}.")}


def _from_keras(path: Path, prefix: str) -> dict[str, np.ndarray]:
    import h5py

    from lstm_shared import from_layout

    weights: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        for reverse, direction in ((False, "forward_lstm"), (True, "backward_lstm")):
            cell: Any = file[f"{prefix}/{direction}/lstm_cell"]
            tree = {name: np.asarray(cell[f"{name}:0"]) for name in ("kernel", "recurrent_kernel", "bias")}
            weights |= from_layout(tree, "keras", reverse=reverse)
    return weights


class RealModel(NamedTuple):
    """A trained LSTM: its package, the file in the wheel, the prefix in the file, and what reads it."""

    package: str
    file: str
    prefix: str
    read: Callable[[Path, str], dict[str, np.ndarray]]


MODELS = {
    # Three layers, 40 mel channels in, 256 units: embeds a voice (GE2E), 1,564,501 training steps
    "voice-encoder": RealModel("Resemblyzer", "resemblyzer/pretrained.pt", "model_state.lstm", _from_torch),
    # An LSTMCell, 128 in, 128 units: detects a voice
    "vad-cell": RealModel("silero-vad", "silero_vad/data/silero_vad_16k.safetensors", "lstm_cell", _from_safetensors),
    # Bidirectional, 64 in, 32 units: chooses the reading of a Chinese character
    "mandarin-tagger": RealModel("g2pM", "g2pM/np_ckpt.pkl", "lstm", _from_pickled_arrays),
    # Bidirectional, two layers, 150 in, 150 units: tells twenty languages apart
    "language-identifier": RealModel(
        "LanguageIdentifier", "LanguageIdentifier/LID_mixed_model.pkl", "model_state_dict.lstm", _from_torch
    ),
    # Two layers, 40 in, 256 units each: Persian letters to sounds; one reads, one writes
    "persian-encoder": RealModel("g2p-fa", "g2p_fa/data/weights", "encoder.rnn", _from_torch),
    "persian-decoder": RealModel("g2p-fa", "g2p_fa/data/weights", "decoder.rnn", _from_torch),
    # Bidirectional, 8 in, 8 units, trained by Keras: amyloid motifs in proteins
    "protein-tagger": RealModel(
        "asmscan-bilstm",
        "asmscan/bilstm/resources/model/cvms/bass-model1.h5",
        "model_weights/bi-lstm/bi-lstm",
        _from_keras,
    ),
}
SPEECH = RealModel("pyannote-audio", "pyannote/audio/sample/sample.wav", "", lambda path, prefix: {})


def source(name: str) -> str:
    """Return where a model of ``MODELS``, or "speech", comes from on this machine: "wheel" or "look-alike"."""
    return "wheel" if real_file(name) else "look-alike"


def named(name: str) -> str:
    """Return a test's id, such as "voice-encoder (wheel)"."""
    return f"{name} ({source(name)})"


def real_file(name: str) -> Path | None:
    """Return the file of a model of ``MODELS``, or of "speech"; None if the wheel is not available."""
    model = SPEECH if name == "speech" else MODELS[name]
    folder = _fetched(model.package)
    return folder / model.file if folder else None


def real_weights(name: str) -> dict[str, np.ndarray]:
    """Return the float32 weights of a model of ``MODELS``, trained or alike. The caller gets copies."""
    return {weight: array.copy() for weight, array in _weights(name).items()}


def speech(steps: int, features: int = 40, *, rows: int = 1) -> np.ndarray:
    """Return speech as the voice encoder takes it: mel power (not its logarithm) each 10 ms, without silence.

    Returns:
        (steps, rows, features) float32, not negative. Each row is another part of half a minute. With the wheel, two
        people talk; without it, the voice is drawn (``mel_windows.drawn_speech``).
    """
    windows = _speech(features)
    if steps * rows > len(windows):
        raise ValueError(f"{rows} rows of {steps} steps asked for: there are {len(windows)} steps of speech")
    return windows[: steps * rows].reshape(rows, steps, features).swapaxes(0, 1).copy()


@functools.cache
def _weights(name: str) -> dict[str, np.ndarray]:
    path = real_file(name)
    return MODELS[name].read(path, MODELS[name].prefix) if path else look_alike(name)


@functools.cache
def _speech(features: int) -> np.ndarray:
    path = real_file("speech")
    return mel_windows(read_wav(path) if path else drawn_speech(), features)


@functools.cache
def _fetched(package: str) -> Path | None:
    """Return the folder with a package's wheel, installing it if necessary; None if that fails."""
    (requirement,) = [line for line in PINNED.read_text().splitlines() if line.startswith(f"{package}==")]
    folder = FOLDER / requirement.split()[0]
    try:
        FOLDER.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            failed = Path(f"{folder}.failed")
            if folder.exists():
                return folder
            if failed.exists() and time.time() - failed.stat().st_mtime < RETRY_AFTER_SECONDS:
                return None
            if _install(requirement, folder):
                return folder
            failed.touch()
    except OSError:  # a read-only environment
        pass
    return None


def _install(requirement: str, folder: Path) -> bool:
    """Install one wheel into a folder, completely or not at all."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        listed, target = Path(temporary) / "requirement.txt", Path(temporary) / "installed"
        listed.write_text(requirement + "\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries=1", "--timeout=20", "--no-compile"]
        command += [
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            f"--target={target}",
            f"--requirement={listed}",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{folder.name} cannot be had: {done.stderr.strip().rpartition(chr(10))[2]}", file=sys.stderr)
            return False
        target.rename(folder)
    return True
