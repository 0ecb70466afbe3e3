"""The matrix of LSTM configurations, a case of data for each, and what torch and JAX make of it.

Time 6, batch 2, input 5, hidden 4, projection 3: all different, so that no two axes can be taken for each other.
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

# By seed: not sorted, with and without a sequence as long as the batch is wide.
LENGTHS = ((3, 5), (6, 2), (1, 4))
UNBATCHED_LENGTHS = (4, 6, 2)


# K of the policy. Measured over all the tests that use it: at most 2.0 eps in outputs and states and 9.1 in gradients
# in float64, 1.4 and 3.3 in float32.
ALLOWED = factor(LSTMSpec(INPUT_SIZE, HIDDEN_SIZE), TIME)


@dataclass(frozen=True)
class Configuration:
    """One place in the matrix; ``layout`` is "time-first", "batch-first" or "unbatched"."""

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
        """torch's arguments beside the input and the hidden size."""
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
    """A few configurations in which all combinations of values of any ``strength`` axes are spread widely.

    Greedily: always the configuration that shows most combinations not seen so far, the first one on a tie.
    """
    left = {configuration: set(combinations(vars(configuration).items(), strength)) for configuration in MATRIX}
    chosen: list[Configuration] = []
    while len(chosen) < count:
        chosen.append(max(left, key=lambda configuration: len(left[configuration])))
        seen = left.pop(chosen[-1])
        left = {configuration: shown - seen for configuration, shown in left.items()}
    return chosen


SELECTION = select(40, strength=4)  # shows every three values together, and so every two


class Case(NamedTuple):
    """Weights and data of one configuration; the cotangents make the loss, an inner product with all results."""

    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    state: tuple[np.ndarray, np.ndarray] | None
    lengths: np.ndarray | None
    cotangents: dict[str, np.ndarray]

    def astype(self, dtype: Any) -> "Case":
        """Every floating-point array rounded to a dtype."""
        return Case(*jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind != "i" else x, tuple(self)))


class Result(NamedTuple):
    """outputs, h_n and c_n, and the gradient of the loss by the name of what it is taken by."""

    forward: dict[str, np.ndarray]
    gradient: dict[str, np.ndarray]


def draw_weights(spec: LSTMSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """torch's initial distribution, perturbed so that no weight is near another and biases are of order 1."""
    rng = np.random.default_rng((seed, 1))
    weights = init_lstm(spec.input_size, spec.hidden_size, **_sizes(spec), seed=seed, dtype=np.float64)
    return {name: x + rng.standard_normal(x.shape) * (1.0 if "bias" in name else 0.3) for name, x in weights.items()}


def draw_case(configuration: Configuration, seed: int = 0) -> Case:
    """Data of order 1; with the batch first, it is that of the time first with the axes swapped."""
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
    """The same case with time and batch the other way round."""
    weights, inputs, state, lengths, cotangents = case
    cotangents = {**cotangents, "outputs": cotangents["outputs"].swapaxes(0, 1)}
    return Case(weights, inputs.swapaxes(0, 1), state, lengths, cotangents)


def by_torch(configuration: Configuration, case: Case) -> Result:
    """``torch.nn.LSTM`` itself, in the dtype of the case; ragged batches packed and padded again by torch."""
    module = nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, batch_first=configuration.batch_first, **configuration.sizes)
    module.to(to_tensor(case.inputs).dtype).load_state_dict({n: to_tensor(x) for n, x in case.weights.items()})

    def run(inputs: Any, state: Any) -> Any:
        if case.lengths is None:
            return module(inputs, state)
        if configuration.layout == "unbatched":  # which torch cannot pack: the sequence cut at its length
            outputs, last = module(inputs[: case.lengths], state)
            return nn.functional.pad(outputs, (0, 0, 0, TIME - int(case.lengths))), last
        first = configuration.batch_first
        packed = pack_padded_sequence(inputs, to_tensor(case.lengths), batch_first=first, enforce_sorted=False)
        packed, last = module(packed, state)
        return pad_packed_sequence(packed, batch_first=first, total_length=TIME)[0], last

    return _by_autograd(case, dict(module.named_parameters()), run)


def by_explicit(case: Case, *, batch_first: bool = False, reset: np.ndarray | None = None) -> Result:
    """The torch reference that is written out gate by gate."""
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
    # What no step has used has no gradient in torch.
    gradient = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    return Result(*({name: to_array(tensor) for name, tensor in group.items()} for group in (forward, gradient)))


LSTMCall = Callable[..., tuple[Any, tuple[Any, Any]]]  # (params, inputs, state, lengths) -> outputs, (h_n, c_n)


def by_function(configuration: Configuration) -> LSTMCall:
    """``jax_lstm.lstm`` as a function of arrays only."""

    def call(params: Any, inputs: Any, state: Any, lengths: Any) -> Any:
        return jax_lstm.lstm(params, inputs, state, batch_first=configuration.batch_first, lengths=lengths)

    return call


def value_and_gradient(call: LSTMCall) -> Callable[..., Any]:
    """One function of a whole case, for jit and vmap: (forward, gradient) by name."""

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
    """A case through JAX as one compiled program, in the dtype of the case."""
    return Result(*compile_and_run(value_and_gradient(call), case, optimized=optimized))


def compile_and_run(function: Callable[..., Any], arguments: Any, *, optimized: bool = False) -> Any:
    """``function(*arguments)`` as one compiled program, float64 allowed, to NumPy arrays."""
    with jax.enable_x64(True):
        arguments = jax.tree.map(jnp.asarray, tuple(arguments))
        program = jax.jit(function).lower(*arguments).compile(None if optimized else UNOPTIMIZED)
        return jax.tree.map(np.asarray, program(*arguments))


# Nearly all the time of these tests is XLA compiling loops: LLVM optimising them, an MLIR context for each kernel, and
# the kernels of one program shared out over threads that the tests have other work for. Where only the meaning of a
# call is in question, or whether a mistake is noticed, XLA does without, in a quarter of the time. float32, and right
# code wherever a user's command runs it, is compiled as users have it.
UNOPTIMIZED = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
unoptimized_jit = partial(jax.jit, compiler_options=UNOPTIMIZED)


def assert_equal(ours: Result, theirs: Result, dtype: str) -> None:
    """Within the policy, the forward pass and the gradients each by its own scale; names and dtypes the same."""
    for group in Result._fields:
        assert_group_equal(group, getattr(ours, group), getattr(theirs, group), dtype)


def assert_group_equal(group: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], dtype: str) -> None:
    assert {name: array.dtype for name, array in ours.items()} == {name: array.dtype for name, array in theirs.items()}
    rows = compare(group, ours, theirs, dtype=dtype, sides=("jax", "torch"), allowed=ALLOWED)
    assert rows
    assert all(row.ok for row in rows), [row for row in rows if not row.ok]


def _sizes(spec: LSTMSpec) -> dict[str, Any]:
    return {name: value for name, value in vars(spec).items() if name not in ("input_size", "hidden_size")}
