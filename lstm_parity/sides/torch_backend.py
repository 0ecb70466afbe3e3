"""Run a case in the PyTorch backend: forward, loss, gradients, Adam steps."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lstm_parity.sides.adam import LEARNING_RATE
from lstm_parity.sides.case import Case, Observation
from lstm_parity.sides.devices import full_precision
from lstm_parity.sides.kinds.records import TorchArrays, TorchForward
from lstm_shared.by_hand_to_lstm import by_hand_to_lstm
from lstm_shared.tensors import to_array, to_tensor
from torch_lstm import to_torch

# The gradients of the Adam steps, (steps, *shape) each. They are not compared: they show how far a step may be off.
STEP_GRADIENTS = "gradients of the adam steps"


def observe(case: Case, device: str = "cpu") -> Observation:
    """Run the case in its own dtype, at full precision, in the reference module of its kind."""
    with torch.random.fork_rng(devices=[]):  # a new module draws weights before it gets these
        module = to_torch(case.weights, batch_first=case.batch_first).to(device)
    with full_precision():
        return _observe(module, case.kind.torch_forward(module, case), case, device)


def observe_nn_lstm(case: Case) -> Observation:
    """Run a by-hand case in ``torch.nn.LSTM(1, 1)``, a third and independent implementation.

    nn.LSTM shows the long memory of the last day only, so the loss leaves long memories out. Compare the result with
    that of a case that has a cotangent for the short memories alone.
    """
    module = nn.LSTM(1, 1, batch_first=True).to(to_tensor(case.inputs).dtype)
    module.load_state_dict({name: to_tensor(array) for name, array in by_hand_to_lstm(case.weights).items()})

    def forward(prices: Tensor, state: TorchArrays) -> dict[str, Tensor]:
        initial = [state[name].reshape(1, -1, 1) for name in ("short_memory", "long_memory") if name in state]
        outputs, _ = module(prices.reshape(-1, prices.shape[-1], 1), tuple(initial) or None)
        return {"short_memory": outputs[..., 0].reshape(prices.shape)}

    return _observe(module, forward, case)


def _observe(module: nn.Module, forward: TorchForward, case: Case, device: str = "cpu") -> Observation:
    inputs = to_tensor(case.inputs).to(device).requires_grad_()
    state = {name: to_tensor(array).to(device).requires_grad_() for name, array in case.state.items()}
    cotangents = {name: to_tensor(array).to(device) for name, array in case.cotangents.items()}
    parameters = dict(module.named_parameters())

    def loss_and_outputs() -> tuple[Tensor, dict[str, Tensor]]:
        outputs = forward(inputs, state)
        terms = [torch.sum(outputs[name].to(inputs.dtype) * cotangents[name]) for name in cotangents]
        return torch.stack(terms).sum(), outputs

    loss, outputs = loss_and_outputs()
    if loss.requires_grad:  # not if there are no steps and no state: then nothing is computed
        loss.backward()
    observation = {
        "forward": outputs,
        "loss": {"loss": loss},
        "gradient": {
            **{name: _gradient(parameter) for name, parameter in parameters.items()},
            "inputs": _gradient(inputs),
            **{f"{name}_0": _gradient(tensor) for name, tensor in state.items()},
        },
    }
    observation = {stage: _arrays(tensors) for stage, tensors in observation.items()}
    adam = torch.optim.Adam(parameters.values(), lr=LEARNING_RATE)
    weights, gradients = [], []
    for _ in range(case.steps):
        adam.zero_grad()
        if loss.requires_grad:
            loss_and_outputs()[0].backward()
        gradients.append(_arrays({name: _gradient(parameter) for name, parameter in parameters.items()}))
        adam.step()
        weights.append(_arrays(parameters))
    if weights:
        observation["adam"] = {name: np.stack([step[name] for step in weights]) for name in parameters}
        observation[STEP_GRADIENTS] = {name: np.stack([step[name] for step in gradients]) for name in parameters}
    return observation


def _gradient(tensor: Tensor) -> Tensor:
    """Return the gradient, with zeros for None: without steps, nothing depends on the weights."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: to_array(tensor) for name, tensor in tensors.items()}
