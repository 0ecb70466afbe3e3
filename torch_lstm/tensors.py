"""Convert arguments to tensors. Tensors stay as they are, so that gradients flow through them."""

from typing import Any

from torch import Tensor

from lstm_shared.tensors import to_tensor


def as_tensor(value: Any) -> Tensor:
    """Return a tensor itself, or copy an array to a new one. NumPy arrays may have any byte order, and bfloat16."""
    return value if isinstance(value, Tensor) else to_tensor(value)
