"""The ports that ``verdict.py`` judges: one LSTM for NumPy, JAX and torch, either right or with a planted mistake.

It shares no code with the backends or with the mistakes that ``diagnose`` simulates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from lstm_shared import describe
from lstm_shared.specs import CellSpec, ForecasterSpec

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
GATES = {"input": 0, "forget": 1, "candidate": 2, "output": 3}


@dataclass(frozen=True)
class Ops:
    """The few operations that a port needs, in one framework."""

    tanh: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]
    join: Callable[[Any, int], Any]
    stack: Callable[[Any], Any]
    turn: Callable[[Any], Any]
    scan: Callable[[Callable[[Any, Any], Any], Any, Any], Any]
    stop: Callable[[Any], Any]
    array: Callable[[np.ndarray, Any], Any]
    single: Callable[[Any], Any]

    def sigmoid(self, x: Any) -> Any:
        return 0.5 * self.tanh(0.5 * x) + 0.5


def _loop(stack: Callable[[Any], Any]) -> Callable[..., Any]:
    def scan(step: Callable[[Any, Any], Any], carry: Any, xs: Any) -> Any:
        kept = []
        for x in zip(*xs, strict=True):
            carry, y = step(carry, x)
            kept.append(y)
        return carry, tuple(stack(ys) for ys in zip(*kept, strict=True))

    return scan


def _like_numpy(array: np.ndarray, like: Any) -> np.ndarray:
    return array.astype(like.dtype) if array.dtype.kind == "f" else array


OPS = {
    "numpy": Ops(
        np.tanh, np.where, np.concatenate, np.stack, lambda x: x[::-1], _loop(np.stack), lambda x: x, _like_numpy,
        lambda x: x.astype(np.float32).astype(x.dtype),
    ),
    "jax": Ops(
        jnp.tanh, jnp.where, jnp.concatenate, jnp.stack, lambda x: x[::-1], jax.lax.scan, jax.lax.stop_gradient,
        lambda array, like: jnp.asarray(_like_numpy(array, like)),
        lambda x: x.astype(jnp.float32).astype(x.dtype),
    ),
    "torch": Ops(
        torch.tanh, torch.where, torch.cat, torch.stack, lambda x: x.flip(0), _loop(torch.stack), lambda x: x.detach(),
        lambda array, like: torch.tensor(array, dtype=like.dtype if array.dtype.kind == "f" else None),
        lambda x: x.to(torch.float32).to(x.dtype),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Plant:
    """A planted mistake: its name in ``verdict_plants.MISTAKES``, its places and its size.

    Attributes:
        places: suffixes of the weights that it changes ("_l0_reverse", …; "" for a cell).
        size: how much something is off, relative or absolute, for mistakes with a size.
        seed: seed for anything else that is drawn, such as an order of the gates, or an entry.
    """

    name: str = ""
    places: tuple[str, ...] = ()
    size: float = 0.0
    seed: int = 0


# (ops, parts of a place, plant) -> parts with the mistake.
WeightsChange = Callable[[Ops, dict[str, Any], Plant], dict[str, Any]]


@dataclass(frozen=True)
class Changes:
    """What a mistake changes. None, or "" for ``ignores``, changes nothing.

    Attributes:
        parts: (ops, parts of a place, plant) -> parts.
        gates: (ops, (i, f, g, o)) -> gates. It gets the computed gates, after their sigmoids and tanh.
        sigmoid: replaces the sigmoid.
        before: (ops, h, c, whether this is the middle step) -> h and c for the start of the step.
        cell: (ops, c) -> c for the rest of the step and for the next one.
        squash: replaces tanh(c).
        data: (ops, inputs, h_0, c_0, plant) -> inputs, h_0, c_0; time first.
        result: (ops, outputs, h_n, c_n) -> outputs, h_n, c_n; time first.
        ignores: "lengths" or "reset", which the port then ignores.
    """

    parts: WeightsChange | None = None
    gates: Callable[[Ops, Any], Any] | None = None
    sigmoid: Callable[[Ops, Any], Any] | None = None
    before: Callable[[Ops, Any, Any, Any], Any] | None = None
    cell: Callable[[Ops, Any], Any] | None = None
    squash: Callable[[Ops, Any], Any] | None = None
    data: Callable[..., Any] | None = None
    result: Callable[..., Any] | None = None
    ignores: str = ""


RIGHT = Changes()


def port(weights: dict[str, Any], framework: str, changes: Changes = RIGHT, plant: Plant | None = None) -> Any:
    """Make a port of the model that these weights describe, as ``check(candidate=…)`` takes it."""
    ops, spec, plant = OPS[framework], describe(weights), plant or Plant()

    def lstm(params: Any, inputs: Any, state: Any, prefix: str = "", **options: Any) -> Any:
        named = {name.removeprefix(prefix): array for name, array in params.items() if name.startswith(prefix)}
        return _lstm(ops, getattr(spec, "lstm", spec), named, inputs, state, changes, plant, **options)

    def cell(params: Any, inputs: Any, state: Any = None) -> Any:
        named = {f"{name}_l0": array for name, array in params.items()}
        state = None if state is None else tuple(part[None] for part in state)
        _, (h, c) = lstm(named, inputs[None], state)
        return h[0], c[0]

    def forecaster(params: Any, inputs: Any, state: Any = None) -> Any:
        outputs, _ = lstm(params, inputs, state, "lstm.", batch_first=True)
        return outputs[:, -1] @ params["fc.weight"].T + params["fc.bias"]

    def whole(params: Any, inputs: Any, state: Any = None, lengths: Any = None, reset: Any = None, batch_first=False):
        return lstm(params, inputs, state, lengths=lengths, reset=reset, batch_first=batch_first)

    return {CellSpec: cell, ForecasterSpec: forecaster}.get(type(spec), whole)


def _lstm(
    ops: Ops,
    spec: Any,
    params: dict[str, Any],
    inputs: Any,
    state: Any,
    changes: Changes,
    plant: Plant,
    *,
    lengths: Any = None,
    reset: Any = None,
    batch_first: bool = False,
) -> Any:
    batched = inputs.ndim == 3

    def time_first(x: Any) -> Any:
        return x[:, None] if not batched else x.swapaxes(0, 1) if batch_first else x

    features = time_first(inputs)
    time, batch, _ = features.shape
    suffixes = getattr(spec, "directions", ("",))
    layers = getattr(spec, "num_layers", 1)
    sizes = getattr(spec, "state_size", spec.hidden_size), spec.hidden_size
    if state is None:
        h_0, c_0 = (ops.array(np.zeros((layers * len(suffixes), batch, size)), inputs) for size in sizes)
    else:
        h_0, c_0 = state if batched else (part[:, None] for part in state)
    if changes.data is not None:
        features, h_0, c_0 = changes.data(ops, features, h_0, c_0, plant)
    steps = np.arange(time)[:, None]
    lengths = None if lengths is None or changes.ignores == "lengths" else np.asarray(lengths)
    valid = ops.array(np.ones((time, batch), bool) if lengths is None else steps < lengths, inputs)[..., None]
    reset = None if reset is None or changes.ignores == "reset" else time_first(np.asarray(reset))
    anew = ops.array(np.zeros((time, batch), bool) if reset is None else reset, inputs)[..., None]
    middle = ops.array(steps == time // 2, inputs)
    last_h, last_c = [], []
    for layer in range(layers):
        outputs = []
        for suffix in suffixes:
            row, place = len(last_h), f"_l{layer}{suffix}"
            parts = {part: params[part + place] for part in PARTS if part + place in params}
            if changes.parts is not None and place in plant.places:
                parts = changes.parts(ops, parts, plant)
            masks = (ops.turn(valid), anew) if suffix else (valid, anew)
            kept, h, c = _direction(
                ops, parts, ops.turn(features) if suffix else features, h_0[row], c_0[row], *masks, middle, changes
            )
            outputs.append(ops.turn(kept) if suffix else kept)
            last_h.append(h)
            last_c.append(c)
        features = ops.where(valid, ops.join(outputs, -1), ops.array(np.zeros(()), inputs))
    result = features, ops.stack(last_h), ops.stack(last_c)
    features, h_n, c_n = result if changes.result is None else changes.result(ops, *result)
    if not batched:
        return features[:, 0], (h_n[:, 0], c_n[:, 0])
    return features.swapaxes(0, 1) if batch_first else features, (h_n, c_n)


def _direction(
    ops: Ops, parts: Any, features: Any, h: Any, c: Any, valid: Any, anew: Any, middle: Any, changes: Changes
) -> Any:
    size = c.shape[-1]
    from_inputs = features @ parts["weight_ih"].T
    if "bias_ih" in parts:
        from_inputs = from_inputs + parts["bias_ih"] + parts["bias_hh"]
    nothing = ops.array(np.zeros(()), features)

    def sigmoid(x: Any) -> Any:
        return ops.sigmoid(x) if changes.sigmoid is None else changes.sigmoid(ops, x)

    def step(carry: Any, x: Any) -> Any:
        from_input, here, begins, in_the_middle = x
        h, c = (ops.where(begins, nothing, part) for part in carry)
        if changes.before is not None:
            h, c = changes.before(ops, h, c, in_the_middle)
        z = from_input + h @ parts["weight_hh"].T
        i, f, g, o = (z[..., k * size : (k + 1) * size] for k in range(4))
        gates = sigmoid(i), sigmoid(f), ops.tanh(g), sigmoid(o)
        i, f, g, o = gates if changes.gates is None else changes.gates(ops, gates)
        cell = f * c + i * g
        cell = cell if changes.cell is None else changes.cell(ops, cell)
        new = o * (ops.tanh(cell) if changes.squash is None else changes.squash(ops, cell))
        new = new @ parts["weight_hr"].T if "weight_hr" in parts else new
        h, c = ops.where(here, new, carry[0]), ops.where(here, cell, carry[1])
        return (h, c), (h,)

    (h, c), (kept,) = ops.scan(step, (h, c), (from_inputs, valid, anew, middle))
    return kept, h, c
