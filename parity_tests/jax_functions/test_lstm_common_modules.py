"""torch's own test inputs for LSTM and LSTMCell give the same results in our functions as in its modules."""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from lstm_cases import ALLOWED
from torch.testing._internal.common_modules import module_db

from jax_lstm import lstm, lstm_cell
from lstm_parity.compare.rows import compare
from torch_lstm import from_torch

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

DTYPES = (torch.float64, torch.float32)


def samples(module_class: type[torch.nn.Module], dtype: torch.dtype) -> list[Any]:
    torch.manual_seed(0)
    (info,) = (info for info in module_db if info.module_cls is module_class)
    return list(info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=False))


def describe_sample(sample: Any) -> str:
    """Return a readable id: the constructor's arguments and the shapes of the inputs."""
    arguments = [*sample.constructor_input.args, *(f"{k}={v}" for k, v in sample.constructor_input.kwargs.items())]
    return ",".join(map(str, arguments)) + "".join("-given-state" for _ in sample.forward_input.args[1:])


CASES = [
    pytest.param(module_class, dtype, sample, id=f"{module_class.__name__}-{str(dtype)[6:]}-{describe_sample(sample)}")
    for module_class in (torch.nn.LSTM, torch.nn.LSTMCell)
    for dtype in DTYPES
    for sample in samples(module_class, dtype)
]


def test_torch_has_inputs_for_both_modules():
    assert len(samples(torch.nn.LSTM, torch.float64)) >= 32
    assert len(samples(torch.nn.LSTMCell, torch.float64)) >= 2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("module_class", "dtype", "sample"), CASES)
def test_torchs_own_inputs(module_class: type[torch.nn.Module], dtype: torch.dtype, sample: Any):
    torch.manual_seed(1)
    module = module_class(*sample.constructor_input.args, **sample.constructor_input.kwargs, dtype=dtype)
    with torch.no_grad():
        theirs = module(*sample.forward_input.args, **sample.forward_input.kwargs)
    inputs, *state = jax.tree.map(
        lambda tensor: tensor.numpy(), (*sample.forward_input.args, *sample.forward_input.kwargs.values())
    )
    if module_class is torch.nn.LSTM:
        ours = lstm(from_torch(module), inputs, *state, batch_first=sample.constructor_input.kwargs["batch_first"])
    else:
        ours = lstm_cell(from_torch(module), inputs, *state)
    groups = [
        {str(place): np.asarray(leaf) for place, leaf in enumerate(jax.tree.leaves(result))}
        for result in (ours, theirs)
    ]
    name = str(dtype).removeprefix("torch.")
    assert all(leaf.dtype.name == name for leaf in groups[0].values())
    rows = compare("forward", *groups, dtype=name, sides=("jax", "torch"), allowed=ALLOWED)
    assert all(row.ok for row in rows), rows


CELLS = [(batch, state, bias) for batch in ((), (2,)) for state in (False, True) for bias in (False, True)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("batch", "given", "bias"),
    CELLS,
    ids=[f"{'batch' if b else 'single'}{'-state' * s}{'-bias' * bias}" for b, s, bias in CELLS],
)
def test_the_cell_and_its_gradients_are_torchs(batch: tuple[int, ...], given: bool, bias: bool):
    torch.manual_seed(2)
    module = torch.nn.LSTMCell(5, 4, bias=bias).double()
    inputs, *state = (torch.randn(*batch, size, dtype=torch.float64, requires_grad=True) for size in (5, 4, 4))
    h, c = module(inputs, tuple(state) if given else None)
    (h.sin().sum() + c.cos().sum()).backward()

    def run(weights: Any, inputs: Any, state: Any) -> Any:
        h, c = lstm_cell(weights, inputs, state)
        return jax.numpy.sin(h).sum() + jax.numpy.cos(c).sum(), {"h": h, "c": c}

    arrays = tuple(part.detach().numpy() for part in state) if given else None
    gradient, forward = jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(
        from_torch(module), inputs.detach().numpy(), arrays
    )
    theirs = {name: leaf.grad for name, leaf in module.named_parameters()} | {"inputs": inputs.grad}
    ours = {**gradient[0], "inputs": gradient[1]}
    if given:
        theirs |= {"h_0": state[0].grad, "c_0": state[1].grad}
        ours |= {"h_0": gradient[2][0], "c_0": gradient[2][1]}
    for mine, reference in ((forward, {"h": h.detach(), "c": c.detach()}), (ours, theirs)):
        reference = {name: tensor.numpy() for name, tensor in reference.items()}
        rows = compare("cell", mine, reference, dtype="float64", sides=("jax", "torch"), allowed=ALLOWED)
        assert all(row.ok for row in rows), rows
