"""A thousand damaged and hostile files, read one after the other with little memory: loaded right or refused in a line.

One process reads them all; what came of each is a test of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_files
import pytest
from lying_files import lying_files

# Cuts, flips, insertions and flips near the end, of each of ten kinds of file.
DRAWS = 20

# In these kinds each byte of an array is under a checksum: what is loaded at all is what was written.
CHECKED = ("zip.pt", "packed.pt", "plain.npz", "packed.npz", "script.jit", "prices.csv.gz")
KINDS = ("zip.pt", "old.pt", "packed.pt", "plain.npz", "packed.npz", "plain.safetensors", "script.jit", "single.npy",
         "prices.csv", "prices.csv.gz")  # fmt: skip
WAYS = ("cut", "flip", "more", "end")

# Beside what the libraries take. The largest honest thing among the files has 268 MB, once as bytes and once as arrays.
MEGABYTES = 1500


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, dict]:
    """File name -> what came of reading it."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "sound").mkdir()
    for name, data in hostile_files.sound_files().items():
        (folder / f"good-{name}").write_bytes(data)
        (folder / "sound" / name).write_bytes(data)
    for name, data in (*hostile_files.damaged_files(DRAWS), *lying_files()):
        assert not (folder / name).exists(), name
        (folder / name).write_bytes(data)
    script = Path(hostile_files.__file__)
    done = subprocess.run(
        [sys.executable, script, folder, str(MEGABYTES)], capture_output=True, text=True, check=False, timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-500:]
    return {one["file"]: one for one in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_loaded(outcomes, kind):
    assert outcomes[f"good-{kind}"]["kind"] == "loaded", outcomes[f"good-{kind}"]


@pytest.mark.parametrize("draw", range(DRAWS))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_loaded_right_or_refused_in_a_line(outcomes, kind, way, draw):
    stem, dot, suffix = kind.partition(".")
    outcome = outcomes[f"{stem}-{way}-{draw}{dot}{suffix}"]
    assert outcome["kind"] in ("loaded", "refused"), outcome
    if outcome["kind"] == "refused":
        assert outcome["said"]
        assert all("\n" not in line and len(line) < 700 for line in outcome["said"])
    elif kind in CHECKED:
        assert outcome["digest"] == outcomes[f"good-{kind}"]["digest"], "loaded, and not what was written"


# Headers that say something odd that is true, or that nobody needs.
TRUE = {
    "big-endian.npy", "big-endian.npz", "no-members.npz", "itself.pt", "memo.pt", "numel.jit",
    "says-more.npz",
}  # fmt: skip


def test_every_lie_is_refused_in_a_line(outcomes):
    lies = {
        n: o for n, o in outcomes.items() if n and not n.startswith("good-") and not any(f"-{w}-" in n for w in WAYS)
    }
    assert len(lies) > 90
    assert {name: one["kind"] for name, one in lies.items() if one["kind"] != "refused"} == dict.fromkeys(
        TRUE, "loaded"
    )
    assert [line for one in lies.values() for line in one["said"] if "\n" in line or len(line) >= 700] == []


def test_no_file_takes_much_memory(outcomes):
    """In kB. The most is what is allowed whatever the size of the file, 268 MB, and its pieces once more."""
    assert 0 < outcomes[""]["digest"] < 1_000_000
