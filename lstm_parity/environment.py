"""Where a comparison ran: versions, devices and precision settings, for reports and records."""

import platform
from importlib import metadata

import jax
import torch


def environment() -> dict[str, str]:
    """What a reader needs to repeat a run, as name -> text."""
    versions = {
        name: metadata.version(name)
        for name in ("lstm-parity", "jax", "jaxlib", "optax", "torch", "lightning", "numpy")
    }
    return {
        **versions,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "jax device": jax.devices()[0].device_kind,
        "torch device": "cpu",
        "torch threads": str(torch.get_num_threads()),
        "jax matmul precision": "highest",
        "torch float32 precision": "full (no TF32)",
    }
