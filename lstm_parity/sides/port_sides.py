"""Run a port on the arrays of each framework: its outputs, and its gradients if it has any."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import ArrayLike

from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.isolation import in_a_line
from lstm_parity.sides.kinds.records import JaxArrays
from lstm_parity.sides.port_call import Port, call_port
from lstm_parity.sides.port_returns import returning
from lstm_shared.argument_kinds import is_floating
from lstm_shared.tensors import to_array, to_tensor


def observe_numpy(case: Case, port: Port, notes: list[str]) -> tuple[Observation, Case]:
    weights, state = ({name: np.array(a) for name, a in group.items()} for group in (case.weights, case.state))
    forward = call_port(case, port, weights, np.array(case.inputs), state)
    arrays = {name: np.array(array) for name, array in forward.items()}  # a port may reuse its buffers
    notes.append("gradients were not compared: NumPy arrays have none; write the port in JAX or torch to compare them")
    return {"forward": arrays}, returning(case, arrays)


def observe_jax(case: Case, port: Port, notes: list[str]) -> tuple[Observation, Case]:
    with jax.enable_x64(case.inputs.dtype == np.float64):
        weights, inputs, state = jax.tree.map(jnp.asarray, (case.weights, case.inputs, case.state))
        forward = call_port(case, port, weights, inputs, state)
        case = returning(case, forward)
        observation: Observation = {"forward": {name: np.array(array) for name, array in forward.items()}}
        if not _differentiable(observation["forward"]):
            return observation, case

        def loss(weights: JaxArrays, inputs: jax.Array) -> ArrayLike:
            outputs = call_port(case, port, weights, inputs, state)
            return sum(jnp.sum(outputs[name] * case.cotangents[name]) for name in case.cotangents)

        which = (0, 1) if port.layout == "torch" else (1,)
        try:
            value, gradients = jax.value_and_grad(loss, argnums=which)(weights, inputs)
        except Exception as error:
            notes.append(f"JAX cannot differentiate the port, so gradients were not compared ({in_a_line(error)})")
            return observation, case
        by_weight = gradients[0] if port.layout == "torch" else {}
        _note_layout(port, notes)
        observation["loss"] = {"loss": np.asarray(value)}
        observation["gradient"] = {n: np.asarray(g) for n, g in {**by_weight, "inputs": gradients[-1]}.items()}
        return observation, case


def observe_torch(case: Case, port: Port, notes: list[str]) -> tuple[Observation, Case]:
    weights = {name: to_tensor(array).requires_grad_() for name, array in case.weights.items()}
    inputs = to_tensor(case.inputs).requires_grad_()
    state = {name: to_tensor(array) for name, array in case.state.items()}
    # Pass clones, not the leaves themselves: a port may change its arguments in place.
    given = {name: leaf.clone() for name, leaf in weights.items()}
    forward = call_port(case, port, given, inputs.clone(), state)
    case = returning(case, forward)
    observation: Observation = {"forward": {name: to_numpy(array) for name, array in forward.items()}}
    if not _differentiable(observation["forward"]):
        return observation, case
    terms = [torch.sum(torch.as_tensor(forward[n]) * to_tensor(case.cotangents[n])) for n in case.cotangents]
    loss = torch.stack(terms).sum()
    if not loss.requires_grad:
        notes.append("the port detaches its outputs from its inputs, so gradients were not compared")
        return observation, case
    observation["loss"] = {"loss": to_array(loss)}
    loss.backward()
    leaves = {**(weights if port.layout == "torch" else {}), "inputs": inputs}
    # A weight without a gradient was copied out of the graph. That cannot be compared, but it is not a wrong gradient.
    gradients = {name: to_array(leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None}
    _note_layout(port, notes)
    if missing := [name for name in leaves if name not in gradients]:
        some = f"{', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}"
        notes.append(f"the port copies arrays out of torch's graph, so the gradients of {some} were not compared")
    observation["gradient"] = gradients
    return observation, case


def _note_layout(port: Port, notes: list[str]) -> None:
    if port.layout != "torch":
        notes.append(f"gradients of the weights were not compared: the port takes them in layout {port.layout}")


def _differentiable(forward: Mapping[str, np.ndarray]) -> bool:
    return all(is_floating(array.dtype) for array in forward.values())


def to_numpy(array: object) -> np.ndarray:
    return to_array(array) if isinstance(array, torch.Tensor) else np.array(array)
