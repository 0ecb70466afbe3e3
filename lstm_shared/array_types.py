"""Array types: the attributes that the arrays of every framework have."""

from typing import Any, Protocol

Shape = tuple[int, ...]


class Array(Protocol):
    """An array of NumPy, JAX (traced or not) or torch, of which only the shape and dtype are used.

    Code that needs the values takes ``np.ndarray``, or ``Any`` if a framework computes with them.
    """

    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> Any: ...
