"""The devices of both frameworks, and full precision on all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import torch

from lstm_parity.process.exit_codes import no_jax_device
from lstm_shared.errors import InputError

# What the hardware has no float64 for; there float32 is judged against the float64 oracle on the CPU.
_WITHOUT_FLOAT64 = ("tpu", "mps", "metal")


def jax_devices() -> dict[str, Any]:
    """Platform ("cpu", "gpu", "tpu") -> its first device, of those that JAX finds here; its default one comes first.

    Raises:
        InputError: JAX does not start: what JAX_PLATFORMS asks for is not here, or leaves out the CPU.
    """
    try:
        found = {jax.default_backend(): jax.devices()[0]}
        cpu = jax.devices("cpu")[0]
    except (RuntimeError, AssertionError) as error:  # the latter where a device that was asked for is left out
        raise InputError(no_jax_device(error)) from error
    return {"gpu" if name in ("cuda", "rocm") else name: device for name, device in found.items()} | {"cpu": cpu}


def torch_devices() -> tuple[str, ...]:
    """Of "cpu", "cuda" and "mps" those that torch finds here."""
    there = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
    return ("cpu", *(name for name, available in there if available))


def require_devices(jax_device: str, torch_device: str) -> None:
    """Raise an InputError for each device that is not here, with those that are."""
    problems = []
    for framework, name, there in (("JAX", jax_device, tuple(jax_devices())), ("torch", torch_device, torch_devices())):
        if name not in there:
            problems.append(f"{framework} finds no {name!r} here, only {', '.join(there)}")
    InputError.raise_any(problems)


def has_float64(*names: str) -> bool:
    """Whether all these devices compute in float64."""
    return not any(name in _WITHOUT_FLOAT64 for name in names)


@contextmanager
def full_precision() -> Iterator[None]:
    """Products in the precision of their inputs on both sides: by default JAX and cuDNN's LSTM use TF32 on a GPU."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    # flags() sets everything it has, and is the only way once torch's own test tools are loaded.
    as_it_is = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    try:
        with cudnn.flags(**as_it_is, allow_tf32=False), jax.default_matmul_precision("highest"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
