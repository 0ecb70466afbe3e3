"""Weights that look like a trained model's: shapes, norms and spectra come from a small table, the rest is drawn.

For each gate's block of a matrix, the table has the singular values at the ranks 0, 1, 2, 4, 8, … and the last one.
Between them the values follow a straight line on logarithmic scales. For a recurrent block it also has how far the two
sets of singular vectors point the same way, and for each gate's part of a bias the mean and the standard deviation. The
rest of the singular vectors is drawn. ``make_look_alikes.py`` makes the table from the wheels.
"""

import json
import zlib
from pathlib import Path

import numpy as np

TABLE = Path(__file__).with_suffix(".json")


def look_alike(name: str) -> dict[str, np.ndarray]:
    """Return float32 weights like those of the trained model of this name. Every call returns the same ones."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return {
        weight: np.concatenate([_block(shape, gate, rng) for gate in gates]).astype(np.float32)
        for weight, (shape, gates) in json.loads(TABLE.read_text())[name].items()
    }


def summary(weights: dict[str, np.ndarray]) -> dict[str, tuple[list[int], list[list[float]]]]:
    """Return what the table has for a model: weight -> (shape of a gate's block, numbers of each gate).

    The numbers of a vector are its mean and standard deviation. Those of a matrix are its alignment, then its singular
    values. The alignment of a square block is its trace over the sum of its singular values, that is the mean cosine
    between the left and the right singular vectors. In the candidate's recurrent block of most trained models it is
    -0.1 to -0.35: a unit holds itself back. Without it, look-alikes of "voice-encoder" are chaotic: a rounding error in
    their weights moves the outputs after 160 steps of speech by 4·10⁷ eps. With it, that is 6·10⁶ eps (geometric means
    of three seeds), and 3 eps in the trained model.
    """
    return {
        weight: (list(blocks[0].shape), [[float(f"{number:.4g}") for number in _numbers(block)] for block in blocks])
        for weight, blocks in ((weight, np.split(array.astype(np.float64), 4)) for weight, array in weights.items())
    }


def _numbers(block: np.ndarray) -> list[float]:
    if block.ndim == 1:
        return [block.mean(), block.std()]
    values = np.linalg.svd(block, compute_uv=False)
    alignment = np.trace(block) / values.sum() if block.shape[0] == block.shape[1] else 0.0
    return [alignment, *values[_ranks(len(values))]]


def _block(shape: list[int], numbers: list[float], rng: np.random.Generator) -> np.ndarray:
    if len(shape) == 1:
        mean, deviation = numbers
        return mean + deviation * rng.standard_normal(shape)
    size, alignment = min(shape), numbers[0]
    # Ranks are counted from 1 here, so that their logarithm exists.
    values = np.exp(np.interp(np.log1p(np.arange(size)), np.log1p(_ranks(size)), np.log(numbers[1:])))
    left, right = (_orthogonal(rng.standard_normal((length, size))) for length in shape)
    if alignment:
        left = _orthogonal(alignment * right + np.sqrt(1 - alignment**2) * left)
    return (left * values) @ right.T


def _orthogonal(vectors: np.ndarray) -> np.ndarray:
    """Make the vectors orthonormal, each close to what it was: QR alone may flip their sign."""
    basis, factor = np.linalg.qr(vectors)
    return basis * np.sign(np.diag(factor))


def _ranks(size: int) -> list[int]:
    return sorted({0, size - 1} | {2**power for power in range(size.bit_length()) if 2**power < size})
