"""A port of an LSTM, written out step by step in NumPy, in which a test plants mistakes by their identifier.

It shares nothing with the simulation that ``diagnose`` searches with. It runs one sequence, step and gate at a time.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lstm_cases import draw_weights

from lstm_shared import LSTMSpec, LSTMTrace

GATES = {"input": "i", "forget": "f", "candidate": "g", "output": "o"}
FIELDS = {"i": "input_gate", "f": "forget_gate", "g": "candidate", "o": "output_gate"}


@dataclass
class Plan:
    """What the port reads, and what it does wrong."""

    spec: LSTMSpec
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    state: tuple[np.ndarray, np.ndarray]
    lengths: np.ndarray
    hard: dict[str, float] = field(default_factory=dict)  # place -> slope of its hard sigmoid
    flags: set[str] = field(default_factory=set)

    @property
    def places(self) -> list[str]:
        return [f"l{layer}{suffix}" for layer in range(self.spec.num_layers) for suffix in self.spec.directions]


def draw_plan(
    num_layers: int, bidirectional: bool, input_size: int = 5, *, ragged: bool = False, seed: int = 0
) -> Plan:
    """Draw a correct port with time 6, batch 3, hidden 4, and initial states."""
    spec = LSTMSpec(input_size, 4, num_layers, True, bidirectional)
    normal = np.random.default_rng((seed, 3)).standard_normal
    rows = num_layers * len(spec.directions)
    state = normal((rows, 3, 4)), normal((rows, 3, 4))
    lengths = np.array([3, 6, 5] if ragged else [6, 6, 6])
    return Plan(spec, draw_weights(spec, seed), normal((6, 3, input_size)), state, lengths)


def plant(plan: Plan, identifier: str) -> None:
    """Plant this mistake in the plan."""
    name, _, where = identifier.partition("@")
    kind, *details = name.split(":")
    places = [where] if where in plan.places else plan.places
    w = plan.weights
    if kind == "gate-order":
        for place in places:
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                read = dict(zip(details[0].split(","), np.split(w[f"{part}_{place}"], 4), strict=True))
                w[f"{part}_{place}"] = np.concatenate([read[letter] for letter in "ifgo"])
    elif kind in ("transposed", "reshaped"):
        for place in places:
            matrix = w[f"{details[0]}_{place}"]
            rows, columns = matrix.shape
            if kind == "reshaped":
                w[f"{details[0]}_{place}"] = matrix.reshape(columns, rows).T
            elif columns == 4:
                w[f"{details[0]}_{place}"] = np.concatenate([block.T for block in np.split(matrix, 4)])
    elif kind == "swapped-weights":
        for place in places:
            a, b = f"weight_ih_{place}", f"weight_hh_{place}"
            if w[a].shape == w[b].shape:
                w[a], w[b] = w[b], w[a]
    elif kind in ("missing-bias", "doubled-bias"):
        for place in places:
            w[f"{details[0]}_{place}"] = w[f"{details[0]}_{place}"] * (2 if kind == "doubled-bias" else 0)
    elif kind == "bias-of":
        source, target = ("ifgo".index(GATES[g]) for g in (details[0].removesuffix("-in"), details[1]))
        for place in places:
            for part in details[2:] or ("bias_ih", "bias_hh"):
                blocks = np.split(w[f"{part}_{place}"], 4)
                blocks[target] = blocks[source]
                w[f"{part}_{place}"] = np.concatenate(blocks)
    elif kind in ("forget-bias+1", "forget-bias-1"):
        for place in places:
            bias = w[f"bias_hh_{place}"].copy()
            bias[4:8] += 1 if kind.endswith("+1") else -1
            w[f"bias_hh_{place}"] = bias
    elif kind == "hard-sigmoid":
        plan.hard |= dict.fromkeys(places, float(details[0]) if details else 1 / 6)
    elif kind == "swapped-state":
        plan.state = plan.state[::-1]  # pyright: ignore[reportAttributeAccessIssue]
    elif kind == "missing-state":
        plan.state = tuple(np.zeros_like(part) for part in plan.state)  # pyright: ignore[reportAttributeAccessIssue]
    elif kind == "layer-order":
        old = dict(w)
        for layer, source in enumerate(map(int, details[0].split(","))):
            for key in [key for key in w if f"_l{layer}" in key]:
                w[key] = old[key.replace(f"_l{layer}", f"_l{source}")]
    elif name.startswith("swapped-directions:weights"):
        for key in [key for key in w if not key.endswith("_reverse") and (not where or key.endswith(where))]:
            w[key], w[f"{key}_reverse"] = w[f"{key}_reverse"], w[key]
    else:
        plan.flags.add(identifier)


def run(plan: Plan) -> tuple[np.ndarray, LSTMTrace]:
    """Return (outputs, trace) of the port, in float64."""
    flags = plan.flags
    features, state = plan.inputs, plan.state
    if flags & {"reversed-time", "reversed-time:aligned"}:
        features = features[::-1]
    if "swapped-axes:batch-time" in flags:
        features = features.swapaxes(0, 1)
        state = tuple(np.zeros((len(part), 6, 4)) for part in state)
    traced: list[Any] = []
    for layer in range(plan.spec.num_layers):
        halves = []
        for direction, suffix in enumerate(plan.spec.directions):
            fields = _direction(plan, f"l{layer}{suffix}", features, state, layer, direction, suffix == "_reverse")
            traced.append(fields)
            turned = flags & {"reverse-not-turned", f"reverse-not-turned@l{layer}"} and suffix
            halves.append(fields["hidden"][::-1] if turned else fields["hidden"])
        if flags & {"swapped-directions", f"swapped-directions@l{layer}"}:
            halves = halves[::-1]
        if layer == plan.spec.num_layers - 1 and flags & {"summed-directions", "averaged-directions"}:
            features = (halves[0] + halves[1]) / (2 if "averaged-directions" in flags else 1)
        else:
            features = np.concatenate(halves, axis=-1)
    if flags & {"reversed-time:aligned", "reversed-time:outputs"}:
        features = features[::-1]
    if flags & {"swapped-axes:batch-time", "swapped-axes:outputs"}:
        features = features.swapaxes(0, 1)
    shape = (plan.spec.num_layers, len(plan.spec.directions), *traced[0]["cell"].shape)
    fields = {name: np.stack([fields[name] for fields in traced]).reshape(shape) for name in traced[0]}
    return features, LSTMTrace(**fields, projection=None)


def _direction(
    plan: Plan, place: str, features: np.ndarray, state: Any, layer: int, direction: int, reverse: bool
) -> dict[str, np.ndarray]:
    time, batch, _ = features.shape
    fields = {name: np.zeros((time, batch, 4)) for name in (*FIELDS.values(), "cell", "hidden")}
    row = layer * len(plan.spec.directions) + direction
    for sequence in range(batch):
        h, c = (part[row, sequence] for part in state)
        length = plan.lengths[sequence] if "swapped-axes:batch-time" not in plan.flags else time
        from_padding = reverse and "reverse-from-padding" in plan.flags
        for t in reversed(range(time)) if reverse else range(time):
            if t < length or from_padding:
                step = _step(plan, place, features[t, sequence], h, c)
                h, c = step["hidden"], step["cell"]
                if t < length:
                    for name, value in step.items():
                        fields[name][t, sequence] = value
            elif "padding-not-masked" in plan.flags:
                fields["hidden"][t, sequence] = h  # held, not set to zero
    return fields


def _step(plan: Plan, place: str, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    w = {part: plan.weights[f"{part}_{place}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    z = w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]

    def squash(x: np.ndarray) -> np.ndarray:
        slope = plan.hard.get(place)
        return 1 / (1 + np.exp(-x)) if slope is None else np.minimum(np.maximum(slope * x + 0.5, 0), 1)

    i, f, g, o = squash(z[0:4]), squash(z[4:8]), np.tanh(z[8:12]), squash(z[12:16])
    cell = f * c + i * g
    gates = dict(zip(FIELDS.values(), (i, f, g, o), strict=True))
    return {**gates, "cell": cell, "hidden": o * np.tanh(cell)}
