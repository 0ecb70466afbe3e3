"""``check``: run both backends on one dictionary and compare everything, stage by stage."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lstm_parity import observe_jax, observe_torch
from lstm_parity.candidates import Candidate
from lstm_parity.candidates import observe as observe_candidate
from lstm_parity.cases import Case, Observation, make_case
from lstm_parity.compare import Row, adam_growth, compare, eps, factor, group_scale, magnitude
from lstm_parity.devices import has_float64, require_devices
from lstm_parity.divergence import with_location
from lstm_parity.environment import environment
from lstm_parity.report import Report
from lstm_shared.dictionaries import by_hand_to_lstm
from lstm_shared.specs import ByHandSpec

VERDICT_DTYPE = "float64"


def check(
    weights: Mapping[str, Any],
    inputs: Any = None,
    *,
    candidate: Callable[..., Any] | Candidate | None = None,
    state: Any = None,
    batch_first: bool = False,
    lengths: Any = None,
    reset: Any = None,
    dtypes: Sequence[str] = (VERDICT_DTYPE, "float32"),
    steps: int = 10,
    seed: int = 0,
    jax_device: str = "cpu",
    torch_device: str = "cpu",
) -> Report:
    """Compare the two backends on one weight dictionary, or a stranger's port with PyTorch.

    In each dtype: outputs and states, the loss (inner product with fixed random cotangents), the gradient of every
    weight, of the inputs and of the initial states, then Adam steps, weight by weight. The by-hand model is also
    compared with ``torch.nn.LSTM(1, 1)``. Below float64, each side is shown with its distance from the float64 result.

    Args:
        weights: the dictionary; it says which model this is.
        inputs: by hand, prices (days,) or (series, days), the two companies of the articles when left out; else as for
            ``jax_lstm.lstm``, ``lstm_cell`` or ``forecast`` (batch first), drawn from N(0, 1) when left out.
        candidate: a port to judge in the place of our JAX backend: a function (params, inputs) -> outputs on NumPy
            arrays with the weight dictionary as params, or a ``Candidate`` that says more. It is given ``state``,
            ``lengths``, ``reset`` and ``batch_first`` as keywords where they are given here. Outputs are compared, and
            states, loss and gradients where the candidate has them.
        state: by hand, (long_memory, short_memory) before the first day; else (h, c), as for those functions; zeros
            when left out.
        batch_first, lengths, reset: as in ``jax_lstm.lstm``. Where ``torch.nn.LSTM`` refuses (length 0, no steps,
            resets), the explicit gates of ``torch_lstm.trace`` take its place.
        dtypes: precisions to compare in; the weights are rounded to each.
        steps: Adam steps (learning rate 1e-3).
        seed: of the cotangents, and of the inputs when they are drawn.
        jax_device: "cpu", "gpu" or "tpu".
        torch_device: "cpu", "cuda" or "mps". Both sides run at full precision (no TF32). The float64 result that lower
            precisions are judged by is computed on the CPU; where a device has no float64, that is the only judge.

    Returns:
        A Report: ``ok``, ``rows``, ``first_divergence``, ``str()``, ``to_json()``. The first divergence has a
        ``location``: where our own forward passes part, the layer, direction, step, gate, row and unit; where those of
        a candidate part, the step, row and unit of the outputs, and how the error goes on; and where only gradients
        differ, the weight, gate, row and column.

    Raises:
        WeightsError, InputError: the dictionary or the inputs are not what they should be.
    """
    case = make_case(
        weights,
        inputs,
        state=state,
        batch_first=batch_first,
        lengths=lengths,
        reset=reset,
        steps=steps,
        seed=seed,
    )
    if candidate is not None:
        candidate = candidate if isinstance(candidate, Candidate) else Candidate(candidate)
        return _check_candidate(case, candidate, dtypes)
    require_devices(jax_device, torch_device)
    if not has_float64(jax_device, torch_device):
        dtypes = [dtype for dtype in dtypes if dtype != VERDICT_DTYPE] or ["float32"]
    rows: list[Row] = []
    seconds = {"jax": 0.0, "torch": 0.0}
    for dtype in dtypes:
        # Adam's epsilon, 1e-8, is 0 in float16: there a vanishing gradient is divided by zero, by both sides.
        rounded = replace(case.astype(dtype), steps=0 if dtype == "float16" else case.steps)
        observed: dict[str, Observation] = {}
        for side, observe, device in (
            ("jax", observe_jax.observe, jax_device),
            ("torch", observe_torch.observe, torch_device),
        ):
            began = time.perf_counter()
            observed[side] = observe(rounded, device)
            seconds[side] += time.perf_counter() - began
        truth = None if dtype == VERDICT_DTYPE else observe_torch.observe(rounded.astype(VERDICT_DTYPE))
        ours, reference = observed["jax"], observed["torch"]
        compared = compare_observations(rounded, ours, reference, ("jax", "torch"), dtype, truth)
        rows += with_location(rounded, compared, ours, reference, traces=True)
        if isinstance(case.spec, ByHandSpec):
            rows += _against_nn_lstm(rounded, dtype)
    return Report(tuple(rows), environment(jax_device, torch_device), case.seed, seconds)


def _check_candidate(case: Case, candidate: Candidate, dtypes: Sequence[str]) -> Report:
    rows: list[Row] = []
    seconds = {"candidate": 0.0, "torch": 0.0}
    for dtype in candidate.dtypes or dtypes:
        began = time.perf_counter()
        observed, returned = observe_candidate(case.astype(dtype), candidate)
        judged = time.perf_counter()
        reference = observe_torch.observe(returned)
        exact = None if dtype == VERDICT_DTYPE else observe_torch.observe(returned.astype(VERDICT_DTYPE))
        seconds["candidate"] += judged - began
        seconds["torch"] += time.perf_counter() - judged
        # A port that computes in float32 whatever it is given is judged as float32.
        dtype = max([dtype, *(array.dtype.name for array in observed["forward"].values())], key=eps)
        if any(row.dtype == dtype for row in rows):
            continue
        # What the candidate does not show is not compared: other arrays, and gradients of a NumPy function.
        shown = {
            stage: {name: array for name, array in arrays.items() if name in observed[stage]}
            for stage, arrays in reference.items()
            if stage in observed
        }
        compared = compare_observations(returned, observed, shown, ("candidate", "torch"), dtype, exact)
        rows += with_location(returned, compared, observed, shown)
    return Report(tuple(rows), environment(), case.seed, seconds)


def compare_observations(
    case: Case,
    candidate: Observation,
    reference: Observation,
    sides: tuple[str, str],
    dtype: str,
    truth: Observation | None = None,
) -> list[Row]:
    """Compare what two implementations computed for a case, in the order of computation."""
    k = factor(case.spec, case.time)
    k *= magnitude(case.weights, case.inputs, *case.state.values())
    gradient_scale = group_scale(reference.get("gradient", {}))
    rows: list[Row] = []
    for stage, arrays in reference.items():
        allowed: float | dict[str, Any] = k
        scale = None
        if stage == "loss":  # a sum of products: its rounding grows with their magnitudes, not with what is left
            forward = reference["forward"]
            scale = max(1.0, sum(float(np.sum(np.abs(forward[name] * c))) for name, c in case.cotangents.items()))
        elif stage == "adam":
            gradient = reference["gradient"]
            allowed = {name: k * (1 + adam_growth(gradient[name], gradient_scale, case.steps)) for name in arrays}
        stage_truth = None if truth is None else truth[stage]
        rows += compare(
            stage,
            candidate.get(stage, {}),
            {name: arrays[name] for name in sorted(arrays, key=_backwards)} if stage == "gradient" else arrays,
            dtype=dtype,
            sides=sides,
            allowed=allowed,
            scale=scale,
            truth=stage_truth,
        )
    return rows


def _backwards(name: str) -> float:
    """Sorts gradients as the backward pass computes them, where a mistake in one layer spoils those of all below it:
    the head's, the last layer's, …, the first layer's, those of the inputs and initial states."""
    layer = re.search(r"_l(\d+)", name)
    return -int(layer[1]) if layer else -math.inf if name.startswith("fc.") else 1


def _against_nn_lstm(case: Case, dtype: str) -> list[Row]:
    """JAX against nn.LSTM(1, 1), under the loss that nn.LSTM can compute: that of the short memories alone."""
    case = replace(case, cotangents={"short_memory": case.cotangents["short_memory"]}, steps=0)
    ours, reference = observe_jax.observe(case), observe_torch.observe_nn_lstm(case)
    # The gradient of the twelve scalars stands in nn.LSTM's gradient where the scalars stand in its weights.
    gradient = ours["gradient"]
    others = {name: array for name, array in gradient.items() if name not in case.weights}
    ours["gradient"] = by_hand_to_lstm({name: gradient[name] for name in case.weights}) | others
    ours["gradient"]["bias_hh_l0"] = ours["gradient"]["bias_ih_l0"]  # the two are added, so they share a gradient
    ours["forward"] = {name: ours["forward"][name] for name in reference["forward"]}
    return compare_observations(case, ours, reference, ("jax", "nn.LSTM"), dtype)
