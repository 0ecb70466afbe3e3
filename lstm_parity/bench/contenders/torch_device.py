"""The device for torch contenders, and how to wait for it."""

from typing import TypeVar

import torch

Result = TypeVar("Result")

# A GPU if this process sees one; the runner hides it when it benchmarks the CPU. torch.set_default_device would slow
# down every call.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def finished(result: Result) -> Result:
    """Wait until the device has computed the result, and return it."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return result
