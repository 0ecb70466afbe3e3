"""The types of arrays: what every framework's array can be asked for."""

from typing import Any, Protocol

Shape = tuple[int, ...]


class Array(Protocol):
    """An array of NumPy, JAX (also traced) or torch, of which only the form is looked at.

    Where an array's values are needed too, its type is ``np.ndarray`` once it was read, and ``Any`` before.
    """

    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> Any: ...
