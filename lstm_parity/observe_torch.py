"""What the PyTorch backend computes for a case: forward, loss, gradients, Adam steps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstm_parity.cases import Case, Observation
from lstm_parity.compare import LEARNING_RATE
from lstm_shared.describe import ByHandSpec
from lstm_shared.dictionaries import by_hand_to_lstm
from lstm_shared.tensors import to_array, to_tensor
from torch_lstm import LSTMByHand

Forward = Callable[[Tensor, Mapping[str, Tensor]], dict[str, Tensor]]


def observe(case: Case) -> Observation:
    """Run the case in its own dtype with the reference module of its kind."""
    if isinstance(case.spec, ByHandSpec):
        module = LSTMByHand(case.weights)

        def forward(prices: Tensor, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
            trace = module.trace(prices, **state)
            return {"long_memory": trace.long_memory, "short_memory": trace.short_memory}

        return _observe(module, forward, case)
    raise TypeError(f"no torch model for {case.spec}")


def observe_nn_lstm(case: Case) -> Observation:
    """A by-hand case through ``torch.nn.LSTM(1, 1)``, a third and independent implementation.

    nn.LSTM shows long memories at the last day only, so the cotangents of the days before are left out of the loss:
    the observation is to be compared with one of ``short_memory_only(case)``.
    """
    module = nn.LSTM(1, 1, batch_first=True).to(to_tensor(case.inputs).dtype)
    module.load_state_dict({name: to_tensor(array) for name, array in by_hand_to_lstm(case.weights).items()})

    def forward(prices: Tensor, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        initial = tuple(state[name].reshape(1, -1, 1) for name in ("short_memory", "long_memory"))
        outputs, _ = module(prices.reshape(-1, prices.shape[-1], 1), initial)
        return {"short_memory": outputs[..., 0].reshape(prices.shape)}

    return _observe(module, forward, case)


def _observe(module: nn.Module, forward: Forward, case: Case) -> Observation:
    inputs = to_tensor(case.inputs).requires_grad_()
    state = {name: to_tensor(array).requires_grad_() for name, array in case.state.items()}
    cotangents = {name: to_tensor(array) for name, array in case.cotangents.items()}
    parameters = dict(module.named_parameters())

    def loss_and_outputs() -> tuple[Tensor, dict[str, Tensor]]:
        outputs = forward(inputs, state)
        terms = [torch.sum(outputs[name].to(inputs.dtype) * cotangents[name]) for name in cotangents]
        return torch.stack(terms).sum(), outputs

    loss, outputs = loss_and_outputs()
    loss.backward()
    observation: dict[str, dict[str, Any]] = {
        "forward": outputs,
        "loss": {"loss": loss},
        "gradient": {
            **{name: parameter.grad for name, parameter in parameters.items()},
            "inputs": inputs.grad,
            **{f"{name}_0": tensor.grad for name, tensor in state.items()},
        },
    }
    observation = {stage: _arrays(tensors) for stage, tensors in observation.items()}
    adam = torch.optim.Adam(parameters.values(), lr=LEARNING_RATE)
    steps = []
    for _ in range(case.steps):
        adam.zero_grad()
        loss_and_outputs()[0].backward()
        adam.step()
        steps.append(_arrays(parameters))
    if steps:
        observation["adam"] = {name: np.stack([step[name] for step in steps]) for name in parameters}
    return observation


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: to_array(tensor) for name, tensor in tensors.items()}
