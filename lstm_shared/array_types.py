"""The types of arrays: what every framework's array can be asked for."""

from typing import Any, Protocol

Shape = tuple[int, ...]


class Array(Protocol):
    """An array of NumPy, JAX (traced ones too) or torch, used only for its shape and dtype.

    Code that needs the values takes ``np.ndarray``, or ``Any`` where a framework computes with them.
    """

    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> Any: ...
