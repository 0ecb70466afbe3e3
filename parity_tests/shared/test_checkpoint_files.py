"""Checkpoint files: what comes back is what was written, whatever was cut, flipped or failed on the way.

For both backends one run leaves three checkpoints. Each damage is done to a copy of that directory, and the resumed run
is the straight run bit for bit and says what it passed over, or it is refused by a line that says why.
"""

import errno
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import jax_lstm
import torch_lstm
from jax_lstm import by_hand
from lstm_parity.training import backends
from lstm_shared import COMPANY_LABELS, COMPANY_PRICES, PUBLISHED_INIT, InputError
from lstm_shared.training.checkpoint_directory import KEPT, CheckpointDirectory
from lstm_shared.training.checkpoint_file import Checkpoint, DamagedError, read_checkpoint, write_checkpoint
from lstm_shared.training.plan import FitResult

COMPANIES = (COMPANY_PRICES, COMPANY_LABELS)
WEIGHTS = {name: np.float64(value) for name, value in PUBLISHED_INIT.items()}
EPOCHS = 10
NEVER = 10**9
ADAM = optax.adam(1e-3)  # one object, so that JAX compiles the run once
NAMES = [f"epoch-{epoch}.checkpoint" for epoch in (6, 7, 8)]


def train(backend: Any, directory: Path | None, epochs: int = EPOCHS, **options: Any) -> FitResult:
    if directory is not None:
        options |= {"checkpoint_dir": directory, "checkpoint_every": 1}
    options |= {"epochs": epochs, "shuffle_seed": 4}
    if backend == "torch":
        return torch_lstm.fit(torch_lstm.LSTMByHand(WEIGHTS), COMPANIES, **options)
    with jax.enable_x64(True):
        return jax_lstm.fit(by_hand.loss, WEIGHTS, COMPANIES, optimizer=ADAM, **options)


def curves(result: FitResult) -> dict[str, np.ndarray]:
    return {"losses": result.losses, "predictions": result.predictions, **result.weights}


def same_bits(result: FitResult, straight: FitResult) -> bool:
    ours, theirs = curves(result), curves(straight)
    return all(ours[name].tobytes() == array.tobytes() for name, array in theirs.items())


@pytest.fixture(scope="module", params=backends.BACKENDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, FitResult]:
    """(backend, directory with the last checkpoints of a run of 8 epochs, the straight run of 10)."""
    directory = tmp_path_factory.mktemp(request.param) / "run"
    train(request.param, directory, 8)
    assert sorted(path.name for path in directory.iterdir()) == [".lock", *NAMES]
    return request.param, directory, train(request.param, None)


DTYPES = [
    np.dtype(name) for name in ("float64", "float32", "float16", "bfloat16", "int32", "uint8", "bool", "complex64")
]


@st.composite
def checkpoints(draw: Any) -> Checkpoint:
    names = draw(st.lists(st.text(max_size=8), unique=True, max_size=4))
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    arrays = {}
    for name in names:
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes)
        content = draw(st.binary(min_size=1, max_size=8))
        count = int(np.prod(shape)) * dtype.itemsize
        array = np.frombuffer((content * (count + 1))[:count], np.uint8)
        array = (array % 2 if dtype.kind == "b" else array).view(dtype).reshape(shape)
        arrays[name] = array[..., ::-1] if array.ndim else array  # not contiguous
    run = draw(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=3))
    return Checkpoint(draw(st.integers(0, 10**18)), run, arrays)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(checkpoints())
def test_what_is_read_is_what_was_written(tmp_path, checkpoint):
    write_checkpoint(tmp_path / "one", checkpoint)
    back = read_checkpoint(tmp_path / "one")
    assert (back.epoch, back.run, list(back.arrays)) == (checkpoint.epoch, checkpoint.run, list(checkpoint.arrays))
    for name, array in checkpoint.arrays.items():
        assert (back.arrays[name].dtype, back.arrays[name].shape) == (array.dtype, array.shape)
        assert back.arrays[name].tobytes() == array.tobytes()
        assert back.arrays[name].flags.writeable


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_file_is_noticed(tmp_path, data):
    path = tmp_path / "one"
    write_checkpoint(path, Checkpoint(3, {"backend": "jax"}, {"a": np.arange(5.0), "b": np.zeros((0, 2), np.int8)}))
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "longer", "other bytes"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[place:]
    elif kind == "longer":
        content += bytes(1 + place % 3)
    else:
        content[place : place + 4] = bytes(255 - byte for byte in content[place : place + 4])
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read_checkpoint(path)


def forged(header: Any, rest: bytes = b"", size: int | None = None) -> bytes:
    """A file whose checksum fits, and whose content somebody made up."""
    import hashlib

    line = header if isinstance(header, bytes) else json.dumps(header).encode() + b"\n"
    return b"lstm-parity checkpoint 1 %s %d\n" % (
        hashlib.sha256(line + rest).hexdigest().encode(), len(line) if size is None else size
    ) + line + rest  # fmt: skip


def about(arrays: Any, epoch: Any = 1, run: Any = None) -> dict[str, Any]:
    return {"epoch": epoch, "run": {} if run is None else run, "arrays": arrays}


FORGED = {
    "nothing": b"",
    "text": b"hello\n",
    "another version": forged(about([])).replace(b"checkpoint 1", b"checkpoint 2", 1),
    "no JSON": forged(b"{\n"),
    "JSON that is not UTF-8": forged(b"\xff\xfe\n"),
    "a list": forged([1, 2]),
    "a number": forged(5),
    "deep": forged(b"[" * 100_000 + b"\n"),
    "no arrays": forged({"epoch": 1, "run": {}}),
    "no run": forged({"epoch": 1, "arrays": []}),
    "an epoch of text": forged(about([], epoch="1")),
    "an epoch that is true": forged(about([], epoch=True)),
    "a run of text": forged(about([], run="x")),
    "objects": forged(about([["a", "O", [1]]]), bytes(8)),
    "an unknown dtype": forged(about([["a", "float7", [1]]]), bytes(8)),
    "a structured dtype": forged(about([["a", [["x", "O"]], [1]]]), bytes(8)),
    "a shape of text": forged(about([["a", "float64", "ab"]]), bytes(8)),
    "a negative shape": forged(about([["a", "float64", [-1, -1]]]), bytes(8)),
    "more than there is": forged(about([["a", "float64", [10**15]]]), bytes(8)),
    "less than there is": forged(about([["a", "float64", [1]]]), bytes(9)),
    "a size that overflows": forged(about([["a", "float64", [2**62, 2**62]]]), bytes(8)),
    "arrays that are numbers": forged(about([1])),
    "a header longer than the file": forged(about([]), size=999_999_999),
    "an infinite shape": forged(about([["a", "float64", [float("inf")]]]), bytes(8)),
}


@pytest.mark.parametrize("content", FORGED.values(), ids=FORGED)
def test_a_file_that_somebody_made_up_is_refused(tmp_path, content):
    (tmp_path / "epoch-1.checkpoint").write_bytes(content)
    with CheckpointDirectory(tmp_path) as directory, pytest.raises(InputError) as caught:
        directory.newest()
    (line,) = caught.value.problems
    assert re.fullmatch(re.escape(f"{tmp_path}: no checkpoint is usable: epoch-1.checkpoint ") + ".*", line)


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_checkpoint_is_passed_over_and_named(run, tmp_path, damage, seed):
    backend, directory, straight = run
    draw = random.Random(seed)
    copy = tmp_path / "run"
    shutil.copytree(directory, copy)
    damaged = set(draw.sample(NAMES, draw.choice([1, 1, 1, 2, 3])))
    for name in sorted(damaged):
        damage(copy / name, draw)
    sound = [name for name in NAMES if name not in damaged]
    if not sound:
        with pytest.raises(InputError) as caught:
            train(backend, copy, resume=True)
        (line,) = caught.value.problems
        assert all(name in line for name in NAMES)
        return
    result = train(backend, copy, resume=True)
    assert same_bits(result, straight)
    assert result.resumed_from == int(sound[-1][6])
    passed_over = [name for name in NAMES if name > sound[-1]]
    if not passed_over:
        assert result.notes == ()
        return
    (note,) = result.notes
    assert note.endswith(f"continuing from {sound[-1]}")
    assert [name for name in NAMES if f"{name} is damaged" in note or f"{name} does not begin" in note] == passed_over
    assert sorted(path.name for path in copy.iterdir()) == [
        ".lock", "epoch-10.checkpoint", "epoch-8.checkpoint", "epoch-9.checkpoint"
    ]  # fmt: skip


def test_renamed_checkpoints_are_not_what_they_say(run, tmp_path):
    backend, directory, straight = run
    copy = tmp_path / "run"
    shutil.copytree(directory, copy)
    shutil.copy(copy / NAMES[0], copy / "epoch-9.checkpoint")
    result = train(backend, copy, resume=True)
    assert same_bits(result, straight)
    assert result.notes == (f"{copy}: epoch-9.checkpoint holds epoch 6; continuing from epoch-8.checkpoint",)


class Killed(BaseException):
    """In the place of a SIGKILL: nothing after it is done."""


class Faults:
    """Makes the n-th of these calls fail, and every one after it where the process is to be dead."""

    CALLS = ("open", "write", "fsync", "replace", "unlink", "close", "chmod", "makedirs", "rename")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path, at: int, fault: BaseException):
        self.count, self.at, self.fault, self.place = 0, at, fault, str(place)
        self.handles: set[int] = set()
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*args: Any, **options: Any) -> Any:
            if not (str(args[0]).startswith(self.place) or args[0] in self.handles):
                return call(*args, **options)
            dead = isinstance(self.fault, Killed)
            self.count += 1
            if self.count == self.at or (dead and self.count > self.at):
                if name == "write" and self.count == self.at:
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                if name == "close":
                    call(*args)
                raise self.fault
            result = call(*args, **options)
            if name == "open":
                self.handles.add(result)
            elif name == "close":
                self.handles.discard(args[0])
            return result

        return faulty


FAULTS = {
    "a full disk": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "a disk that fails": lambda: OSError(errno.EIO, "Input/output error"),
    "a kill": Killed,
    "Ctrl-C": KeyboardInterrupt,
}


def calls_of_a_save(monkeypatch: pytest.MonkeyPatch, directory: Path) -> int:
    with monkeypatch.context() as patch, CheckpointDirectory(directory) as held:
        faults = Faults(patch, directory, NEVER, Killed())
        held.save(a_checkpoint(9))
        return faults.count


def a_checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(epoch, {"backend": "jax"}, {"a": np.full(1000, float(epoch))})


@pytest.fixture
def with_three(tmp_path: Path) -> Path:
    with CheckpointDirectory(tmp_path / "run") as directory:
        for epoch in (6, 7, 8):
            directory.save(a_checkpoint(epoch))
    return tmp_path / "run"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_whatever_call_of_a_save_fails_the_checkpoints_before_it_are_there(monkeypatch, with_three, tmp_path, fault):
    shutil.copytree(with_three, tmp_path / "counted")
    calls = calls_of_a_save(monkeypatch, tmp_path / "counted")
    assert (
        calls >= 7
    )  # open, write, fsync, close, replace, and the directory's open, fsync, close; unlink of the oldest
    for at in range(1, calls + 1):
        copy = tmp_path / f"at {at}"
        shutil.copytree(with_three, copy)
        held = CheckpointDirectory(copy)
        held.__enter__()
        with monkeypatch.context() as patch:
            Faults(patch, copy, at, expected := fault())
            with pytest.raises(type(expected)) as caught:
                held.save(a_checkpoint(9))
        if isinstance(expected, OSError):
            assert caught.value.errno == expected.errno
            assert str(copy) in str(caught.value.filename or copy)
        held.__exit__(None, None, None)
        with CheckpointDirectory(copy) as after:
            newest = after.newest()
            assert newest is not None
            assert newest.epoch in (8, 9)
            assert newest.arrays["a"].tolist() == [float(newest.epoch)] * 1000
            assert after.notes == []  # nothing half written has a checkpoint's name
            after.save(a_checkpoint(10))
            assert len([path for path in copy.iterdir() if path.name != ".lock"]) == KEPT


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_whatever_call_of_a_run_fails_the_resumed_run_is_the_straight_run(run, monkeypatch, tmp_path, fault):
    backend, directory, straight = run
    shutil.copytree(directory, tmp_path / "counted")
    with monkeypatch.context() as patch:
        faults = Faults(patch, tmp_path / "counted", NEVER, Killed())
        train(backend, tmp_path / "counted", resume=True)
    assert faults.count > 20
    for at in random.Random(1).sample(range(1, faults.count + 1), 8):
        copy = tmp_path / f"at {at}"
        shutil.copytree(directory, copy)
        with monkeypatch.context() as patch:
            Faults(patch, copy, at, expected := fault())
            with pytest.raises(type(expected)):
                train(backend, copy, resume=True)
        result = train(backend, copy, resume=True)
        assert result.resumed_from >= 8
        assert result.notes == ()
        assert same_bits(result, straight)
