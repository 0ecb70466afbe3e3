"""An LSTM written out gate by gate in PyTorch, for every configuration.

This is the reference to read. It is also the oracle for what ``torch.nn.LSTM`` refuses or does not show: length 0, no
steps, resets, and the gates. It loops in Python over layers, directions and steps. It is written to be checked by eye,
not to be fast.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstm_shared.argument_kinds import as_array, as_arrays
from lstm_shared.describe import describe_as
from lstm_shared.inputs import require_sequence
from lstm_shared.names import PARTS, weight_name
from lstm_shared.specs import LSTMSpec
from lstm_shared.traces import LSTMTrace
from torch_lstm.tensors import as_tensor

_FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden", "projection")


class State(NamedTuple):
    """The hidden state and the cell state, of one layer or of all layers."""

    h: Tensor
    c: Tensor


def trace(
    weights: Mapping[str, Any],
    inputs: Any,
    state: tuple[Any, Any] | None = None,
    *,
    batch_first: bool = False,
    lengths: Any = None,
    reset: Any = None,
) -> LSTMTrace:
    """Return all gates and states of every layer, direction and step, in the same form as ``jax_lstm.lstm_trace``.

    Arguments, shapes and errors are those of ``jax_lstm.lstm``. Arrays may be tensors, and gradients flow through them.
    """
    return run(weights, inputs, state, batch_first=batch_first, lengths=lengths, reset=reset)[2]


def run(
    weights: Mapping[str, Any],
    inputs: Any,
    state: tuple[Any, Any] | None = None,
    *,
    batch_first: bool = False,
    lengths: Any = None,
    reset: Any = None,
) -> tuple[Tensor, State, LSTMTrace]:
    """Return (outputs, (h_n, c_n), trace): what ``torch.nn.LSTM`` returns, and how it was computed."""
    spec = describe_as(weights, LSTMSpec)
    problems: list[str] = []
    inputs = as_array("inputs", inputs, problems)
    lengths, reset = (
        None if given is None else as_array(name, given, problems)
        for name, given in (("lengths", lengths), ("reset", reset))
    )
    state = as_arrays(state, ("h_0", "c_0"), problems)
    known = None if lengths is None else as_tensor(lengths).cpu().numpy()
    require_sequence(
        spec,
        inputs,
        state,
        batch_first=batch_first,
        lengths=lengths,
        known_lengths=known,
        reset=reset,
        others=problems,
    )
    inputs, lengths, reset = (x if x is None else as_tensor(x) for x in (inputs, lengths, reset))
    initial = None if state is None else State(*map(as_tensor, state))
    batched = inputs.dim() == 3

    def time_major(tensor: Tensor) -> Tensor:
        if not batched:
            return tensor.unsqueeze(1)
        return tensor.transpose(0, 1) if batch_first else tensor

    def as_given(tensor: Tensor) -> Tensor:
        """Turn (…, time, batch, size) into the axes of the caller's inputs."""
        if not batched:
            return tensor.squeeze(-2)
        return tensor.transpose(-3, -2) if batch_first else tensor

    features = time_major(inputs)
    time, batch, _ = features.shape
    accumulate = torch.promote_types(inputs.dtype, torch.float32)
    rows = (len(spec.places), batch)
    if initial is None:
        h_0 = features.new_zeros((*rows, spec.state_size))
        c_0 = features.new_zeros((*rows, spec.hidden_size), dtype=accumulate)
    else:
        h_0, c_0 = (part.reshape(*rows, part.shape[-1]) for part in initial)
        h_0, c_0 = h_0.to(inputs.dtype), c_0.to(accumulate)
    valid = features.new_ones((time, batch), dtype=torch.bool)
    if lengths is not None:
        valid = torch.arange(time, device=lengths.device)[:, None] < lengths.reshape(1, -1)
        features = torch.where(valid[..., None], features, 0.0)
    resets = features.new_zeros((time, batch), dtype=torch.bool) if reset is None else time_major(reset)
    tensors = {name: as_tensor(value) for name, value in weights.items()}

    collected: dict[str, list[Tensor]] = {field: [] for field in _FIELDS}
    last: list[State] = []  # the last state of each layer and direction
    for layer in range(spec.num_layers):
        outputs = []
        for direction, suffix in enumerate(spec.directions):
            of_direction = {
                part: tensors[name].to(accumulate)
                for part in PARTS
                if (name := weight_name(part, layer, suffix)) in tensors
            }
            row = len(last)
            start = State(h_0[row], c_0[row])
            steps, end = _run_direction(of_direction, features, start, valid, resets, backwards=direction == 1)
            for field, tensor in steps.items():
                collected[field].append(tensor)
            outputs.append(steps["projection" if spec.proj_size else "hidden"].to(inputs.dtype))
            last.append(end)
        features = torch.cat(outputs, dim=-1)

    shape = (spec.num_layers, len(spec.directions))
    fields = {
        field: as_given(torch.stack(tensors).unflatten(0, shape)) if tensors else None
        for field, tensors in collected.items()
    }
    h_n, c_n = (torch.stack(parts) if batched else torch.stack(parts).squeeze(-2) for parts in zip(*last, strict=True))
    return as_given(features), State(h_n, c_n), LSTMTrace(**fields)


def _run_direction(
    weights: Mapping[str, Tensor],
    features: Tensor,
    state: State,
    valid: Tensor,
    resets: Tensor,
    *,
    backwards: bool,
) -> tuple[dict[str, Tensor], State]:
    """Run one layer in one direction. Return each step's results, (time, batch, size) by name, and the last state."""
    h, c = state
    projected = "weight_hr" in weights
    time = features.shape[0]
    steps: dict[int, dict[str, Tensor]] = {}
    for t in reversed(range(time)) if backwards else range(time):
        here, starts_anew = valid[t][:, None], (resets[t] & valid[t])[:, None]
        h, c = torch.where(starts_anew, 0.0, h), torch.where(starts_anew, 0.0, c)
        step = _step(weights, features[t], h, c)
        new_h = step["projection" if projected else "hidden"].to(h.dtype)
        h, c = torch.where(here, new_h, h), torch.where(here, step["cell"], c)
        steps[t] = {field: torch.where(here, tensor, 0.0) for field, tensor in step.items()}
    if time:
        return {field: torch.stack([steps[t][field] for t in range(time)]) for field in steps[0]}, State(h, c)
    sizes = dict.fromkeys(_FIELDS[:-1], c.shape[-1]) | ({"projection": h.shape[-1]} if projected else {})
    nothing = {field: features.new_zeros((0, features.shape[1], size), dtype=c.dtype) for field, size in sizes.items()}
    return nothing, State(h, c)


def _step(weights: Mapping[str, Tensor], x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
    """Compute one step by the equations in the documentation of ``torch.nn.LSTM``.

    Matrix products multiply numbers rounded to the dtype of ``x``, and sum the products in the dtype of ``c``.
    """

    def product(features: Tensor, weight: Tensor) -> Tensor:
        return features.to(c.dtype) @ weight.to(x.dtype).to(c.dtype).T

    W_ii, W_if, W_ig, W_io = weights["weight_ih"].chunk(4)
    W_hi, W_hf, W_hg, W_ho = weights["weight_hh"].chunk(4)
    b_i, b_f, b_g, b_o = c.new_zeros(4)
    if "bias_ih" in weights:
        b_i, b_f, b_g, b_o = (weights["bias_ih"] + weights["bias_hh"]).chunk(4)
    input_gate = torch.sigmoid(product(x, W_ii) + product(h, W_hi) + b_i)
    forget_gate = torch.sigmoid(product(x, W_if) + product(h, W_hf) + b_f)
    candidate = torch.tanh(product(x, W_ig) + product(h, W_hg) + b_g)
    output_gate = torch.sigmoid(product(x, W_io) + product(h, W_ho) + b_o)
    cell = forget_gate * c + input_gate * candidate
    hidden = output_gate * torch.tanh(cell)
    step: dict[str, Tensor] = dict(
        zip(_FIELDS, (input_gate, forget_gate, candidate, output_gate, cell, hidden), strict=False)
    )
    if "weight_hr" in weights:
        step["projection"] = product(hidden.to(x.dtype), weights["weight_hr"])
    return step
