"""Compile tiny loops into one CPU kernel.

XLA's CPU backend runs a loop as a sequence of small kernels. For a model of twelve scalars, starting them costs more
than the arithmetic. A call with the attribute ``xla_cpu_small_call`` is compiled into a single function instead.
Measured on the by-hand training loop: 1.7 µs a step without it, 0.5 µs with it.

The attribute is not documented. XLA does one of two things with code that it cannot compile this way.

- It **aborts the process** if nothing reads one of the call's parameters after optimisation ("All or none of the slices
  should have an explicit index"). That happens to a constant operand of more than 10,000 bytes, because XLA copies it
  into the call in place of the parameter. It also happens to an operand that is only multiplied by zero or selected
  away, and to the weights of a loop without steps. So every operand goes in through a barrier, which hides constants
  from XLA. The call also returns one element of every operand, which cannot be computed without reading the parameter
  (``_in_one_kernel``).
- It **refuses to compile** matrix products that become library calls, collectives, and some other operations. So a loop
  becomes one kernel only if every operation in it is known to be safe and every array is small (``fits_one_kernel``),
  or if its products are known to be of a matrix and a vector (``recurrences/single_kernel.py``). It never does in a
  program for several devices, where XLA may insert collectives, nor in one that ``jax.export`` makes, which will run
  with another version of XLA and inside any program.
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
except ImportError:  # a jax without the option runs the ordinary loop
    set_xla_metadata = None

Flat = Callable[..., list[Array]]  # of arrays
Tangent = Array | ad.Zero

# Above this many elements in one array, the vector code and threads of ordinary kernels gain more than fewer starts.
# Measured with the by-hand gradient: 1,000 series at once still gain.
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
# A scatter is not in the list: it compiles only if XLA turns it into an update of a slice. A clamp of booleans does not
# compile. Complex numbers and types smaller than a byte are left out: few of them compile, and nobody trains with them.
_SAFE_TYPES = {"bool", "float16", "bfloat16", "float32", "float64"} | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}


def fits_one_kernel(function: Callable[..., PyTree], *args: PyTree) -> bool:
    """Return whether ``function(*args)`` can and should become one CPU kernel.

    Only the shapes and dtypes of the arguments matter.
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
    """Return ``function`` as one kernel wherever that is possible: on a CPU, with a jax that has the option.

    Under a caller's ``grad`` or ``jvp``, the function runs as usual.

    Args:
        under_vmap: whether to use one kernel under a caller's ``vmap`` too, for functions that ``fits_one_kernel``
            accepts. If False, the function runs as usual there: ``vmap`` turns products of a matrix and a vector into
            library calls, which one kernel cannot contain.
    """

    def call(*args: PyTree) -> PyTree:
        # Values that the function closes over become operands, like its arguments.
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
    # The second barrier reads the elements, so nothing drops them.
    return lax.optimization_barrier(called)[0]


def _can_be_one_kernel(context: mlir.LoweringRuleContext) -> bool:
    module = context.module_context
    devices = getattr(module.axis_context, "num_devices", 0)  # no number: a mesh or pmap
    exported = getattr(module.lowering_parameters, "for_export", True)
    empty = any(isinstance(aval, ShapedArray) and aval.size == 0 for aval in context.avals_in)
    return set_xla_metadata is not None and devices == 1 and not exported and not empty


def _on_cpu(context: mlir.LoweringRuleContext, *flat: Any, **params: Any) -> Any:  # of MLIR's values
    rule = _in_one_kernel if _can_be_one_kernel(context) else _ordinary
    return mlir.lower_fun(rule, multiple_results=True)(context, *flat, **params)


mlir.register_lowering(_one_kernel, mlir.lower_fun(_ordinary, multiple_results=True))
mlir.register_lowering(_one_kernel, _on_cpu, platform="cpu")
