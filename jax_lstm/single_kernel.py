"""Tiny loops as one CPU kernel.

XLA's CPU backend runs a loop as a sequence of small kernels, and for a model of twelve scalars starting them costs
more than the arithmetic. A call that carries the attribute ``xla_cpu_small_call`` is compiled into a single function
instead. Measured on the by-hand training loop: 1.7 µs a step without, 0.5 with.

The attribute is not documented and has limits: matrix products inside it fail to compile when XLA makes library
calls of them. So a loop is sent there only if every operation in it is known to be safe and every array is small.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.core import ShapedArray
from jax.extend import core as jex_core
from jax.interpreters import batching, mlir

try:
    from jax.experimental.xla_metadata import set_xla_metadata
except ImportError:  # a jax without the option runs the loop as it always did
    set_xla_metadata = None

# Above this many elements in one array, the ordinary kernels' vector code and threads are worth more than the saved
# starts. Measured with the by-hand gradient: 1,000 series at once still gain.
LARGEST_ARRAY = 1024

_SAFE = {
    "abs", "add", "add_any", "and", "broadcast_in_dim", "clamp", "concatenate", "convert_element_type",
    "copy", "copy_p", "cos", "cosh", "cumsum", "custom_jvp_call", "custom_vjp_call", "div", "dynamic_slice",
    "dynamic_update_slice", "eq", "erf", "exp", "exp2", "expand_dims", "expm1", "floor", "gather", "ge", "gt",
    "integer_pow", "iota", "jit", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg",
    "not", "or", "pad", "pjit", "pow", "reduce_max", "reduce_min", "reduce_sum", "rem", "reshape", "rev",
    "rsqrt", "scan", "scatter", "scatter-add", "select_n", "sign", "sin", "sinh", "slice", "sqrt", "square",
    "squeeze", "stop_gradient", "sub", "tan", "tanh", "transpose",
}  # fmt: skip


def fits_single_kernel(function: Callable[..., Any], *args: Any) -> bool:
    """Whether ``function(*args)`` is a computation that can and should become one CPU kernel.

    Only shapes and dtypes of the arguments are looked at.
    """
    if set_xla_metadata is None or jax.default_backend() != "cpu":
        return False
    closed = jax.make_jaxpr(function)(*args)
    return all(
        equation.primitive.name in _SAFE and all(_size(var) <= LARGEST_ARRAY for var in equation.outvars)
        for equation in _equations(closed.jaxpr)
    )


def single_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as one kernel, for use inside a caller's ``jit``; elsewhere than on CPU the attribute is ignored."""

    def call(*args: Any) -> Any:
        assert set_xla_metadata is not None, "ask fits_single_kernel first"
        with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
            return jax.jit(function)(*args)

    return call


def _size(var: Any) -> int:
    return int(getattr(var.aval, "size", 1))


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, jex_core.ClosedJaxpr):
                    yield from _equations(inner.jaxpr)
                elif isinstance(inner, jex_core.Jaxpr):
                    yield from _equations(inner)


def one_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as one kernel wherever that is possible: on a CPU, with a jax that has the option, outside ``vmap``.

    For functions whose derivative is defined elsewhere (``jax.custom_jvp``): the call itself has none. A caller's
    ``vmap`` turns the products of a matrix and a vector into library calls, which one kernel cannot hold; there the
    function runs as it would without.
    """

    def call(*args: Any) -> Any:
        flat, tree = jax.tree.flatten(args)
        results = jax.tree.structure(jax.eval_shape(function, *args))

        def flat_function(*flat: Any) -> list[Any]:
            return jax.tree.leaves(function(*tree.unflatten(flat)))

        return results.unflatten(_one_kernel.bind(*flat, function=flat_function))

    return call


_one_kernel = jex_core.Primitive("one_kernel")
_one_kernel.multiple_results = True


@_one_kernel.def_impl
def _run(*flat: Any, function: Callable[..., list[Any]]) -> list[Any]:
    return jax.jit(function)(*flat)


@_one_kernel.def_abstract_eval
def _result_types(*flat: Any, function: Callable[..., list[Any]]) -> list[Any]:
    return [ShapedArray(result.shape, result.dtype) for result in jax.eval_shape(function, *flat)]


def _batched(flat: Any, axes: Any, *, function: Callable[..., list[Any]]) -> tuple[list[Any], list[int]]:
    results = jax.vmap(function, axes)(*flat)
    return results, [0] * len(results)


batching.primitive_batchers[_one_kernel] = _batched


def _ordinary(*flat: Any, function: Callable[..., list[Any]]) -> list[Any]:
    return function(*flat)


def _marked(*flat: Any, function: Callable[..., list[Any]]) -> list[Any]:
    return function(*flat) if set_xla_metadata is None else single_kernel(function)(*flat)


mlir.register_lowering(_one_kernel, mlir.lower_fun(_ordinary, multiple_results=True))
mlir.register_lowering(_one_kernel, mlir.lower_fun(_marked, multiple_results=True), platform="cpu")
