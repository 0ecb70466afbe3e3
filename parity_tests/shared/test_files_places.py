"""Places that cannot be read or written, and writing that is whole or not at all."""

import os

import pytest

from lstm_shared import init_by_hand, load, save
from lstm_shared.safe_writing import require_writable, write_file
from lstm_shared.weight_files.formats import READABLE


@pytest.mark.parametrize("kind", READABLE)
def test_a_missing_file_and_a_directory_are_os_errors(tmp_path, kind):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / f"none{kind}")
    (tmp_path / f"folder{kind}").mkdir()
    with pytest.raises(IsADirectoryError):
        load(tmp_path / f"folder{kind}")


@pytest.mark.parametrize("kind", [".safetensors", ".npz"])
@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("none", FileNotFoundError, "there is no directory"),
        ("file", FileNotFoundError, "there is no directory"),
        ("folder", IsADirectoryError, "this is a directory, a file name is needed"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_and_after_the_work(tmp_path, kind, place, error, said):
    (tmp_path / "file").touch()
    (tmp_path / f"folder{kind}").mkdir()
    path = tmp_path / f"folder{kind}" if place == "folder" else tmp_path / place / f"weights{kind}"
    for attempt in (lambda: save(path, init_by_hand()), lambda: require_writable(path)):
        with pytest.raises(error, match=said) as caught:
            attempt()
        assert caught.value.filename == str(path)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["file", f"folder{kind}"]
    assert list((tmp_path / f"folder{kind}").iterdir()) == []


def test_a_place_without_permission_is_named_before_and_after_the_work(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / ".temporary"))

    monkeypatch.setattr("os.open", denied)
    for attempt in (lambda path: write_file(path, b""), require_writable):
        with pytest.raises(PermissionError, match="Permission denied") as caught:
            attempt(tmp_path / "weights.npz")
        assert caught.value.filename == str(tmp_path / "weights.npz")


@pytest.mark.parametrize("step", ["os.fsync", "os.chmod", "os.replace"])
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"]
)
@pytest.mark.parametrize("kind", [".safetensors", ".npz"])
def test_a_failure_while_writing_leaves_the_file_as_it_was(tmp_path, monkeypatch, kind, failure, step):
    path = tmp_path / f"weights{kind}"
    save(path, init_by_hand(1))
    before = path.read_bytes()

    def fail(*_):
        raise failure

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(failure)) as caught:
        save(path, init_by_hand(2))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(failure, OSError):
        assert caught.value.filename == str(path)
        assert caught.value.strerror == "No space left on device"


def test_the_new_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (steps.append(name), real(*args))[1])
    save(tmp_path / "weights.npz", init_by_hand())
    assert steps == ["fsync", "replace", "fsync"]  # the last, of its directory, keeps the new name
