"""Files whose headers are wrong, and archives that unpack to far more than their own size."""

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from hostile_files import gzipped, repacked, sound_files

HUGE = 2**62


def lying_files() -> Iterator[tuple[str, bytes]]:
    """Yield the (file name, content) of each."""
    yield from _safetensors_that_lie()
    yield from numpy_files_that_lie()
    yield from _zips_that_lie()
    yield from _torch_files_that_lie()
    yield "bomb.csv.gz", gzipped(b"date,close\n" + b"2020-01-01,1\n" * 23_000_000)
    yield "zeros.csv.gz", gzipped(bytes(300_000_000))
    yield "cell.csv", b"date,close\n2020-01-01," + b"1" * 200_000 + b"\n"
    yield "quote.csv", b'date,close\n2020-01-01,"1\n' * 2


def _safetensors_that_lie() -> Iterator[tuple[str, bytes]]:
    headers: dict[str, Any] = {
        "hundred-axes": {"w": {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}},
        "empty-hundred-axes": {"w": {"dtype": "F32", "shape": [0] * 100, "data_offsets": [0, 0]}},
        "huge-shape": {"w": {"dtype": "F32", "shape": [HUGE, 4], "data_offsets": [0, 4]}},
        "huge-empty": {"w": {"dtype": "F32", "shape": [0, HUGE], "data_offsets": [0, 0]}},
        "negative": {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        "beyond": {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
        "overlap": {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"},
        "unknown-dtype": {"w": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}},
        "float8": {"w": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}},
        "no-object": [1, 2],
        "text": {"w": "F32"},
    }
    for name, header in headers.items():
        text = json.dumps(header).encode()
        yield f"{name}.safetensors", struct.pack("<Q", len(text)) + text + bytes(4)
    deep = b'{"w":' * 100_000
    yield "deep.safetensors", struct.pack("<Q", len(deep)) + deep
    yield "long-header.safetensors", struct.pack("<Q", 2**63) + b"{}"
    yield "not-utf8.safetensors", struct.pack("<Q", 8) + b'{"\xff\xfe":1'


def npy(header: str, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return an ``.npy`` file with any header."""
    text = header.encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + body


def array_header(shape: str = "(2,)", descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


def numpy_files_that_lie() -> Iterator[tuple[str, bytes]]:
    """Yield the lying NumPy files, each as ``.npy`` and inside an ``.npz``."""
    files = {
        "22-terabytes": npy(array_header("(5500000000000,)"), bytes(8)),
        "overflow": npy(array_header(f"({HUGE}, {HUGE})"), bytes(8)),
        "negative": npy(array_header("(-2,)"), bytes(8)),
        "two-negatives": npy(array_header("(-1, -2)"), bytes(8)),
        "hundred-axes": npy(array_header(f"({'1, ' * 100})"), bytes(4)),
        "text": npy(array_header("(2,)", "'<U4'"), bytes(32)),
        "bytes": npy(array_header("(2,)", "'|S4'"), bytes(8)),
        "dates": npy(array_header("(2,)", "'<M8[s]'"), bytes(16)),
        "structured": npy(array_header("(2,)", "[('a', '<f4'), ('b', '<i4')]"), bytes(16)),
        "sub-arrays": npy(array_header("(2,)", "('<f4', (1000000,))"), bytes(8)),
        "objects": npy(array_header("(2,)", "'|O'"), bytes(8)),
        "void": npy(array_header("(1,)", "'|V1000000000'"), bytes(8)),
        "complex": npy(array_header("(1,)", "'<c8'"), bytes(8)),
        "unknown": npy(array_header("(1,)", "'<q9'"), bytes(8)),
        "version": npy(array_header(), bytes(8), (9, 9)),
        "long-header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{",
        "deep-header": npy("(" * 9000),
        "code": npy("__import__('os').abort()"),
        "no-keys": npy("{}"),
        "a-number": npy("7"),
        "big-endian": npy(array_header("(2,)", "'>f4'"), np.ones(2, ">f4").tobytes()),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "more-than-it-says": npy(array_header(), bytes(9)),
    }
    for name, data in files.items():
        yield f"{name}.npy", data
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("w.npy", data)
        yield f"{name}.npz", buffer.getvalue()


def _zips_that_lie() -> Iterator[tuple[str, bytes]]:
    good = sound_files()["plain.npz"]
    array = npy(array_header("(75000000,)"), bytes(300_000_000))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("w.npy", array)
    bomb = buffer.getvalue()
    yield "bomb.npz", bomb
    yield "bomb.pt", bomb.replace(b"w.npy", b"x.pkl")
    yield "says-less.npz", bomb.replace(struct.pack("<I", len(array)), struct.pack("<I", 1000))
    for name, method in (("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
        yield f"{name}.npz", repacked(good, method=method)
    entry = 128 + 800  # w0: its header and its numbers
    sizes = struct.pack("<II", entry, entry)
    assert good.count(sizes) == 1
    yield "says-more.npz", good.replace(sizes, struct.pack("<II", entry, entry + 1000))
    yield "says-terabytes.npz", good.replace(sizes, struct.pack("<II", entry, 2**32 - 2))
    directory = good.index(b"PK\x01\x02")
    yield "encrypted.npz", good[: directory + 8] + b"\x01" + good[directory + 9 :]
    yield "comment.npz", good[:-2] + struct.pack("<H", 4) + b"PK\x05\x06"
    yield "no-members.npz", b"PK\x05\x06" + bytes(18)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for _ in range(2):
                archive.writestr("w.npy", npy(array_header(), bytes(8)))
    yield "twice.npz", buffer.getvalue()
    yield "one-body-for-many.npz", overlapping(npy(array_header("(2000000,)"), bytes(8_000_000)), 1000)


def overlapping(content: bytes, times: int) -> bytes:
    """Return an archive whose directory lists the same packed member many times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("aaaa.npy", content)
    data = buffer.getvalue()
    begin, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, body = data[begin:end], data[:begin]
    entries = b"".join(entry.replace(b"aaaa", f"{k:04d}".encode()) for k in range(times))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, times, times, len(entries), begin, 0)
    return body + entries + tail


def _torch_files_that_lie() -> Iterator[tuple[str, bytes]]:
    import torch

    def saved(content: Any, **options: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        return buffer.getvalue()

    one = torch.ones(1)
    yield "expanded.pt", saved({"w": one.expand(70_000, 70_000)})
    yield "expanded-old.pt", saved({"w": one.expand(70_000, 70_000)}, _use_new_zipfile_serialization=False)
    yield "many-expanded.pt", saved({f"w{k}": one.expand(10_000, 10_000) for k in range(50)})
    yield "many-axes.pt", saved({"w": torch.zeros((1,) * 65)})
    yield "overlapping.pt", saved({"w": torch.as_strided(torch.ones(100_000), (50_000, 50_000), (1, 1))})
    yield "meta.pt", saved({"w": torch.empty(10**7, 10**7, device="meta")})
    itself: dict[str, Any] = {"w": one}
    itself["itself"] = itself
    yield "itself.pt", saved(itself)
    deep: Any = {"w": one}
    for _ in range(150):
        deep = {"a": deep}
    yield "deep.pt", saved(deep)
    good = saved({"w": torch.arange(10.0)})
    pickles = {
        "numel": (b"K\nt", b"K\x80t"),
        "shape": (b"K\n\x85", b"K\xff\x85"),
        "stride": (b"K\x01\x85", b"K\xff\x85"),
        "offset": (b"QK\x00", b"QK\xff"),
        "storage": (b"FloatStorage", b"ByteStorage\n"),
        "no-storage": (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"),
        "memo": (b"\x80\x02}q\x00", b"\x80\x02}r\xff\xff\xff\x7f"),
        "code": (b"ctorch._utils\n_rebuild_tensor_v2", b"cos\nsystem"),
    }
    for name, (old, new) in pickles.items():

        def change(member: str, content: bytes, old: bytes = old, new: bytes = new) -> bytes:
            return content.replace(old, new) if member.endswith("data.pkl") else content

        yield f"{name}.pt", repacked(good, change)
        yield f"{name}.jit", repacked(with_constants(good), change)


def with_constants(data: bytes) -> bytes:
    """Return a checkpoint that looks like TorchScript, whose tensors are read without torch."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
        new.writestr("archive/constants.pkl", b"\x80\x02).")
    return buffer.getvalue()
