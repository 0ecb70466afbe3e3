"""Tiny loops as one CPU kernel.

XLA's CPU backend runs a loop as a sequence of small kernels, and for a model of twelve scalars starting them costs
more than the arithmetic. A call that carries the attribute ``xla_cpu_small_call`` is compiled into a single function
instead. Measured on the by-hand training loop: 1.7 µs a step without, 0.5 with.

The attribute is not documented. What XLA cannot compile there, it treats in two ways.

- It **aborts the process** where nothing reads one of the call's parameters any more when XLA is done optimising ("All
  or none of the slices should have an explicit index"). That happens to an operand that is a constant of more than
  10,000 bytes, because XLA copies it into the call in the parameter's place; to one that is only multiplied by zero
  or selected away; to the weights of a loop without steps. So every operand passes a barrier on its way in, through
  which XLA sees no constant, and one element of every operand is returned as well, which nothing can compute without
  reading the parameter (``_in_one_kernel``).
- It **refuses to compile** matrix products that become library calls, collectives, and some operations. So a loop is
  sent there only if every operation in it is known to be safe and every array is small (``fits_one_kernel``), or
  where the products are known to be those of a matrix and a vector (``recurrences/single_kernel.py``); never in a
  program for several devices, where XLA may put collectives into it; and never in one that ``jax.export`` writes down,
  which will run with another version of XLA, inside any program.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend import core as jex_core
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, PyTree

try:
    from jax.experimental.xla_metadata import set_xla_metadata
except ImportError:  # a jax without the option runs the loop as it always did
    set_xla_metadata = None

Flat = Callable[..., list[Array]]  # of arrays
Tangent = Array | ad.Zero

# Above this many elements in one array, the ordinary kernels' vector code and threads gain more than fewer starts
# do. Measured with the by-hand gradient: 1,000 series at once still gain.
LARGEST_ARRAY = 1024

_SAFE = {
    "abs", "add", "add_any", "and", "broadcast_in_dim", "clamp", "concatenate", "convert_element_type",
    "copy", "copy_p", "cos", "cosh", "cumsum", "custom_jvp_call", "custom_vjp_call", "div", "dynamic_slice",
    "dynamic_update_slice", "eq", "erf", "exp", "exp2", "expand_dims", "expm1", "floor", "gather", "ge", "gt",
    "integer_pow", "iota", "jit", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg",
    "not", "or", "pad", "pjit", "pow", "reduce_max", "reduce_min", "reduce_sum", "rem", "reshape", "rev",
    "rsqrt", "scan", "select_n", "sign", "sin", "sinh", "slice", "sqrt", "square",
    "squeeze", "stop_gradient", "sub", "tan", "tanh", "transpose",
}  # fmt: skip
# A scatter compiles only where XLA makes an update of a slice of it, a clamp not of booleans. Complex numbers and those
# of less than a byte are left out: few of them compile, and nobody trains with them.
_SAFE_TYPES = {"bool", "float16", "bfloat16", "float32", "float64"} | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}


def fits_one_kernel(function: Callable[..., PyTree], *args: PyTree) -> bool:
    """Whether ``function(*args)`` is a computation that can and should become one CPU kernel.

    Only shapes and dtypes of the arguments are looked at.
    """
    if set_xla_metadata is None or jax.default_backend() != "cpu":
        return False
    return _compiles(function, *args, largest=LARGEST_ARRAY)


def _compiles(function: Callable[..., PyTree], *args: PyTree, largest: float) -> bool:
    program = jax.make_jaxpr(function)(*args).jaxpr
    return all(_is_safe(equation, largest) for equation in _equations(program))


def _is_safe(equation: jex_core.JaxprEqn, largest: float) -> bool:
    name, results = equation.primitive.name, [variable.aval for variable in equation.outvars]
    if name not in _SAFE or (name == "clamp" and str(getattr(results[0], "dtype", None)) == "bool"):
        return False
    return all(
        isinstance(result, ShapedArray) and result.size <= largest and str(result.dtype) in _SAFE_TYPES
        for result in results
    )


def _equations(jaxpr: jex_core.Jaxpr) -> Iterator[jex_core.JaxprEqn]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, jex_core.ClosedJaxpr):
                    yield from _equations(inner.jaxpr)
                elif isinstance(inner, jex_core.Jaxpr):
                    yield from _equations(inner)


def one_kernel(function: Callable[..., PyTree], *, under_vmap: bool = False) -> Callable[..., PyTree]:
    """``function`` as one kernel wherever that is possible: on a CPU, with a jax that has the option.

    Under a caller's ``grad`` or ``jvp`` the function runs as it would without.

    Args:
        under_vmap: whether also under a caller's ``vmap``, for what ``fits_one_kernel`` says fits. Else the function
            runs there as it would without: a ``vmap`` turns the products of a matrix and a vector into library calls,
            which one kernel cannot hold.
    """

    def call(*args: PyTree) -> PyTree:
        # What the function closes over becomes an operand like its arguments.
        program, results = jax.make_jaxpr(function, return_shape=True)(*args)
        constants = len(program.consts)

        def flat_function(*flat: Array) -> list[Array]:
            return jex_core.jaxpr_as_fun(jex_core.ClosedJaxpr(program.jaxpr, flat[:constants]))(*flat[constants:])

        flat = map(jnp.asarray, (*program.consts, *jax.tree.leaves(args)))
        outputs = _one_kernel.bind(*flat, function=flat_function, under_vmap=under_vmap)
        return jax.tree.structure(results).unflatten(outputs)

    return call


_one_kernel = jex_core.Primitive("one_kernel")
_one_kernel.multiple_results = True


@_one_kernel.def_impl
def _run(*flat: Array, function: Flat, under_vmap: bool) -> list[Array]:
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        return function(*flat)
    return jax.jit(lambda *flat: _one_kernel.bind(*flat, function=function, under_vmap=under_vmap))(*flat)


@_one_kernel.def_abstract_eval
def _result_types(*flat: ShapedArray, function: Flat, under_vmap: bool) -> list[ShapedArray]:
    return [ShapedArray(result.shape, result.dtype) for result in jax.eval_shape(function, *flat)]


def _batched(
    flat: Sequence[Array], axes: Sequence[int | None], *, function: Flat, under_vmap: bool
) -> tuple[list[Array], list[int]]:
    batched = jax.vmap(function, axes)
    if under_vmap and _compiles(batched, *flat, largest=np.inf):  # an update of a slice may have become a scatter
        results = _one_kernel.bind(*flat, function=batched, under_vmap=True)
    else:
        results = batched(*flat)
    return results, [0] * len(results)


batching.primitive_batchers[_one_kernel] = _batched


def _jvp(
    primals: Sequence[Array], tangents: Sequence[Tangent], *, function: Flat, under_vmap: bool
) -> tuple[list[Array], list[Array]]:
    return jax.jvp(function, tuple(primals), tuple(map(_full, primals, tangents)))


def _full(primal: Array, tangent: Tangent) -> Array | np.ndarray:
    if not isinstance(tangent, ad.Zero):
        return tangent
    floating = jnp.issubdtype(primal.dtype, jnp.inexact)
    return jnp.zeros_like(primal) if floating else np.zeros(primal.shape, jax.dtypes.float0)


ad.primitive_jvps[_one_kernel] = _jvp


def _ordinary(*flat: Array, function: Flat, under_vmap: bool) -> list[Array]:
    return function(*flat)


def _in_one_kernel(*flat: Array, function: Flat, under_vmap: bool) -> list[Array]:
    assert set_xla_metadata is not None, "ask _can_be_one_kernel first"

    def kernel(*flat: Array) -> tuple[list[Array], list[Array]]:
        return function(*flat), [operand[(0,) * operand.ndim] for operand in flat]

    with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
        called = jax.jit(kernel)(*lax.optimization_barrier(flat))
    # The second barrier reads the elements, so that nothing drops them.
    return lax.optimization_barrier(called)[0]


def _can_be_one_kernel(context: mlir.LoweringRuleContext) -> bool:
    module = context.module_context
    devices = getattr(module.axis_context, "num_devices", 0)  # others than ShardingContext are of a mesh or of pmap
    exported = getattr(module.lowering_parameters, "for_export", True)
    empty = any(isinstance(aval, ShapedArray) and aval.size == 0 for aval in context.avals_in)
    return set_xla_metadata is not None and devices == 1 and not exported and not empty


def _on_cpu(context: mlir.LoweringRuleContext, *flat: Any, **params: Any) -> Any:  # of MLIR's values
    rule = _in_one_kernel if _can_be_one_kernel(context) else _ordinary
    return mlir.lower_fun(rule, multiple_results=True)(context, *flat, **params)


mlir.register_lowering(_one_kernel, mlir.lower_fun(_ordinary, multiple_results=True))
mlir.register_lowering(_one_kernel, _on_cpu, platform="cpu")
