"""The mistakes that ``verdict.py`` plants in ports."""

from typing import Any

import numpy as np
from verdict_ports import GATES, Changes, Ops, Plant

from lstm_shared.specs import CellSpec, ForecasterSpec, LSTMSpec

_MATRICES, _BIASES = ("weight_ih", "weight_hh"), ("bias_ih", "bias_hh")


def _rng(plant: Plant) -> np.random.Generator:
    return np.random.default_rng(plant.seed)


def _blocks(ops: Ops, array: Any, order: Any, change: Any = lambda block: block) -> Any:
    """Put the blocks of the four gates in another order, and change each one."""
    size = len(array) // 4
    return ops.join([change(array[gate * size : (gate + 1) * size]) for gate in order], 0)


def _gate_order(ops: Ops, parts: Any, plant: Plant) -> Any:
    orders = [order for order in np.ndindex(4, 4, 4, 4) if sorted(order) == [0, 1, 2, 3]][1:]
    order = orders[int(_rng(plant).integers(len(orders)))]
    return {name: array if name == "weight_hr" else _blocks(ops, array, order) for name, array in parts.items()}


def _gate_order_of_one(ops: Ops, parts: Any, plant: Plant) -> Any:
    return {**parts, "weight_hh": _blocks(ops, parts["weight_hh"], (0, 2, 1, 3))}


def _transposed(ops: Ops, parts: Any, plant: Plant) -> Any:
    return {**parts, "weight_hh": _blocks(ops, parts["weight_hh"], range(4), lambda block: block.T)}


def _scaled_bias(factor: float) -> Any:
    def change(ops: Ops, parts: Any, plant: Plant) -> Any:
        name = _BIASES[plant.seed % 2]
        return {**parts, name: factor * parts[name]}

    return change


def _factors(array: Any, plant: Plant, *, entry: bool) -> np.ndarray:
    """Return factors of 1, except 1 + size for the rows of one gate, or for one entry."""
    factors, rng = np.ones(tuple(array.shape)), _rng(plant)
    if entry:
        factors.reshape(-1)[int(rng.integers(factors.size))] += plant.size
    else:
        size, gate = len(factors) // 4, int(rng.integers(4))
        factors[gate * size : (gate + 1) * size] += plant.size
    return factors


def _off(*, entry: bool) -> Any:
    def change(ops: Ops, parts: Any, plant: Plant) -> Any:
        name = _MATRICES[plant.seed % 2]
        return {**parts, name: parts[name] * ops.array(_factors(parts[name], plant, entry=entry), parts[name])}

    return change


def _gradient_off(*, entry: bool) -> Any:
    """Compute x + (factor - 1) (x - stop_gradient(x)), which is x, but with ``factor`` times its gradient."""

    def change(ops: Ops, parts: Any, plant: Plant) -> Any:
        array = parts[name := _MATRICES[plant.seed % 2]]
        excess = ops.array(_factors(array, plant, entry=entry) - 1, array)
        return {**parts, name: array + excess * (array - ops.stop(array))}

    return change


def _forget_bias(ops: Ops, parts: Any, plant: Plant) -> Any:
    one = np.zeros(len(parts["bias_ih"]))
    one[len(one) // 4 : len(one) // 2] = 1
    return {**parts, "bias_ih": parts["bias_ih"] + ops.array(one, parts["bias_ih"])}


def _borrowed_bias(ops: Ops, parts: Any, plant: Plant) -> Any:
    return {**parts, "bias_ih": _blocks(ops, parts["bias_ih"], (0, 0, 2, 3))}


def _with_gate(name: str, change: Any) -> Any:
    """Replace one gate by a function of all four."""

    def gates(ops: Ops, gates: Any) -> Any:
        return tuple(change(ops, *gates) if number == GATES[name] else gate for number, gate in enumerate(gates))

    return gates


def _clip(ops: Ops, x: Any, low: float, high: float) -> Any:
    low, high = (ops.array(np.array(bound), x) for bound in (low, high))
    return ops.where(x < low, low, ops.where(x > high, high, x))


def _inputs_gradient_off(ops: Ops, x: Any, h: Any, c: Any, plant: Plant) -> Any:
    return x + plant.size * (x - ops.stop(x)), h, c


def _shifted(ops: Ops, x: Any) -> Any:
    return ops.join([0 * x[:1], x[:-1]], 0)


def _first_row(ops: Ops, x: Any) -> Any:
    return x[:, :1] + 0 * x


# name -> what it changes. Those in the last group, ``GRADIENTS_ONLY``, show only in gradients.
MISTAKES: dict[str, Changes] = {
    "gate-order": Changes(parts=_gate_order),
    "gate-order-of-weight_hh": Changes(parts=_gate_order_of_one),
    "transposed-weight_hh": Changes(parts=_transposed),
    "missing-bias": Changes(parts=_scaled_bias(0.0)),
    "doubled-bias": Changes(parts=_scaled_bias(2.0)),
    "forget-bias+1": Changes(parts=_forget_bias),
    "input-bias-in-forget-gate": Changes(parts=_borrowed_bias),
    "swapped-matrices": Changes(
        parts=lambda ops, p, plant: {**p, "weight_ih": p["weight_hh"], "weight_hh": p["weight_ih"]}
    ),
    "no-recurrence": Changes(parts=lambda ops, p, plant: {**p, "weight_hh": 0 * p["weight_hh"]}),
    "gate-off": Changes(parts=_off(entry=False)),
    "entry-off": Changes(parts=_off(entry=True)),
    "state-ignored": Changes(data=lambda ops, x, h, c, plant: (x, 0 * h, 0 * c)),
    "h-ignored": Changes(data=lambda ops, x, h, c, plant: (x, 0 * h, c)),
    "c-ignored": Changes(data=lambda ops, x, h, c, plant: (x, h, 0 * c)),
    "state-swapped": Changes(data=lambda ops, x, h, c, plant: (x, c, h)),
    "state-off": Changes(data=lambda ops, x, h, c, plant: (x, h, c * (1 + plant.size))),
    "first-row's-state": Changes(data=lambda ops, x, h, c, plant: (x, _first_row(ops, h), _first_row(ops, c))),
    "reversed-time": Changes(data=lambda ops, x, h, c, plant: (ops.turn(x), h, c)),
    "late-inputs": Changes(data=lambda ops, x, h, c, plant: (_shifted(ops, x), h, c)),
    "inputs-off": Changes(data=lambda ops, x, h, c, plant: (x * (1 + plant.size), h, c)),
    "hard-sigmoid": Changes(sigmoid=lambda ops, x: _clip(ops, x / 6 + 0.5, 0.0, 1.0)),
    "no-forget-gate": Changes(gates=_with_gate("forget", lambda ops, i, f, g, o: 0 * f + 1)),
    "coupled-gates": Changes(gates=_with_gate("forget", lambda ops, i, f, g, o: 1 - i)),
    "sigmoid-candidate": Changes(gates=_with_gate("candidate", lambda ops, i, f, g, o: ops.sigmoid(g))),
    "no-output-gate": Changes(gates=_with_gate("output", lambda ops, i, f, g, o: 0 * o + 1)),
    "no-tanh-of-c": Changes(squash=lambda ops, c: c),
    "clipped-c": Changes(cell=lambda ops, c: _clip(ops, c, -1.0, 1.0)),
    "float32-c": Changes(cell=lambda ops, c: ops.single(c)),
    "h-lost-once": Changes(before=lambda ops, h, c, middle: (ops.where(middle, 0 * h, h), c)),
    "late-outputs": Changes(result=lambda ops, x, h, c: (_shifted(ops, x), h, c)),
    "turned-outputs": Changes(result=lambda ops, x, h, c: (ops.turn(x), h, c)),
    "c_n-for-h_n": Changes(result=lambda ops, x, h, c: (x, c, c)),
    "lengths-ignored": Changes(ignores="lengths"),
    "reset-ignored": Changes(ignores="reset"),
    "gradient-of-a-gate-off": Changes(parts=_gradient_off(entry=False)),
    "gradient-of-an-entry-off": Changes(parts=_gradient_off(entry=True)),
    "gradient-of-inputs-off": Changes(data=_inputs_gradient_off),
    "no-gradient-of-forget-gate": Changes(gates=_with_gate("forget", lambda ops, i, f, g, o: ops.stop(f))),
    "h-detached-once": Changes(before=lambda ops, h, c, middle: (ops.where(middle, ops.stop(h), h), c)),
    "h-detached": Changes(before=lambda ops, h, c, middle: (ops.stop(h), c)),
    "c-detached": Changes(before=lambda ops, h, c, middle: (h, ops.stop(c))),
}
GRADIENTS_ONLY = frozenset(
    name for name in MISTAKES if name.startswith("gradient") or "no-gradient" in name or "detached" in name
)
# These are off by a size that is drawn, down to sizes that float64 cannot show.
SIZED = frozenset(name for name in MISTAKES if name.endswith("-off"))


def draw_plant(spec: Any, options: dict[str, Any], framework: str, rng: np.random.Generator) -> Plant:
    """Draw a mistake that a port of this model in this framework can have, in one place or in all."""
    fitting = [name for name in MISTAKES if _fits(name, spec, options, framework)]
    lstm = getattr(spec, "lstm", spec)
    layers, suffixes = getattr(lstm, "num_layers", 1), getattr(lstm, "directions", ("",))
    places = [f"_l{layer}{suffix}" for layer in range(layers) for suffix in suffixes]
    chosen = places if rng.random() < 0.5 else [str(rng.choice(places))]
    name = str(rng.choice(fitting))
    if name == "swapped-matrices":
        chosen = [place for place in places if _is_square(lstm, place)]
    return Plant(name, tuple(chosen), float(10 ** rng.uniform(-15, -2)), int(rng.integers(2**31)))


def _fits(name: str, spec: Any, options: dict[str, Any], framework: str) -> bool:
    if name in GRADIENTS_ONLY:
        return framework != "numpy"
    lstm = getattr(spec, "lstm", spec)
    projected = bool(getattr(lstm, "proj_size", 0))
    if "bias" in name:
        return lstm.bias
    if name == "swapped-matrices":
        return not projected and any(_is_square(lstm, f"_l{layer}") for layer in range(getattr(lstm, "num_layers", 1)))
    if name == "transposed-weight_hh" or name in ("state-swapped", "c_n-for-h_n"):
        return not projected and not (name == "c_n-for-h_n" and isinstance(spec, ForecasterSpec))
    if name in ("reversed-time", "late-inputs", "late-outputs", "turned-outputs"):
        return not isinstance(spec, CellSpec) and (isinstance(spec, LSTMSpec) or "inputs" in name or "time" in name)
    if name.endswith("-ignored") and name.split("-")[0] in ("lengths", "reset"):
        return options.get(name.split("-")[0]) is not None
    return True


def _is_square(lstm: Any, place: str) -> bool:
    """Return whether the input of a layer is as wide as its state, so that its two matrices can be swapped."""
    if place.startswith("_l0"):
        return lstm.input_size == lstm.hidden_size
    return lstm.output_size == lstm.hidden_size
