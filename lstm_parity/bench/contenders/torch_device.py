"""The device that torch's contenders compute on, and when it has finished."""

from typing import TypeVar

import torch

Result = TypeVar("Result")

# A GPU if this process sees one: the runner hides it from a benchmark of the CPU. torch.set_default_device would slow
# every call down.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def finished(result: Result) -> Result:
    """The result, when the device has computed it."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return result
