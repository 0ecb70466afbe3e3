"""Run a JAX function operation by operation instead of compiling it. This is faster for a function that runs once.

XLA takes a second to compile the loops of an LSTM and their gradients, however small the model. This module traces the
same program (to a jaxpr, in which differentiation is already done) and walks through it, so that only the arithmetic
operations are compiled, once each. ``jax.disable_jit`` walks through the program too, but it also differentiates
operation by operation. That takes more than twice as long, skips the derivative of ``lax.scan``, and fails on loops
without steps.

An elementwise operation runs on a flat array whose length is a power of two, so a few compiled programs serve arrays of
every shape. All other operations are compiled once for each shape.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from typing import Any, SupportsInt

import jax
import jax.extend.core as jex_core
import numpy as np
from jaxtyping import ArrayLike, PyTree

# Operations that call another program -> the parameter that holds that program. Derivatives are already taken.
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


def _pad(x: np.ndarray, value: np.ndarray, padding_config: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Do ``lax.pad``: add padding before, after and between the elements of each axis. Negative padding cuts off."""
    sizes, inside, kept = [], [], []
    for n, (low, high, between) in zip(x.shape, padding_config, strict=True):
        end = max(low, 0) + max(0, n + (n - 1) * between)
        sizes.append(end + max(high, 0))
        inside.append(slice(max(low, 0), end, between + 1))
        kept.append(slice(max(-low, 0), sizes[-1] - max(-high, 0)))
    padded = np.full(sizes, value, x.dtype)
    padded[tuple(inside)] = x
    return padded[tuple(kept)]


def _window(x: np.ndarray, starts: Sequence[SupportsInt], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of a window in x. As in JAX, a window that would stick out is moved inside."""
    places = [min(max(int(start), 0), n - size) for start, n, size in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(place, place + size) for place, size in zip(places, sizes, strict=True))


def _dynamic_update_slice(x: np.ndarray, update: np.ndarray, *starts: SupportsInt) -> np.ndarray:
    updated = x.copy()
    updated[_window(x, starts, update.shape)] = update
    return updated


# Operations that only move numbers around: NumPy does them without compiling anything. JAX does all arithmetic.
_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": lambda x, shape, broadcast_dimensions, **_: np.broadcast_to(
        x.reshape(
            [x.shape[broadcast_dimensions.index(n)] if n in broadcast_dimensions else 1 for n in range(len(shape))]
        ),
        shape,
    ),
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, dimension),
    # Most conversions keep the dtype. The others round, which is arithmetic.
    "convert_element_type": lambda x, new_dtype, **_: (
        x if x.dtype == new_dtype else jax.lax.convert_element_type(x, new_dtype)
    ),
    "dynamic_slice": lambda x, *starts, slice_sizes: x[_window(x, starts, slice_sizes)],
    "dynamic_update_slice": _dynamic_update_slice,
    "optimization_barrier": lambda *xs: xs,
    "pad": _pad,
    "reshape": lambda x, new_sizes, **_: x.reshape(new_sizes),
    "select_n": lambda which, *cases: np.choose(which, cases),
    "slice": lambda x, start_indices, limit_indices, strides: x[
        tuple(map(slice, start_indices, limit_indices, strides or (1,) * x.ndim))
    ],
    "split": lambda x, sizes, axis, **_: np.split(x, np.cumsum(sizes)[:-1], axis),
    "squeeze": lambda x, dimensions, **_: x.squeeze(dimensions),
    "stack": lambda *xs, axis, **_: np.stack(xs, axis),
    "transpose": lambda x, permutation, **_: x.transpose(permutation),
    "unstack": lambda x, axis, **_: list(np.moveaxis(x, axis, 0)),
}


# Elementwise operations: each element of the result depends only on the same element of the operands.
_ELEMENTWISE = {
    "abs", "add", "add_any", "and", "div", "eq", "exp", "expm1", "ge", "gt", "integer_pow", "is_finite", "le", "log",
    "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "rem", "rsqrt", "sign", "sqrt", "square",
    "sub", "tanh",
}  # fmt: skip
_SMALLEST_ROOM = 16


def by_operation(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Return a function that replaces ``jax.jit(function)``: it runs the same program, with its loops in Python."""

    def call(*args: PyTree) -> PyTree:
        program, result = jax.make_jaxpr(function, return_shape=True)(*args)
        values = _run(program, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(result), values)

    return call


def _run(program: jex_core.ClosedJaxpr, args: Sequence[ArrayLike]) -> list[ArrayLike]:
    jaxpr = program.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*program.consts, *args), strict=True))

    def value(variable: jex_core.Literal | jex_core.Var) -> ArrayLike:
        return variable.val if isinstance(variable, jex_core.Literal) else known[variable]

    for equation in jaxpr.eqns:
        inputs = [value(variable) for variable in equation.invars]
        if equation.primitive.name in _CALLS:
            outputs = _run(equation.params[_CALLS[equation.primitive.name]], inputs)
        elif equation.primitive.name == "one_kernel":  # jax_lstm compiles it as one; here it runs like the rest
            outputs = _run(jax.make_jaxpr(equation.params["function"])(*inputs), inputs)
        elif equation.primitive.name == "scan":
            outputs = _scan(equation, inputs)
        elif move := _MOVES.get(equation.primitive.name):
            outputs = move(*map(np.asarray, inputs), **equation.params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            # A number that is written in the program has no dtype of its own.
            outputs = [np.asarray(x, v.aval.dtype) for x, v in zip(outputs, equation.outvars, strict=True)]
        elif equation.primitive.name in _ELEMENTWISE:
            outputs = [_elementwise(equation, inputs)]
        else:  # any other operation, compiled together with the programs inside it
            outputs = equation.primitive.bind(*inputs, **equation.params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        known |= zip(equation.outvars, outputs, strict=True)
    return [value(variable) for variable in jaxpr.outvars]


def _elementwise(equation: Any, inputs: list[ArrayLike]) -> np.ndarray:
    """Run an elementwise operation. Scalars and axes of size 1 are broadcast to the shape of the result."""
    shape = equation.outvars[0].aval.shape
    size = math.prod(shape)
    room = max(_SMALLEST_ROOM, 1 << (size - 1).bit_length())
    flat = []
    for value, variable in zip(inputs, equation.invars, strict=True):
        array = np.asarray(value)
        padded = np.zeros(room, variable.aval.dtype)
        padded[:size] = (array if array.shape == shape else np.broadcast_to(array, shape)).reshape(-1)
        flat.append(padded)
    output = _program(equation.primitive, tuple(equation.params.items()))(*flat)
    return np.asarray(output)[:size].reshape(shape)


@cache
def _program(primitive: jex_core.Primitive, params: tuple[tuple[str, Hashable], ...]) -> Callable[..., jax.Array]:
    """Return one operation as a compiled program. Calling it takes a fifth of the time of ``primitive.bind``."""
    return jax.jit(partial(primitive.bind, **dict(params)))


def _scan(equation: Any, inputs: list[ArrayLike]) -> list[ArrayLike]:
    """Run ``lax.scan``. Its inputs are constants, the carried state, and arrays whose first axis is the steps."""
    params = equation.params
    constants, states = params["num_consts"], params["num_carry"]
    fixed, state = inputs[:constants], inputs[constants : constants + states]
    # NumPy cuts out a row in a hundredth of the time that it takes to start an operation.
    by_step = [np.asarray(array) for array in inputs[constants + states :]]
    steps = range(params["length"])
    kept: dict[int, list[np.ndarray]] = {}
    for step in reversed(steps) if params["reverse"] else steps:
        outputs = _run(params["jaxpr"], [*fixed, *state, *(array[step] for array in by_step)])
        state, kept[step] = outputs[:states], [np.asarray(array) for array in outputs[states:]]
    stacks = []
    for number, variable in enumerate(equation.outvars[states:]):
        stack = np.empty(variable.aval.shape, variable.aval.dtype)
        for step in steps:
            stack[step] = kept[step][number]
        stacks.append(stack)
    return [*state, *stacks]
