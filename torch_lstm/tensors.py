"""Arguments as tensors: those that are stay as they are, so that gradients flow through them."""

from typing import Any

from torch import Tensor

from lstm_shared.tensors import to_tensor


def as_tensor(value: Any) -> Tensor:
    """The tensor itself, or the array's values in a new one: NumPy's in any byte order, bfloat16 too."""
    return value if isinstance(value, Tensor) else to_tensor(value)
