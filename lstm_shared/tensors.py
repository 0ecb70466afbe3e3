"""NumPy arrays to torch tensors and back, bfloat16 included, which NumPy only knows through ml_dtypes.

torch is imported when a function is called, not before: lstm_shared works without it.
"""

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    import torch


def to_array(tensor: "torch.Tensor") -> np.ndarray:
    """A tensor's values as a NumPy array of its own, on the CPU, in the tensor's dtype."""
    import torch

    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def to_tensor(array: Any) -> "torch.Tensor":
    """An array's values as a CPU tensor of its own, in the array's dtype. Python floats become float32, as in JAX."""
    import torch

    if isinstance(array, torch.Tensor):
        return array.detach().clone()
    if isinstance(array, float) and not isinstance(array, np.generic):
        return torch.tensor(array, dtype=torch.float32)
    array = np.array(array, order="C")  # a copy: torch would share the memory, and warns when it is read-only
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch knows this machine's byte order only
    is_bfloat16 = array.dtype == ml_dtypes.bfloat16
    tensor = torch.from_numpy(array.view(np.int16) if is_bfloat16 else array)  # pyright: ignore[reportUnknownMemberType]
    return tensor.view(torch.bfloat16) if is_bfloat16 else tensor
