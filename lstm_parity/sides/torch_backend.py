"""What the PyTorch backend computes for a case: forward, loss, gradients, Adam steps."""

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

# The gradients that the Adam steps took, (steps, *shape) each: not compared, they tell how far a step may be off.
STEP_GRADIENTS = "gradients of the adam steps"


def observe(case: Case, device: str = "cpu") -> Observation:
    """Run the case in its own dtype, at full precision, with the reference module of its kind."""
    with torch.random.fork_rng(devices=[]):  # a new module draws weights before it is given these
        module = to_torch(case.weights, batch_first=case.batch_first).to(device)
    with full_precision():
        return _observe(module, case.kind.torch_forward(module, case), case, device)


def observe_nn_lstm(case: Case) -> Observation:
    """A by-hand case through ``torch.nn.LSTM(1, 1)``, a third and independent implementation.

    nn.LSTM shows long memories at the last day only, so they are left out of the loss: compare with a case that has a
    cotangent for the short memories alone.
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
    if loss.requires_grad:  # it does not without a step and a state: nothing is computed then
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
    """Zeros where torch says None: nothing depends on the weights when there are no steps."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: to_array(tensor) for name, tensor in tensors.items()}
