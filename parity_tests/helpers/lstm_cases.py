"""The matrix of LSTM configurations, a case of data for each, and the results of torch and JAX.

Time 6, batch 2, input 5, hidden 4, projection 3: all different, so that no two axes can be confused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import jax_lstm
from lstm_parity.compare.rows import compare
from lstm_parity.compare.tolerance import factor
from lstm_shared import LSTMSpec, init_lstm
from lstm_shared.tensors import to_array, to_tensor
from torch_lstm import explicit

TIME, BATCH, INPUT_SIZE, HIDDEN_SIZE, PROJ_SIZE = 6, 2, 5, 4, 3

# By seed: not sorted, with and without a sequence of the full length.
LENGTHS = ((3, 5), (6, 2), (1, 4))
UNBATCHED_LENGTHS = (4, 6, 2)


# K of the tolerance. Measured over all the tests that use it: at most 2.0 eps in outputs and states and 9.1 eps in
# gradients in float64; 1.4 and 3.3 eps in float32.
ALLOWED = factor(LSTMSpec(INPUT_SIZE, HIDDEN_SIZE), TIME)


@dataclass(frozen=True)
class Configuration:
    """One configuration of the matrix. ``layout`` is "time-first", "batch-first" or "unbatched"."""

    num_layers: int
    bidirectional: bool
    proj_size: int
    bias: bool
    layout: str = "time-first"
    initial_state: bool = True
    ragged: bool = False

    def __str__(self) -> str:
        words = [
            f"{self.num_layers}-layer",
            "bidirectional" if self.bidirectional else "",
            "projected" if self.proj_size else "",
            "" if self.bias else "no-bias",
            self.layout,
            "state" if self.initial_state else "",
            "ragged" if self.ragged else "",
        ]
        return "-".join(word for word in words if word)

    @property
    def batch_first(self) -> bool:
        return self.layout == "batch-first"

    @property
    def sizes(self) -> dict[str, Any]:
        """torch's arguments apart from the input size and the hidden size."""
        names = ("num_layers", "bias", "bidirectional", "proj_size")
        return {name: getattr(self, name) for name in names}

    @property
    def spec(self) -> LSTMSpec:
        return LSTMSpec(INPUT_SIZE, HIDDEN_SIZE, **self.sizes)


AXES = (
    (1, 2, 3),
    (False, True),
    (0, PROJ_SIZE),
    (True, False),
    ("time-first", "batch-first", "unbatched"),  # without a batch axis it cannot come first
    (False, True),
    (False, True),
)
MATRIX = [Configuration(*values) for values in product(*AXES)]


def select(count: int, strength: int) -> list[Configuration]:
    """Choose a few configurations that cover many combinations of values of any ``strength`` axes.

    Greedily: always take the configuration with the most combinations not seen so far, the first one on a tie.
    """
    left = {configuration: set(combinations(vars(configuration).items(), strength)) for configuration in MATRIX}
    chosen: list[Configuration] = []
    while len(chosen) < count:
        chosen.append(max(left, key=lambda configuration: len(left[configuration])))
        seen = left.pop(chosen[-1])
        left = {configuration: shown - seen for configuration, shown in left.items()}
    return chosen


SELECTION = select(40, strength=4)  # covers every combination of three values, and so of two


class Case(NamedTuple):
    """Weights and data of one configuration. The loss is the inner product of the cotangents with all results."""

    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    state: tuple[np.ndarray, np.ndarray] | None
    lengths: np.ndarray | None
    cotangents: dict[str, np.ndarray]

    def astype(self, dtype: Any) -> "Case":
        """Round every floating-point array to a dtype."""
        return Case(*jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind != "i" else x, tuple(self)))


class Result(NamedTuple):
    """outputs, h_n and c_n, and the gradients of the loss by the name of the argument."""

    forward: dict[str, np.ndarray]
    gradient: dict[str, np.ndarray]


def draw_weights(spec: LSTMSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw from torch's initial distribution, perturbed so that no two weights are close and biases are of order 1."""
    rng = np.random.default_rng((seed, 1))
    weights = init_lstm(spec.input_size, spec.hidden_size, **_sizes(spec), seed=seed, dtype=np.float64)
    return {name: x + rng.standard_normal(x.shape) * (1.0 if "bias" in name else 0.3) for name, x in weights.items()}


def draw_case(configuration: Configuration, seed: int = 0) -> Case:
    """Draw data of order 1. The batch-first data are the time-first data with the axes swapped."""
    spec = configuration.spec
    normal = np.random.default_rng((seed, 2)).standard_normal
    batch = () if configuration.layout == "unbatched" else (BATCH,)
    leading = (TIME, *batch)
    rows = (spec.num_layers * len(spec.directions), *batch)
    state = normal((*rows, spec.state_size)), normal((*rows, spec.hidden_size))
    lengths = np.array((LENGTHS if batch else UNBATCHED_LENGTHS)[seed]) if configuration.ragged else None
    case = Case(
        draw_weights(spec, seed),
        normal((*leading, INPUT_SIZE)),
        state if configuration.initial_state else None,
        lengths,
        {
            "outputs": normal((*leading, spec.output_size)),
            "h_n": normal((*rows, spec.state_size)),
            "c_n": normal((*rows, spec.hidden_size)),
        },
    )
    return swap_layout(case) if configuration.batch_first else case


def swap_layout(case: Any) -> Case:
    """Return the same case with the time and batch axes swapped."""
    weights, inputs, state, lengths, cotangents = case
    cotangents = {**cotangents, "outputs": cotangents["outputs"].swapaxes(0, 1)}
    return Case(weights, inputs.swapaxes(0, 1), state, lengths, cotangents)


def by_torch(configuration: Configuration, case: Case) -> Result:
    """Run ``torch.nn.LSTM`` itself in the dtype of the case. torch packs and pads ragged batches."""
    module = nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, batch_first=configuration.batch_first, **configuration.sizes)
    module.to(to_tensor(case.inputs).dtype).load_state_dict({n: to_tensor(x) for n, x in case.weights.items()})

    def run(inputs: Any, state: Any) -> Any:
        if case.lengths is None:
            return module(inputs, state)
        if configuration.layout == "unbatched":  # torch cannot pack it: cut the sequence at its length
            outputs, last = module(inputs[: case.lengths], state)
            return nn.functional.pad(outputs, (0, 0, 0, TIME - int(case.lengths))), last
        first = configuration.batch_first
        packed = pack_padded_sequence(inputs, to_tensor(case.lengths), batch_first=first, enforce_sorted=False)
        packed, last = module(packed, state)
        return pad_packed_sequence(packed, batch_first=first, total_length=TIME)[0], last

    return _by_autograd(case, dict(module.named_parameters()), run)


def by_explicit(case: Case, *, batch_first: bool = False, reset: np.ndarray | None = None) -> Result:
    """Run the torch reference that is written out gate by gate."""
    weights = {name: to_tensor(array).requires_grad_() for name, array in case.weights.items()}

    def run(inputs: Any, state: Any) -> Any:
        return explicit.run(weights, inputs, state, batch_first=batch_first, lengths=case.lengths, reset=reset)[:2]

    return _by_autograd(case, weights, run)


def _by_autograd(case: Case, weights: dict[str, Any], run: Callable[[Any, Any], Any]) -> Result:
    inputs = to_tensor(case.inputs).requires_grad_()
    state = None if case.state is None else tuple(to_tensor(x).requires_grad_() for x in case.state)
    outputs, (h_n, c_n) = run(inputs, state)
    forward = {"outputs": outputs, "h_n": h_n, "c_n": c_n}
    loss = sum((forward[name].to(torch.float64) * to_tensor(x)).sum() for name, x in case.cotangents.items())
    loss.backward()  # pyright: ignore[reportAttributeAccessIssue]
    leaves = weights | {"inputs": inputs} | ({} if state is None else {"h_0": state[0], "c_0": state[1]})
    # In torch, an array that no step uses has no gradient.
    gradient = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    return Result(*({name: to_array(tensor) for name, tensor in group.items()} for group in (forward, gradient)))


LSTMCall = Callable[..., tuple[Any, tuple[Any, Any]]]  # (params, inputs, state, lengths) -> outputs, (h_n, c_n)


def by_function(configuration: Configuration) -> LSTMCall:
    """Return ``jax_lstm.lstm`` as a function of arrays only."""

    def call(params: Any, inputs: Any, state: Any, lengths: Any) -> Any:
        return jax_lstm.lstm(params, inputs, state, batch_first=configuration.batch_first, lengths=lengths)

    return call


def value_and_gradient(call: LSTMCall) -> Callable[..., Any]:
    """Return a function of a whole case, for jit and vmap, that returns (forward, gradient) by name."""

    def loss(params: Any, inputs: Any, state: Any, lengths: Any, cotangents: Mapping[str, Any]) -> Any:
        outputs, (h_n, c_n) = call(params, inputs, state, lengths)
        forward = {"outputs": outputs, "h_n": h_n, "c_n": c_n}
        wide = jnp.promote_types(c_n.dtype, jnp.float32)
        return sum(jnp.sum(forward[n].astype(wide) * x.astype(wide)) for n, x in cotangents.items()), forward

    def run(*case: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        (params, inputs, state), forward = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(*case)
        states = {} if state is None else {"h_0": state[0], "c_0": state[1]}
        return forward, {**params, "inputs": inputs, **states}

    return run


def by_jax(call: LSTMCall, case: Case, *, optimized: bool = False) -> Result:
    """Run a case in JAX as one compiled program, in the dtype of the case."""
    return Result(*compile_and_run(value_and_gradient(call), case, optimized=optimized))


def compile_and_run(function: Callable[..., Any], arguments: Any, *, optimized: bool = False) -> Any:
    """Run ``function(*arguments)`` as one compiled program, with float64 allowed, and return NumPy arrays."""
    with jax.enable_x64(True):
        arguments = jax.tree.map(jnp.asarray, tuple(arguments))
        program = jax.jit(function).lower(*arguments).compile(None if optimized else UNOPTIMIZED)
        return jax.tree.map(np.asarray, program(*arguments))


# XLA takes nearly all the time of these tests to compile loops: LLVM optimises them, each kernel gets an MLIR context,
# and the kernels of one program are spread over threads that the tests need for other work. If a test is only about the
# meaning of a call, or about whether a mistake is noticed, XLA does without all this, in a quarter of the time. It
# compiles float32, and correct code that a user's command would run, as it does for users.
UNOPTIMIZED = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
unoptimized_jit = partial(jax.jit, compiler_options=UNOPTIMIZED)


def assert_equal(ours: Result, theirs: Result, dtype: str) -> None:
    """Check that names and dtypes are the same and that values agree, each group on its own scale."""
    for group in Result._fields:
        assert_group_equal(group, getattr(ours, group), getattr(theirs, group), dtype)


def assert_group_equal(group: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], dtype: str) -> None:
    assert {name: array.dtype for name, array in ours.items()} == {name: array.dtype for name, array in theirs.items()}
    rows = compare(group, ours, theirs, dtype=dtype, sides=("jax", "torch"), allowed=ALLOWED)
    assert rows
    assert all(row.ok for row in rows), [row for row in rows if not row.ok]


def _sizes(spec: LSTMSpec) -> dict[str, Any]:
    return {name: value for name, value in vars(spec).items() if name not in ("input_size", "hidden_size")}
