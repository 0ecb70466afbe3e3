"""Convert NumPy arrays to torch tensors and back. This includes bfloat16, which NumPy knows only through ml_dtypes.

The functions import torch when they are called, because lstm_shared works without it.
"""

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    import torch


def to_array(tensor: "torch.Tensor") -> np.ndarray:
    """Copy a tensor to a NumPy array of the same dtype."""
    import torch

    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def to_tensor(array: Any) -> "torch.Tensor":
    """Copy an array to a CPU tensor of the same dtype. Python floats become float32, as in JAX."""
    import torch

    if isinstance(array, torch.Tensor):
        return array.detach().clone()
    if isinstance(array, float) and not isinstance(array, np.generic):
        return torch.tensor(array, dtype=torch.float32)
    array = np.array(array, order="C")  # copy, because torch would share the memory, and warns if it is read-only
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch knows only this machine's byte order
    is_bfloat16 = array.dtype == ml_dtypes.bfloat16
    tensor = torch.from_numpy(array.view(np.int16) if is_bfloat16 else array)  # pyright: ignore[reportUnknownMemberType]
    return tensor.view(torch.bfloat16) if is_bfloat16 else tensor
