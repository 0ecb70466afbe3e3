"""``check``: run both sides on one weight dictionary, compare them stage by stage, and report what was judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from lstm_parity.annotations import States, Weights
from lstm_parity.compare.places import Pair
from lstm_parity.compare.tolerance import VERDICT_DTYPE
from lstm_parity.report.report import Report
from lstm_parity.sides import jax_backend, torch_backend
from lstm_parity.sides.case import Case, Observation, make_case
from lstm_parity.sides.devices import has_float64, require_devices
from lstm_parity.sides.environment import environment
from lstm_parity.sides.port import Port, find_out
from lstm_parity.sides.port import observe as observe_port
from lstm_parity.verdict.judgement import Judgement, Sides, Truth
from lstm_parity.verdict.variants import variants
from lstm_shared.by_hand_to_lstm import by_hand_to_lstm
from lstm_shared.errors import InputError

__all__ = ["VERDICT_DTYPE", "check"]


def check(
    weights: Weights,
    inputs: ArrayLike | None = None,
    *,
    candidate: Callable[..., Any] | Port | None = None,
    state: States | None = None,
    batch_first: bool = False,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    dtypes: Sequence[str] = (VERDICT_DTYPE, "float32"),
    steps: int = 10,
    seed: int = 0,
    jax_device: str = "cpu",
    torch_device: str = "cpu",
    truth: Truth = "float64",
) -> Report:
    """Compare our two backends on one weight dictionary, or someone else's port with PyTorch.

    In each dtype, the check compares the outputs and states, the loss (their inner product with fixed random
    cotangents), the gradient of every weight, of the inputs and of the initial states, and then the Adam steps, weight
    by weight. It also compares the by-hand model with ``torch.nn.LSTM(1, 1)``. Below float64, the report shows how far
    each side is from the float64 result.

    Some models are so ill conditioned that rounding errors alone move a result. For these, the check compares as many
    of the first steps as can be judged, and likewise as many Adam steps. The report says how many; ``tolerance.py`` has
    the policy.

    Args:
        weights: the weight dictionary. It determines which model this is.
        inputs: by hand, prices ``(days,)`` or ``(series, days)``; if left out, the two companies of the articles.
            Otherwise as for ``jax_lstm.lstm``, ``lstm_cell`` or ``forecast`` (batch first). If these are left out, they
            are drawn from N(0, 1), and our backend also runs with other batch sizes, lengths and resets, so that it
            takes every path that ``"auto"`` can choose.
        candidate: the port to judge instead of our JAX backend: a function ``(params, inputs) -> outputs`` that takes
            the weight dictionary as params, or a ``Port`` that says more. It receives ``state`` if it takes one, and
            ``lengths``, ``reset`` and ``batch_first`` if they are given here. Its outputs are compared, and its states,
            loss and gradients if it has them.
        state: by hand, (long_memory, short_memory) before the first day; zeros if left out. Otherwise (h, c), as for
            those functions; if left out, it is drawn, and the model also runs without one.
        batch_first, lengths, reset: as in ``jax_lstm.lstm``. What ``torch.nn.LSTM`` does not accept (length 0, no
            steps, resets) is computed by the explicit gates of ``torch_lstm.trace`` instead.
        dtypes: the precisions to compare in; the weights are rounded to each.
        steps: the number of Adam steps (learning rate 1e-3).
        seed: the seed for the cotangents, and for the inputs and states that are drawn.
        jax_device: "cpu", "gpu" or "tpu".
        torch_device: "cpu", "cuda" or "mps". Both sides run at full precision (no TF32). Lower precisions are judged
            by a float64 result that is computed on the CPU. If a device has no float64, nothing else runs in float64.
        truth: "extended" also computes outputs and gradients in NumPy's long double, and reports which side is nearer
            to them. That takes minutes for a large model.

    Returns:
        A Report: ``verdict_word`` ("agree", "differ" or "undecided"), ``ok``, ``rows``, ``first_divergence``,
        ``str()``, ``to_json()``. The first divergence has a ``location``. If the forward passes of our own backends
        differ, it gives the layer, direction, step, gate, row and unit. If those of a candidate differ, it gives the
        step, row and unit of the outputs, and how the error continues. If only gradients differ, it gives the weight,
        gate, row and column.

    Raises:
        WeightsError, InputError: the dictionary or an argument is wrong; one line for each problem.
    """
    if truth not in ("float64", "extended"):
        raise InputError(f"truth is {truth!r}, expected float64 or extended")
    case = make_case(
        weights,
        inputs,
        state=state,
        batch_first=batch_first,
        lengths=lengths,
        reset=reset,
        steps=steps,
        seed=seed,
        draw_state=True,
    )
    case.kind.require_steps(case.inputs.shape)
    judgement = Judgement(truth)
    if candidate is not None:
        port = candidate if isinstance(candidate, Port) else Port(candidate)
        _judge_port(judgement, case, port, dtypes, state_given=state is not None)
        return judgement.report(environment(), case.seed)
    require_devices(jax_device, torch_device)
    if not has_float64(jax_device, torch_device):
        dtypes = [dtype for dtype in dtypes if dtype != VERDICT_DTYPE] or ["float32"]
    backends = _Backends(jax_device, torch_device)
    for dtype in dtypes:
        # Adam's epsilon, 1e-8, is 0 in float16, so both sides would divide a vanishing gradient by zero.
        rounded = replace(case.astype(dtype), steps=0 if dtype == "float16" else case.steps)
        judgement.judge(rounded, dtype, backends.sides())
        if case.kind.is_nn_lstm:
            judgement.judge(_for_nn_lstm(rounded), dtype, _AGAINST_NN_LSTM)
    first = replace(case.astype(dtypes[0]), steps=0)
    if state is None and case.state and case.kind.draws_state:
        judgement.judge(first.without_state(), dtypes[0], backends.sides(gradients=False), setting="without a state")
    if inputs is None:
        for words, other in variants(first):
            # A single row becomes one kernel only when compiled. The other paths are the same operation by operation.
            judgement.judge(other, dtypes[0], backends.sides(compiled=words == "1 row"), setting=words)
    judgement.audit()
    return judgement.report(environment(jax_device, torch_device), case.seed)


@dataclass(frozen=True)
class _Backends:
    """Our two backends on their devices."""

    jax_device: str
    torch_device: str

    def sides(self, *, gradients: bool = True, compiled: bool = True) -> Sides:
        def ours(case: Case) -> tuple[Observation, Case]:
            # Only the CPU is fast operation by operation.
            at_once = compiled or self.jax_device != "cpu"
            return jax_backend.observe(case, self.jax_device, compiled=at_once, gradients=gradients), case

        def reference(case: Case) -> Observation:
            return torch_backend.observe(case, self.torch_device)

        return Sides(ours, reference, traces=True, partial=not gradients)


def _for_nn_lstm(case: Case) -> Case:
    """Return the case with the loss that nn.LSTM can compute: that of the short memories alone."""
    return replace(case, cotangents={"short_memory": case.cotangents["short_memory"]}, steps=0)


def _as_nn_lstm(case: Case) -> tuple[Observation, Case]:
    """Return what JAX computes by hand, under the names of nn.LSTM(1, 1)."""
    observed = jax_backend.observe(case)
    # The gradient of each scalar belongs where the scalar itself belongs in nn.LSTM's weights.
    gradient = observed["gradient"]
    others = {name: array for name, array in gradient.items() if name not in case.weights}
    observed["gradient"] = by_hand_to_lstm({name: gradient[name] for name in case.weights}) | others
    observed["gradient"]["bias_hh_l0"] = observed["gradient"]["bias_ih_l0"]  # the two are added: they share a gradient
    del observed["forward"]["long_memory"]
    return observed, case


_AGAINST_NN_LSTM = Sides(
    _as_nn_lstm, torch_backend.observe_nn_lstm, names=Pair("jax", "nn.LSTM"), truth=torch_backend.observe_nn_lstm
)


def _judge_port(judgement: Judgement, case: Case, port: Port, dtypes: Sequence[str], *, state_given: bool) -> None:
    if case.kind.no_port:
        raise InputError(case.kind.no_port)
    takes_state = port.takes("state")
    if state_given and not takes_state:
        raise InputError("a state was given, but the port takes no argument named state")
    if not takes_state:
        case = case.without_state()
        judgement.note("the port takes no state: it was judged from the zero state alone")
    elif state_given and not any(array.any() for array in case.state.values()):
        judgement.note("the given state is zero, so it does not show whether the port uses its state")
    port, notes = find_out(case, port)
    for sentence in notes:
        judgement.note(sentence)

    def run(case: Case) -> tuple[Observation, Case]:
        said: list[str] = []
        observed, returned = observe_port(case, port, said)
        for sentence in said:
            judgement.note(sentence)
        return observed, returned

    sides = Sides(run, torch_backend.observe, names=Pair("candidate", "torch"), partial=True)
    for dtype in port.dtypes or dtypes:
        judgement.judge(case.astype(dtype), dtype, sides)
    if not state_given and port.takes("state", optional=True):
        first = (port.dtypes or dtypes)[0]
        judgement.judge(case.astype(first).without_state(), first, sides, setting="without a state")
    judgement.audit()
