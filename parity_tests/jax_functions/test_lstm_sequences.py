"""Sequences of any length: padding, no steps at all, pieces one after another, resets, and every gate of a step."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from lstm_cases import (
    ALLOWED,
    HIDDEN_SIZE,
    INPUT_SIZE,
    SELECTION,
    TIME,
    Case,
    Configuration,
    assert_equal,
    by_explicit,
    by_function,
    by_jax,
    by_torch,
    draw_case,
    draw_weights,
)

import jax_lstm
from lstm_parity.compare.rows import compare
from lstm_parity.compare.tolerance import eps
from lstm_shared import LSTMSpec
from torch_lstm import explicit

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
every_selected = pytest.mark.parametrize("configuration", SELECTION, ids=str)

RAGGED = [
    Configuration(1, False, 0, True, "time-first", True, True),
    Configuration(2, True, 3, True, "time-first", True, True),
    Configuration(2, True, 0, False, "batch-first", True, True),
    Configuration(3, False, 3, True, "batch-first", True, True),
    Configuration(2, True, 0, True, "unbatched", True, True),
]
FORWARD_ONLY = [
    Configuration(1, False, 0, True),
    Configuration(2, False, 3, True, "batch-first"),
    Configuration(3, False, 0, False),
    Configuration(2, False, 0, True, "unbatched"),
]


def padding(configuration: Configuration, case: Case) -> np.ndarray:
    """Return a mask with the inputs' leading axes that is True in the padding."""
    time_first = np.arange(TIME).reshape(-1, *(1,) * np.ndim(case.lengths)) >= case.lengths
    return time_first.T if configuration.batch_first else time_first


# Padding


@pytest.mark.parametrize("filler", [np.nan, -np.inf], ids=str)
@pytest.mark.parametrize("configuration", RAGGED, ids=str)
def test_padding_reaches_neither_outputs_nor_gradients(configuration: Configuration, filler: float):
    case = draw_case(configuration)
    filled = case._replace(inputs=np.where(padding(configuration, case)[..., None], filler, case.inputs))
    ours = by_jax(by_function(configuration), filled)
    assert_equal(ours, by_torch(configuration, case), "float64")
    assert not ours.gradient["inputs"][padding(configuration, case)].any()
    assert not ours.forward["outputs"][padding(configuration, case)].any()


@pytest.mark.parametrize("configuration", RAGGED, ids=str)
def test_padding_reaches_nothing_in_the_explicit_reference(configuration: Configuration):
    case = draw_case(configuration)
    filled = case._replace(inputs=np.where(padding(configuration, case)[..., None], np.nan, case.inputs))
    assert_equal(by_explicit(filled, batch_first=configuration.batch_first), by_torch(configuration, case), "float64")


@pytest.mark.parametrize("filler", [0.0, np.nan], ids=str)
@pytest.mark.parametrize("configuration", RAGGED[:-1], ids=str)
def test_length_0_beside_other_lengths(configuration: Configuration, filler: float):
    case = draw_case(configuration)._replace(lengths=np.array([0, 4]))
    case = case._replace(inputs=np.where(padding(configuration, case)[..., None], filler, case.inputs))
    ours = by_jax(by_function(configuration), case)
    assert_equal(ours, by_explicit(case, batch_first=configuration.batch_first), "float64")
    for last, first in zip((ours.forward["h_n"], ours.forward["c_n"]), case.state, strict=True):
        np.testing.assert_array_equal(last[:, 0], first[:, 0])
    np.testing.assert_array_equal(ours.gradient["h_0"][:, 0], case.cotangents["h_n"][:, 0])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("initial_state", [False, True])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_unbatched_sequence_of_length_0_keeps_its_state(backend: str, initial_state: bool):
    case = draw_case(Configuration(2, True, 3, True, "unbatched"))
    run = jax_lstm.lstm if backend == "jax" else explicit.run
    outputs, (h_n, c_n) = run(case.weights, case.inputs, case.state if initial_state else None, lengths=0)[:2]
    assert not np.asarray(outputs).any()
    for last, first in zip((h_n, c_n), case.state, strict=True):
        np.testing.assert_array_equal(last, first if initial_state else np.zeros_like(first))


@pytest.mark.parametrize("empty", ["no steps", "no sequences", "neither"])
@pytest.mark.parametrize("ragged", [False, True], ids=["", "ragged"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time-first", "batch-first"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
def test_nothing_to_do_keeps_the_initial_state(bidirectional: bool, batch_first: bool, ragged: bool, empty: str):
    spec = LSTMSpec(INPUT_SIZE, HIDDEN_SIZE, 2, True, bidirectional, 3)
    time, batch = {"no steps": (0, 2), "no sequences": (6, 0), "neither": (0, 0)}[empty]
    rows, leading = 2 * len(spec.directions), (batch, time) if batch_first else (time, batch)
    normal = np.random.default_rng(0).standard_normal
    case = Case(
        draw_weights(spec),
        normal((*leading, INPUT_SIZE)),
        (normal((rows, batch, 3)), normal((rows, batch, HIDDEN_SIZE))),
        np.zeros(batch, int) if ragged else None,
        {
            "outputs": normal((*leading, spec.output_size)),
            "h_n": normal((rows, batch, 3)),
            "c_n": normal((rows, batch, HIDDEN_SIZE)),
        },
    )
    configuration = Configuration(2, bidirectional, 3, True, "batch-first" if batch_first else "time-first")
    ours = by_jax(by_function(configuration), case)
    assert_equal(ours, by_explicit(case, batch_first=configuration.batch_first), "float64")
    assert ours.forward["outputs"].shape == (*leading, spec.output_size)
    for name, first in zip(("h", "c"), case.state, strict=True):
        np.testing.assert_array_equal(ours.forward[f"{name}_n"], first)
        np.testing.assert_array_equal(ours.gradient[f"{name}_0"], case.cotangents[f"{name}_n"])
    assert not any(ours.gradient[name].any() for name in spec.shapes)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_unbatched_sequence_without_steps(backend: str):
    case = draw_case(Configuration(2, True, 3, True, "unbatched"))
    run = jax_lstm.lstm if backend == "jax" else explicit.run
    outputs, last = run(case.weights, case.inputs[:0], case.state)[:2]
    assert tuple(outputs.shape) == (0, 6)
    for one, first in zip(last, case.state, strict=True):
        np.testing.assert_array_equal(one, first)


@pytest.mark.usefixtures("x64")
def test_traced_lengths_are_clipped():
    case = draw_case(Configuration(2, True, 0, True, ragged=True))
    run = jax.jit(lambda lengths: jax_lstm.lstm(case.weights, case.inputs, case.state, lengths=lengths))
    for ours, clipped in zip(
        jax.tree.leaves(run(np.array([-3, 9]))), jax.tree.leaves(run(np.array([0, 6]))), strict=True
    ):
        np.testing.assert_array_equal(ours, clipped)
    outputs, _ = run(np.array([-3, 9]))
    assert not outputs[:, 0].any()
    assert outputs[:, 1].all()


# Pieces


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("configuration", FORWARD_ONLY, ids=str)
def test_a_sequence_in_pieces_is_the_whole(configuration: Configuration, dtype: str):
    case = draw_case(configuration).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    axis = 1 if configuration.batch_first else 0
    with jax.enable_x64(True):
        run = by_function(configuration)
        whole, last = run(case.weights, case.inputs, case.state, None)
        pieces, state = [], case.state
        for piece in np.split(case.inputs, [2, 3], axis=axis):
            outputs, state = run(case.weights, piece, state, None)
            pieces.append(outputs)
    wide = {"float64": "float64"}.get(dtype, "float32")
    assert [x.dtype.name for x in (whole, *state)] == [dtype, dtype, wide]
    for ours, reference in ((np.concatenate(pieces, axis), whole), *zip(state, last, strict=True)):
        off = np.abs(np.asarray(ours, np.float64) - np.asarray(reference, np.float64))
        assert off.max() <= 4 * eps(str(reference.dtype))


# Resets

RESET = np.array([[True, False], [False, False], [False, True], [True, False], [True, False], [False, True]])


def in_episodes(configuration: Configuration, case: Case, reset: np.ndarray) -> dict[str, np.ndarray]:
    """Run torch.nn.LSTM on each episode alone, from zeros. The first uses the initial state unless it is reset."""
    module = torch.nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, **configuration.sizes).double()
    module.load_state_dict({name: torch.tensor(array) for name, array in case.weights.items()})
    outputs, states = np.zeros((TIME, len(reset[0]), configuration.spec.output_size)), []
    inputs = np.swapaxes(case.inputs, 0, 1) if configuration.batch_first else case.inputs
    for row in range(reset.shape[1]):
        stop = TIME if case.lengths is None else int(case.lengths[row])
        starts = [t for t in range(stop) if reset[t, row]]
        state = tuple(torch.tensor(part[:, row]) for part in case.state)
        for first, last in zip([0, *starts], [*starts, stop], strict=True):
            if first in starts:
                state = None
            if first < last:
                piece, state = module(torch.tensor(inputs[first:last, row]), state)
                outputs[first:last, row] = piece.detach()
        states.append(state)
    h_n, c_n = (np.stack([part.detach() for part in parts], axis=1) for parts in zip(*states, strict=True))
    return {"outputs": outputs.swapaxes(0, 1) if configuration.batch_first else outputs, "h_n": h_n, "c_n": c_n}


@pytest.mark.parametrize("lengths", [None, (6, 5), (2, 4), (4, 3)], ids=str)
@pytest.mark.parametrize("configuration", FORWARD_ONLY[:3], ids=str)
def test_a_reset_starts_every_layer_anew(configuration: Configuration, lengths: tuple[int, int] | None):
    case = draw_case(configuration)._replace(lengths=None if lengths is None else np.array(lengths))
    reset = RESET.T if configuration.batch_first else RESET

    def call(params: Any, inputs: Any, state: Any, lengths: Any) -> Any:
        return jax_lstm.lstm(
            params, inputs, state, batch_first=configuration.batch_first, lengths=lengths, reset=jnp.asarray(reset)
        )

    ours = by_jax(call, case)
    episodes = in_episodes(configuration, case, RESET)
    rows = compare("reset", ours.forward, episodes, dtype="float64", sides=("jax", "torch"), allowed=ALLOWED)
    assert all(row.ok for row in rows), rows
    assert_equal(ours, by_explicit(case, batch_first=configuration.batch_first, reset=reset), "float64")


@pytest.mark.usefixtures("x64")
def test_a_reset_at_the_first_step_ignores_the_initial_state():
    case = draw_case(Configuration(2, False, 0, True, "unbatched"))
    reset = np.arange(TIME) == 0

    def total(state: Any) -> Any:
        return jax_lstm.lstm(case.weights, case.inputs, state, reset=reset)[0].sum()

    outputs, _ = jax_lstm.lstm(case.weights, case.inputs, case.state, reset=reset)
    np.testing.assert_array_equal(outputs, jax_lstm.lstm(case.weights, case.inputs)[0])
    assert not any(part.any() for part in jax.grad(total)(case.state))


@pytest.mark.usefixtures("x64")
def test_no_reset_changes_nothing():
    case = draw_case(Configuration(2, False, 3, True))
    never = jax_lstm.lstm(case.weights, case.inputs, case.state, reset=np.zeros((TIME, 2), bool))
    plain = jax_lstm.lstm(case.weights, case.inputs, case.state)
    for one, other in zip(jax.tree.leaves(never), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)


# Every gate of every step


def fields(trace: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in trace._asdict().items() if array is not None}


def assert_same_trace(
    configuration: Configuration, case: Case, reset: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    options = {"batch_first": configuration.batch_first, "lengths": case.lengths, "reset": reset}
    with jax.enable_x64(True):
        run = jax.jit(lambda weights, inputs, state: jax_lstm.lstm_trace(weights, inputs, state, **options))
        ours = fields(run(case.weights, case.inputs, case.state))
    theirs = fields(explicit.trace(case.weights, case.inputs, case.state, **options))
    rows = compare("trace", ours, theirs, dtype="float64", sides=("jax", "torch"), allowed=ALLOWED)
    assert {row.name for row in rows} == set(ours) == set(theirs)
    assert ("projection" in ours) == bool(configuration.proj_size)
    assert all(row.ok for row in rows), [row for row in rows if not row.ok]
    return ours


@every_selected
def test_the_traces_of_both_backends_are_equal_and_end_in_the_outputs(configuration: Configuration):
    case = draw_case(configuration)
    trace = assert_same_trace(configuration, case)
    spec, leading = configuration.spec, case.inputs.shape[:-1]
    for name, array in trace.items():
        size = spec.proj_size if name == "projection" else spec.hidden_size
        assert array.shape == (spec.num_layers, len(spec.directions), *leading, size), name
    top = trace["projection" if spec.proj_size else "hidden"][-1]
    rows = compare(
        "outputs",
        {"outputs": np.concatenate(list(top), axis=-1)},
        {"outputs": by_torch(configuration, case).forward["outputs"]},
        dtype="float64",
        sides=("trace", "torch"),
        allowed=ALLOWED,
    )
    assert rows[0].ok, rows
    if case.lengths is not None:
        assert not any(array[:, :, padding(configuration, case)].any() for array in trace.values())


@pytest.mark.parametrize("configuration", FORWARD_ONLY[:3], ids=str)
def test_the_traces_are_equal_with_resets_and_lengths(configuration: Configuration):
    case = draw_case(configuration)._replace(lengths=np.array([0, 5]))
    assert_same_trace(configuration, case, RESET.T if configuration.batch_first else RESET)


@pytest.mark.parametrize("shape", [(0, 2), (6, 0)], ids=["no steps", "no sequences"])
def test_the_traces_of_nothing_are_equal(shape: tuple[int, int]):
    configuration = Configuration(2, True, 3, True)
    case = draw_case(configuration)._replace(inputs=np.zeros((*shape, INPUT_SIZE)), state=None)
    assert assert_same_trace(configuration, case)["cell"].shape == (2, 2, *shape, HIDDEN_SIZE)


@every_selected
def test_the_explicit_reference_is_torch_nn_lstm(configuration: Configuration):
    case = draw_case(configuration)
    assert_equal(by_explicit(case, batch_first=configuration.batch_first), by_torch(configuration, case), "float64")


@pytest.mark.usefixtures("x64")
def test_batch_first_means_nothing_for_unbatched_sequences():
    configuration = Configuration(2, True, 3, True, "unbatched")
    case = draw_case(configuration)
    module = torch.nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, batch_first=True, **configuration.sizes).double()
    module.load_state_dict({name: torch.tensor(array) for name, array in case.weights.items()})
    outputs, _ = jax_lstm.lstm(case.weights, case.inputs, batch_first=True)
    np.testing.assert_allclose(outputs, module(torch.tensor(case.inputs))[0].detach(), rtol=0, atol=1e-14)
