"""torch.nn.LSTM, eager and compiled, and a loop over torch.nn.LSTMCell. They run on a GPU if the process sees one."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstm_parity.bench.cases import ADAM, FORWARD, TRAINING, BenchCase
from lstm_parity.bench.contenders import by_hand
from lstm_parity.bench.contenders.program import COMPARED_STEPS, Program, Shown
from lstm_parity.bench.contenders.torch_device import DEVICE, finished
from lstm_parity.sides.adam import LEARNING_RATE
from lstm_shared.tensors import to_array, to_tensor

Outputs = Tensor | PackedSequence
Forward = Callable[[], Outputs]


def eager(case: BenchCase, mode: str, dtype: str) -> Program:
    """Make the program for the reference: plain ``torch.nn.LSTM``."""
    if case.kind == "by hand":
        return by_hand.torch_loop(case, mode, dtype)
    module = _load(nn.LSTM(**vars(case.spec)), case.weights(dtype))
    inputs, lengths = to_tensor(case.inputs(dtype)).to(DEVICE), case.lengths()
    if case.kind == "streaming":
        return _streaming(module, inputs)
    if lengths is None:
        return _program(case, mode, module, lambda: module(inputs)[0])
    tensor = torch.tensor(lengths)
    # The loss uses the packed outputs, so that torch does not have to pad them.
    return _program(case, mode, module, lambda: module(pack_padded_sequence(inputs, tensor, enforce_sorted=False))[0])


def cell_loop(case: BenchCase, mode: str, dtype: str) -> Program:
    """Make the program for the usual loop over ``torch.nn.LSTMCell``."""
    weights = {name.removesuffix("_l0"): array for name, array in case.weights(dtype).items()}
    cell = _load(nn.LSTMCell(case.input_size, case.hidden_size), weights)
    inputs = to_tensor(case.inputs(dtype)).to(DEVICE)

    def forward() -> Tensor:
        state = (inputs.new_zeros(case.batch, case.hidden_size),) * 2
        outputs = []
        for features in inputs:
            state = cell(features, state)
            outputs.append(state[0])
        return torch.stack(outputs)

    return _program(case, mode, cell, forward, suffix="_l0")


def compiled(case: BenchCase, mode: str, dtype: str) -> Program:
    """Make the program for ``torch.compile`` of the whole module. By default, torch.compile runs nn.LSTM eagerly."""
    torch._dynamo.reset()  # or the first call would reuse what another mode compiled
    torch._dynamo.config.allow_rnn = True  # pyright: ignore[reportAttributeAccessIssue]
    module = _load(nn.LSTM(**vars(case.spec)), case.weights(dtype))
    inputs = to_tensor(case.inputs(dtype)).to(DEVICE)
    run = torch.compile(module, fullgraph=True)
    return _program(case, mode, module, lambda: run(inputs)[0])


def _program(case: BenchCase, mode: str, module: nn.Module, forward: Forward, suffix: str = "") -> Program:
    if mode == FORWARD:
        return Program(
            lambda: finished(forward()),
            lambda outputs: {"forward": {"outputs": _padded(case, outputs)}},
            within=torch.no_grad,
            steps=case.time,
        )

    initial = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    optimizer = [torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)]

    def reset() -> None:
        module.load_state_dict(initial)
        optimizer[0] = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)

    def backward() -> Tensor:
        module.zero_grad()
        result = forward()
        loss = ((result.data if isinstance(result, PackedSequence) else result) ** 2).sum()
        loss.backward()
        return loss

    def step() -> Tensor:
        loss = backward()
        optimizer[0].step()
        return loss.detach()

    def train() -> list[Tensor]:
        return finished([step() for _ in range(case.train_steps)])

    def show(_: object) -> Shown:
        parameters = {f"{name}{suffix}": parameter for name, parameter in module.named_parameters()}
        gradient = {name: to_array(p.grad) for name, p in parameters.items() if p.grad is not None}
        if mode == ADAM:
            return {"gradient": gradient, "adam": {name: to_array(p) for name, p in parameters.items()}}
        return {"gradient": gradient}

    if mode == TRAINING:
        return Program(train, _show_losses, reset, steps=case.train_steps)
    call = step if mode == ADAM else backward
    return Program(lambda: finished(call()), show, reset, steps=case.time)


def _streaming(module: nn.Module, inputs: Tensor) -> Program:
    state: list[tuple[Tensor, Tensor] | None] = [None]

    def reset() -> None:
        state[0] = None

    def call() -> Tensor:
        outputs, state[0] = module(inputs, state[0])
        return finished(outputs)

    def show(first: Tensor) -> Shown:
        later = [call() for _ in range(COMPARED_STEPS)]  # later outputs show that the state is carried over
        return {"forward": {"outputs": to_array(torch.cat([first, *later]))}}

    return Program(call, show, reset, within=torch.no_grad)


def _show_losses(losses: list[Tensor]) -> Shown:
    return {"losses": {"losses": to_array(torch.stack(losses[:COMPARED_STEPS]))}}


def _padded(case: BenchCase, outputs: Outputs) -> np.ndarray:
    if isinstance(outputs, PackedSequence):
        outputs, _ = pad_packed_sequence(outputs, total_length=case.time)
    return to_array(outputs)


def _load(module: nn.Module, weights: Mapping[str, np.ndarray]) -> nn.Module:
    """Load weights as ``torch_lstm.to_torch`` does.

    Importing that would also import Lightning, which takes four times as long as importing torch.
    """
    tensors = {name: to_tensor(array) for name, array in weights.items()}
    module = module.to(DEVICE, next(iter(tensors.values())).dtype)
    module.load_state_dict(tensors)
    return module
