"""Weights, reports, records and cases under faults: the old file is whole or the new one is, and nothing is silent."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import writes_under_faults
from writes_under_faults import CALLS, REPLACED, contents, fault

from lstm_shared import InputError, init_by_hand, load, save
from lstm_shared.safe_writing import write_file

WRITERS = writes_under_faults.writers()
FAILURES = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "input/output error": OSError(errno.EIO, "Input/output error"),
    "interrupted": InterruptedError(errno.EINTR, "Interrupted system call"),
    "over quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "Ctrl-C": KeyboardInterrupt(),
}


@pytest.mark.parametrize("what", WRITERS)
def test_these_calls_make_a_write(tmp_path, what):
    name, write = WRITERS[what]
    write(tmp_path / name, 0)
    with fault(99, lambda: None) as made:
        write(tmp_path / name, 1)
    assert tuple(made) == CALLS


@pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{k}-{call}" for k, call in enumerate(CALLS)])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("existed", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("what", WRITERS)
def test_a_call_that_fails_is_an_error_and_leaves_a_whole_file(tmp_path, what, existed, failure, number):
    name, write = WRITERS[what]
    path = tmp_path / name
    old, new = contents(path, write, existed)

    def fail() -> None:
        raise FAILURES[failure]

    last = len(CALLS) - 1 if existed else len(CALLS) - 2  # no permissions are kept of what was not there
    if number > last:
        with fault(number, fail) as made:
            write(path, 1)
        assert len(made) == number
        return
    with fault(number, fail), pytest.raises(type(FAILURES[failure])) as caught:
        write(path, 1)
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)
        assert caught.value.errno == FAILURES[failure].errno  # pyright: ignore[reportAttributeAccessIssue]
    replaced = number >= (REPLACED if existed else REPLACED - 1)
    assert (path.read_bytes() if path.exists() else None) == (new if replaced else old)
    assert sorted(tmp_path.iterdir()) == [path] * (path.exists())


@pytest.mark.parametrize("what", WRITERS)
def test_a_write_that_takes_a_part_at_a_time_is_whole(tmp_path, monkeypatch, what):
    name, write = WRITERS[what]
    write(tmp_path / f"whole-{name}", 1)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[: max(1, len(data) // 3)]))
    write(tmp_path / name, 1)
    monkeypatch.undo()
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> dict[str, dict]:
    """What a process left that was ended at a call of a write."""
    script = Path(writes_under_faults.__file__)
    command = [sys.executable, script, tmp_path_factory.mktemp("killed")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {one["case"]: one for one in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{k}-{call}" for k, call in enumerate(CALLS)])
@pytest.mark.parametrize("existed", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("what", WRITERS)
def test_a_process_that_is_killed_leaves_a_whole_file(killed, what, existed, number):
    outcome = killed[f"{what}-{existed}-{number}"]
    replaced = number >= (REPLACED if existed else REPLACED - 1)
    assert outcome["found"] == ("new" if replaced else "old")
    assert outcome["code"] == (0 if not existed and number == len(CALLS) - 1 else 9)


# Permissions


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o666, 0o400, 0o444, 0o660])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000, 0o027])
@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_a_file_keeps_its_permissions_and_a_new_one_has_those_of_the_umask(tmp_path, kind, umask, mode):
    path = tmp_path / f"w{kind}"
    before = os.umask(umask)
    try:
        save(path, init_by_hand(0))
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
        path.chmod(mode)
        save(path, init_by_hand(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert load(path)["wlr1"] == init_by_hand(1)["wlr1"]


def test_the_new_content_of_a_private_file_is_never_open_to_others(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    write_file(path, b"old")
    path.chmod(0o600)
    seen = []
    real = os.write

    def write(handle, data):
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    write_file(path, b"new")
    assert seen == [0o600]


def test_a_link_stays_and_its_target_keeps_its_permissions(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "w.npz", tmp_path / "w.npz"
    save(target, init_by_hand(0))
    target.chmod(0o600)
    link.symlink_to(target)
    save(link, init_by_hand(1))
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert load(target)["wlr1"] == init_by_hand(1)["wlr1"]


# Names


LONG = "w" * 70_000
REFUSED = {
    "safetensors' own": (".safetensors", ["__metadata__"], "is reserved by safetensors"),
    "NUL": (".npz", ["a\0b"], "holds a NUL"),
    "NUL in safetensors": (".safetensors", ["a\0b"], "holds a NUL"),
    "NUL at the end": (".npz", ["a", "a\0"], "holds a NUL"),
    "not encodable": (".npz", ["\ud800"], "cannot be written as UTF-8"),
    "not encodable in safetensors": (".safetensors", ["a\udcff"], "cannot be written as UTF-8"),
    "the suffix beside it": (".npz", ["w", "w.npy"], "are one name to NumPy"),
    "two suffixes": (".npz", ["w.npy.npy", "w.npy"], "are one name to NumPy"),
    "the suffix first": (".npz", ["w.npy", "w"], "are one name to NumPy"),
    "a suffix alone": (".npz", ["", ".npy"], "are one name to NumPy"),
    "a number": (".npz", [1], "is of type int, expected a string"),
    "None": (".safetensors", [None], "is of type NoneType, expected a string"),
    "a tuple": (".npz", [("a", "b")], "is of type tuple, expected a string"),
    "long": (".npz", [LONG], "has 70000 bytes"),
    "long in safetensors": (".safetensors", [LONG], "has 70000 bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_names_that_would_not_come_back_are_refused_before_anything_is_written(tmp_path, case):
    kind, names, said = REFUSED[case]
    path = tmp_path / f"weights{kind}"
    save(path, init_by_hand())
    before = path.read_bytes()
    with pytest.raises(InputError, match=said) as caught:
        save(path, dict.fromkeys(names, 1.0))
    assert len(caught.value.problems) == 1
    assert len(str(caught.value)) < 400
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


KEPT = ["", " ", ".", "..", "../up", "/", "a/b", "a\\b", "\n", "\x1b[31m", "\u202e", "größe", "𝄞", "verdict: agree",
        "__metadata", "a.npy", "allow_pickle", "file", "CON", "a" * 300, "%s", "{x}", "'\"",
        "\ufeff", "-", "é", "e\u0301"]  # fmt: skip


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
@pytest.mark.parametrize("name", KEPT, ids=ascii)
def test_every_other_name_comes_back_as_it_is(tmp_path, kind, name):
    save(tmp_path / f"weights{kind}", {name: 1.0, "w": 2.0})
    assert list(load(tmp_path / f"weights{kind}")) in ([name, "w"], ["w", name])


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        save(tmp_path / "w.safetensors", {"__metadata__": 1.0, "a\0": 1.0, "rows": [[1.0], [1.0, 2.0]], "text": "a"})
    assert len(caught.value.problems) == 4
    assert list(tmp_path.iterdir()) == []
