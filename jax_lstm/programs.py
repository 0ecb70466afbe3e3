"""The digest of a JAX program, to compare programs across processes, and the settings of an optimizer.

Two functions cannot be compared, but what they compute can: their jaxprs, with every constant in them.
"""

import hashlib
import re
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend import core as jex_core
from jaxtyping import PyTree

Setting = bool | int | float | str

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def program_digest(function: Callable[..., PyTree], *arguments: PyTree) -> str:
    """Return the sha256 of what ``function`` computes from arguments (arrays or structs) of these shapes and dtypes."""
    total = hashlib.sha256()
    for part in _program(jax.make_jaxpr(function)(*arguments)):
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()


def settings(optimizer: optax.GradientTransformation) -> dict[str, Setting]:
    """Return the numbers that an optax transformation was made with, by "function.name", as far as they can be found.

    Optax keeps them in the closures of its inner functions. ``adam(0.1)`` has ``scale_by_adam.b1`` and
    ``learning_rate``, which optax calls ``scale.step_size`` and negates.
    """
    found: dict[str, Setting] = {}
    _find_settings(optimizer, found, set())
    return dict(_as_learning_rate(name, value) for name, value in found.items())


def _as_learning_rate(name: str, value: Setting) -> tuple[str, Setting]:
    if name == "scale.step_size" and not isinstance(value, str):
        return "learning_rate", -value
    return name, value


def _program(closed: jex_core.ClosedJaxpr) -> Iterator[str | bytes]:
    for constant in closed.consts:
        yield from _value(constant)
    yield from _jaxpr(closed.jaxpr)


def _jaxpr(jaxpr: jex_core.Jaxpr) -> Iterator[str | bytes]:
    numbers: dict[jex_core.Var, int] = {}

    def variable(one: jex_core.Var | jex_core.Literal) -> Iterator[str | bytes]:
        if isinstance(one, jex_core.Literal):
            yield from _value(one.val)
            yield str(one.aval)
        else:
            yield f"{numbers.setdefault(one, len(numbers))}:{one.aval}"

    for one in (*jaxpr.constvars, *jaxpr.invars):
        yield from variable(one)
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for one in (*equation.invars, *equation.outvars):
            yield from variable(one)
        for name in sorted(equation.params):
            yield name
            yield from _value(equation.params[name])
    for one in jaxpr.outvars:
        yield from variable(one)


def _value(value: object) -> Iterator[str | bytes]:
    if isinstance(value, jex_core.ClosedJaxpr):
        yield from _program(value)
    elif isinstance(value, jex_core.Jaxpr):
        yield from _jaxpr(value)
    elif isinstance(value, tuple | list):
        yield f"{len(value)} values"
        for one in value:
            yield from _value(one)
    elif isinstance(value, set | frozenset):
        yield from sorted(map(_text, value))
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)  # pyright: ignore[reportArgumentType]
        array = np.asarray(value)
        yield f"{array.dtype} {array.shape}"
        yield array.tobytes()
    else:
        yield _text(value)


def _text(value: object) -> str:
    """Return the value's ``repr`` without addresses, which differ between processes."""
    return _ADDRESS.sub("", repr(value))


def _find_settings(value: object, found: dict[str, Setting], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, tuple | list):
        for one in value:
            _find_settings(one, found, seen)
        return
    closure, code = getattr(value, "__closure__", None), getattr(value, "__code__", None)
    if not closure or code is None:
        return
    for name, cell in zip(code.co_freevars, closure, strict=True):
        try:
            inner = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        if isinstance(inner, bool | int | float | str | np.generic) or (hasattr(inner, "dtype") and inner.shape == ()):
            key = f"{getattr(value, '__qualname__', '').split('.<locals>')[0]}.{name}"
            # init and update close over the same number. A different one of that name is a second transformation's.
            while key in found and found[key] != _plain(inner):
                key += "'"
            found[key] = _plain(inner)
        else:
            _find_settings(inner, found, seen)


def _plain(value: object) -> Setting:
    return value if isinstance(value, bool | int | float | str) else np.asarray(value).item()
