"""Find the devices of both frameworks, and run them at full precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import torch

from lstm_parity.process.exit_codes import no_jax_device
from lstm_shared.errors import InputError

# Devices without float64. There, float32 is judged against the float64 result from the CPU.
_WITHOUT_FLOAT64 = ("tpu", "mps", "metal")


def jax_devices() -> dict[str, Any]:
    """Return the devices that JAX finds here: platform ("cpu", "gpu", "tpu") -> its first device, the default first.

    Raises:
        InputError: if JAX does not start, because JAX_PLATFORMS asks for a device that is not here or leaves out the
            CPU.
    """
    try:
        found = {jax.default_backend(): jax.devices()[0]}
        cpu = jax.devices("cpu")[0]
    except (RuntimeError, AssertionError) as error:  # AssertionError: JAX_PLATFORMS leaves out a device asked for
        raise InputError(no_jax_device(error)) from error
    return {"gpu" if name in ("cuda", "rocm") else name: device for name, device in found.items()} | {"cpu": cpu}


def torch_devices() -> tuple[str, ...]:
    """Return those of "cpu", "cuda" and "mps" that torch finds here."""
    there = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
    return ("cpu", *(name for name, available in there if available))


def require_devices(jax_device: str, torch_device: str) -> None:
    """Raise an InputError that names each device that is not here, and those that are."""
    problems = []
    for framework, name, there in (("JAX", jax_device, tuple(jax_devices())), ("torch", torch_device, torch_devices())):
        if name not in there:
            problems.append(f"{framework} finds no {name!r} here, only {', '.join(there)}")
    InputError.raise_any(problems)


def has_float64(*names: str) -> bool:
    """Return whether all these devices compute in float64."""
    return not any(name in _WITHOUT_FLOAT64 for name in names)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute products in the precision of their inputs on both sides. By default, JAX and cuDNN use TF32 on a GPU."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    # Once torch's own test tools are loaded, flags() is the only way to set allow_tf32. It sets the other flags too.
    as_it_is = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    try:
        with cudnn.flags(**as_it_is, allow_tf32=False), jax.default_matmul_precision("highest"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
