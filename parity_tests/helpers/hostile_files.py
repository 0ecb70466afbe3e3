"""Files that are damaged or meant to do harm, for ``test_hostile_files``, which has a process read them all.

As a program, ``python hostile_files.py FOLDER MEGABYTES``, this reads the files of the folder one after the other. It
allows that much memory on top of what its libraries take, and prints the outcome of each file as a line of JSON.
"""

import io
import json
import re
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


def weights() -> dict[str, np.ndarray]:
    """Return a model whose arrays are so large that most damage hits numbers, but small enough to be quick."""
    rng = np.random.default_rng(0)
    return {
        f"w{k}": rng.standard_normal(shape).astype(np.float32) for k, shape in enumerate([(40, 5), (40, 10), (40,)])
    }


def sound_files() -> dict[str, bytes]:
    """Return file name -> a good file, for each kind that can be read."""
    import torch

    from lstm_shared.weight_files.load_save import npz_bytes

    arrays = weights()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    made = {}
    for name, options in (("zip.pt", {}), ("old.pt", {"_use_new_zipfile_serialization": False})):
        buffer = io.BytesIO()
        torch.save(tensors, buffer, **options)
        made[name] = buffer.getvalue()
    made["packed.pt"] = repacked(made["zip.pt"])
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # pyright: ignore[reportArgumentType]
    single = io.BytesIO()
    np.save(single, arrays["w0"])
    import safetensors.numpy

    rows = "\n".join(
        f"{day},{10 + k % 7}.5" for k, day in enumerate(np.arange("2020-01-01", "2020-06-01", dtype="M8[D]"))
    )
    text = f"date,close\n{rows}\n".encode()
    return made | {
        "plain.npz": npz_bytes(arrays),
        "packed.npz": packed.getvalue(),
        "plain.safetensors": safetensors.numpy.save(arrays),
        "script.jit": scripted(),
        "single.npy": single.getvalue(),
        "prices.csv": text,
        "prices.csv.gz": gzipped(text),
    }


def scripted() -> bytes:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        linear = torch.nn.Linear(4, 3)
        for parameter in linear.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
        torch.jit.save(torch.jit.script(linear), buffer)
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(data) + packer.flush()


def repacked(
    data: bytes,
    change: Callable[[str, bytes], bytes] = lambda _, content: content,
    *,
    method: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """Return a packed zip with changed members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for member in old.infolist():
            new.writestr(member.filename, change(member.filename, old.read(member)))
    return buffer.getvalue()


def damaged_files(draws: int) -> Iterator[tuple[str, bytes]]:
    """Damage each good file at random positions: cut it off, flip bytes, insert bytes."""
    rng = np.random.default_rng(1)
    for name, data in sound_files().items():
        stem, dot, kind = name.partition(".")
        for k in range(draws):
            yield f"{stem}-cut-{k}{dot}{kind}", data[: int(rng.integers(0, len(data)))]
            flipped = bytearray(data)
            for at in rng.integers(0, len(data), int(rng.integers(1, 4))):
                flipped[at] ^= int(rng.integers(1, 256))
            yield f"{stem}-flip-{k}{dot}{kind}", bytes(flipped)
            at = int(rng.integers(0, len(data)))
            yield f"{stem}-more-{k}{dot}{kind}", data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]
            where = max(0, len(data) - int(rng.integers(1, 400)))  # where a zip has its directory
            yield f"{stem}-end-{k}{dot}{kind}", data[:where] + bytes([data[where] ^ 0xFF]) + data[where + 1 :]


def read(path: Path) -> dict[str, np.ndarray]:
    """Read a file of this name as the command line does."""
    from lstm_shared.prices.files import read_prices
    from lstm_shared.weight_files.load_save import load
    from lstm_shared.weight_files.numpy_files import read_npy

    if path.suffix == ".npy":
        return {"w0": read_npy(path)}
    if path.suffix in (".csv", ".gz"):
        return {"prices": read_prices(path).prices}
    return load(path)


def peak() -> int:
    """Return the most memory that this process has taken, in kB."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])  # pyright: ignore


def main(folder: Path, megabytes: int) -> None:
    import resource

    import torch

    from lstm_shared.errors import InputError, WeightsError

    torch.set_num_threads(1)
    torch.load(folder / "sound" / "zip.pt", weights_only=True)  # make torch load now what it loads late
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = peak()
    limit = taken + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            continue
        said: list[str] = []
        digest, kind = 0, "loaded"
        try:
            for name, array in sorted(read(path).items()):
                digest = zlib.crc32(array.tobytes(), zlib.crc32(name.encode(), digest))
        except (InputError, WeightsError) as error:
            kind, said = "refused", list(error.problems)
        except BaseException as error:
            kind, said = type(error).__name__, [repr(error)]
        print(json.dumps({"file": path.name, "kind": kind, "said": said, "digest": digest}), flush=True)
    print(json.dumps({"file": "", "kind": "peak", "said": [], "digest": peak() - before}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
