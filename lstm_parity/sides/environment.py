"""Record where a comparison ran, for reports and records: versions, devices and precision settings."""

import platform
from importlib import metadata

import torch

from lstm_parity.sides.devices import jax_devices

_PACKAGES = ("lstm-parity", "jax", "jaxlib", "optax", "torch", "lightning", "numpy")


def environment(jax_device: str = "cpu", torch_device: str = "cpu") -> dict[str, str]:
    """Return what a reader needs to repeat a run under ``full_precision()``, as name -> text."""
    on_gpu = torch_device == "cuda"
    return {
        **{name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "jax device": jax_devices()[jax_device].device_kind,
        "torch device": torch.cuda.get_device_name() if on_gpu else torch_device,
        "torch threads": str(torch.get_num_threads()),
        "jax matmul precision": "highest",
        "torch float32 precision": "full (no TF32)",
    }
