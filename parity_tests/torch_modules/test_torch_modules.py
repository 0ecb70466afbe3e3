"""The torch side: dictionaries in and out of its modules, the article's cell and forecaster, and equal training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import torch
from lstm_cases import ALLOWED, Configuration, draw_case, draw_weights
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import jax_lstm
import torch_lstm
from jax_lstm import forecaster, lstm
from lstm_parity.compare.rows import compare
from lstm_shared import (
    InputError,
    LSTMSpec,
    WeightsError,
    from_layout,
    init_by_hand,
    init_lstm,
    to_layout,
)
from torch_lstm import Forecaster, LinearGatesCell, LSTMByHand, from_torch, to_torch

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def draw_forecaster(spec: LSTMSpec, output_size: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    normal = np.random.default_rng((seed, 3)).standard_normal
    head = {"fc.weight": normal((output_size, spec.output_size)), "fc.bias": normal(output_size)}
    return {f"lstm.{name}": array for name, array in draw_weights(spec, seed).items()} | head


def draw_cell(seed: int = 0) -> dict[str, np.ndarray]:
    return {name.removesuffix("_l0"): array for name, array in draw_weights(LSTMSpec(5, 4), seed).items()}


# In and out

KINDS: dict[str, tuple[Callable[[], dict[str, np.ndarray]], type[nn.Module]]] = {
    "by-hand": (lambda: init_by_hand(3), LSTMByHand),
    "LSTM": (lambda: draw_weights(LSTMSpec(5, 4, 2, True, True, 3)), nn.LSTM),
    "LSTM without bias": (lambda: draw_weights(LSTMSpec(5, 4, bias=False)), nn.LSTM),
    "LSTM cell": (draw_cell, nn.LSTMCell),
    "forecaster": (lambda: draw_forecaster(LSTMSpec(5, 4, 2, True, True, 3)), Forecaster),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dictionary_goes_in_and_comes_out_bit_for_bit(kind: str, dtype: str):
    draw, module_class = KINDS[kind]
    weights = {name: array.astype(getattr(ml_dtypes, dtype, dtype)) for name, array in draw().items()}
    before = {name: array.copy() for name, array in weights.items()}
    module = to_torch(weights)
    assert type(module) is module_class
    again = from_torch(module)
    assert list(again) == list(module.state_dict())
    assert again.keys() == weights.keys()
    for name, array in weights.items():
        assert again[name].dtype == array.dtype, name
        np.testing.assert_array_equal(again[name], array)
    for parameter in module.parameters():  # neither side shares memory with the other
        parameter.data.zero_()
    for name, array in before.items():
        np.testing.assert_array_equal(weights[name], array)
        np.testing.assert_array_equal(again[name], array)


def test_jax_arrays_go_into_torch():
    weights = {name: jnp.asarray(array) for name, array in init_lstm(5, 4).items()}
    again = from_torch(to_torch(weights))
    assert all((again[name] == array).all() for name, array in weights.items())


@pytest.mark.parametrize("prefix", ["encoder.rnn", "encoder.rnn."])
def test_a_part_of_a_larger_model_comes_out_by_its_prefix(prefix: str):
    model = nn.ModuleDict(
        {"encoder": nn.ModuleDict({"rnn": nn.LSTM(5, 4)}), "encoder.rnn2".replace(".", "_"): nn.LSTM(2, 3)}
    )
    for source in (model, model.state_dict()):
        weights = from_torch(source, prefix)
        np.testing.assert_array_equal(weights["weight_ih_l0"], model["encoder"]["rnn"].weight_ih_l0.detach())
        assert len(weights) == 4


def test_an_absent_prefix_is_an_error_that_shows_what_is_there():
    with pytest.raises(WeightsError, match=r"nothing under the prefix 'decoder\.'; .*'encoder\.'"):
        from_torch(nn.ModuleDict({"encoder": nn.LSTM(5, 4)}), "decoder")
    with pytest.raises(WeightsError, match="nothing under the prefix"):
        from_torch({})


@pytest.mark.parametrize("make", [to_torch, Forecaster], ids=["to_torch", "Forecaster"])
def test_wrong_dictionaries_are_refused(make: Any):
    with pytest.raises(WeightsError, match="bias_hh_l0 is missing"):
        make(
            {f"lstm.{n}": x for n, x in init_lstm(5, 4).items() if n != "bias_hh_l0"}
            | {"fc.weight": np.ones((1, 4)), "fc.bias": np.ones(1)}
        )
    with pytest.raises(WeightsError, match="this is a GRU"):
        make(nn.GRU(5, 4).state_dict())


def test_a_forecaster_needs_weights_or_sizes():
    with pytest.raises(InputError, match="weights, or input_size and hidden_size"):
        Forecaster(input_size=5)
    with pytest.raises(InputError, match="leave out input_size"):
        Forecaster(draw_forecaster(LSTMSpec(5, 4)), input_size=5)
    with pytest.raises(WeightsError, match="expected those of a forecaster"):
        Forecaster(init_lstm(5, 4))


# The cell of many tutorials


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (2,)], ids=["single", "batch"])
@pytest.mark.parametrize("initial_state", [False, True])
def test_one_linear_a_gate_is_nn_lstm_cell(batch: tuple[int, ...], initial_state: bool):
    torch.manual_seed(0)
    cell = LinearGatesCell(5, 4).double()
    layer = from_layout(cell.state_dict(), "linear-gates")
    weights = {name.removesuffix("_l0"): array for name, array in layer.items()}
    inputs, h, c = (torch.randn(*batch, size, dtype=torch.float64) for size in (5, 4, 4))
    state = (h, c) if initial_state else None
    ours = jax_lstm.lstm_cell(weights, inputs.numpy(), tuple(part.numpy() for part in state) if state else None)
    reference, explicit = to_torch(weights)(inputs, state), cell(inputs, state)
    for one, two, three in zip(ours, reference, explicit, strict=True):
        np.testing.assert_allclose(one, two.detach(), rtol=0, atol=1e-15)
        np.testing.assert_allclose(three.detach(), two.detach(), rtol=0, atol=1e-15)


def test_the_weights_of_a_cell_become_one_linear_a_gate():
    weights = draw_cell()
    cell = LinearGatesCell(5, 4).double()
    layout = to_layout(weights, "linear-gates")
    cell.load_state_dict({name: torch.tensor(array) for name, array in layout.items()})
    inputs = torch.randn(2, 5, dtype=torch.float64)
    for one, other in zip(cell(inputs), to_torch(weights)(inputs), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=0, atol=1e-15)


# The forecaster

FORECASTERS = [
    LSTMSpec(5, 4),
    LSTMSpec(5, 4, 2, True, True, 0),
    LSTMSpec(5, 4, 2, False, False, 3),
    LSTMSpec(5, 4, 2, True, True, 3),
]
FORECASTER_IDS = ["plain", "2-layer-bidirectional", "2-layer-no-bias-projected", "2-layer-bidirectional-projected"]
every_forecaster = pytest.mark.parametrize("spec", FORECASTERS, ids=FORECASTER_IDS)


@pytest.mark.usefixtures("x64")
@every_forecaster
def test_forecasts_and_their_gradients_are_the_modules(spec: LSTMSpec):
    weights = draw_forecaster(spec)
    inputs, labels = (np.random.default_rng(1).standard_normal(shape) for shape in ((3, 6, 5), (3, 2)))
    module = Forecaster(weights)
    predictions = module(torch.tensor(inputs))
    value = torch.mean((predictions - torch.tensor(labels)) ** 2)
    value.backward()
    (ours, predicted), gradient = jax.jit(jax.value_and_grad(forecaster.loss, has_aux=True))(weights, (inputs, labels))
    theirs = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    forward = {"loss": value.detach().numpy(), "predictions": predictions.detach().numpy()}
    for mine, reference in (({"loss": ours, "predictions": predicted}, forward), (gradient, theirs)):
        rows = compare("forecast", mine, reference, dtype="float64", sides=("jax", "torch"), allowed=ALLOWED)
        assert all(row.ok for row in rows), rows


@pytest.mark.usefixtures("x64")
@every_forecaster
def test_forecasts_in_every_layout(spec: LSTMSpec):
    weights, inputs = draw_forecaster(spec), np.random.default_rng(1).standard_normal((3, 6, 5))
    expected = Forecaster(weights)(torch.tensor(inputs)).detach()
    for ours in (
        jax_lstm.forecast(weights, inputs, batch_first=True),
        jax_lstm.forecast(weights, inputs.swapaxes(0, 1)),
        np.stack([jax_lstm.forecast(weights, one) for one in inputs]),
        jax.vmap(lambda one: jax_lstm.forecast(weights, one))(inputs),
    ):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
@every_forecaster
def test_a_ragged_forecast_is_that_of_each_sequence_alone(spec: LSTMSpec):
    weights, inputs = draw_forecaster(spec), np.random.default_rng(1).standard_normal((3, 6, 5))
    lengths, module = np.array([2, 6, 0]), Forecaster(weights)
    alone = [module(torch.tensor(one[None, :n])).detach()[0] for one, n in zip(inputs, lengths[:2], strict=False)]
    expected = np.stack([*alone, weights["fc.bias"]])  # without steps the last output is zero
    for n, one in zip(lengths, inputs, strict=True):
        one[n:] = np.nan
    ours = jax_lstm.forecast(weights, inputs, batch_first=True, lengths=lengths)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)
    time_first = jax_lstm.forecast(weights, inputs.swapaxes(0, 1), lengths=lengths)
    np.testing.assert_allclose(time_first, expected, rtol=0, atol=1e-14)
    one = jax_lstm.forecast(weights, inputs[0], lengths=2)
    np.testing.assert_allclose(one, expected[0], rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [(0, 3, 5), (6, 0, 5), (0, 5)], ids=["no steps", "no sequences", "unbatched"])
def test_a_forecast_from_nothing_is_the_heads_bias(shape: tuple[int, ...]):
    weights = draw_forecaster(FORECASTERS[1])
    ours = jax_lstm.forecast(weights, np.zeros(shape))
    np.testing.assert_array_equal(ours, np.broadcast_to(weights["fc.bias"], (*shape[1:-1], 2)))


# Ten optimizer steps


def clip_as_torch(max_norm: float) -> optax.GradientTransformation:
    """``torch.nn.utils.clip_grad_norm_``: gradients times min(1, max_norm / (norm + 1e-6))."""

    def clip(updates: Any, params: Any = None) -> Any:
        share = jnp.minimum(1.0, max_norm / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda leaf: leaf * share, updates)

    return optax.stateless(clip)


OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], optax.GradientTransformation]] = {
    "Adam": (lambda weights: torch.optim.Adam(weights, lr=1e-2), optax.adam(1e-2)),
    "AdamW": (lambda weights: torch.optim.AdamW(weights, lr=1e-2), optax.adamw(1e-2, weight_decay=1e-2)),
    "SGD-momentum": (
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
        optax.sgd(0.1, momentum=0.9),
    ),
}


def ten_steps_in_torch(case: Any, make: Callable[..., torch.optim.Optimizer], max_norm: float) -> list[Any]:
    module = to_torch(case.weights)
    optimizer, history = make(list(module.parameters())), []
    for _ in range(10):
        optimizer.zero_grad()
        outputs, _ = module(torch.tensor(case.inputs))
        ((outputs - torch.tensor(case.cotangents["outputs"])) ** 2).sum().backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), max_norm)
        optimizer.step()
        history.append((float(norm), from_torch(module)))
    return history


def ten_steps_in_jax(case: Any, optimizer: optax.GradientTransformation) -> list[dict[str, np.ndarray]]:
    @jax.jit
    def step(weights: Any, state: Any) -> tuple[Any, Any]:
        def loss(weights: Any) -> Any:
            return jnp.sum((lstm(weights, case.inputs)[0] - case.cotangents["outputs"]) ** 2)

        updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
        return optax.apply_updates(weights, updates), state

    weights, history = jax.tree.map(jnp.asarray, case.weights), []
    state = optimizer.init(weights)
    for _ in range(10):
        weights, state = step(weights, state)
        history.append(jax.tree.map(np.asarray, weights))
    return history


def largest_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in other)


# Measured: 1.4e-15 (AdamW) or less after ten steps.
STEP_TOLERANCE = 2e-14


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_clipped_steps_follow_torch_step_by_step(name: str):
    case = draw_case(Configuration(2, True, 0, True, "time-first", False))
    make, optimizer = OPTIMIZERS[name]
    theirs = ten_steps_in_torch(case, make, max_norm=1.0)
    ours = ten_steps_in_jax(case, optax.chain(clip_as_torch(1.0), optimizer))
    for step, (mine, (norm, reference)) in enumerate(zip(ours, theirs, strict=True)):
        assert norm > 1.0  # every step was clipped
        assert largest_difference(mine, reference) <= STEP_TOLERANCE, step
    assert largest_difference(ours[-1], case.weights) > 1e-2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("SGD-momentum", optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9))),
        ("AdamW", optax.chain(clip_as_torch(1.0), optax.adamw(1e-2))),
    ],
    ids=["optax's clipping", "optax's weight decay"],
)
def test_optax_defaults_part_from_torch(name: str, optimizer: optax.GradientTransformation):
    case = draw_case(Configuration(2, True, 0, True, "time-first", False))
    theirs = ten_steps_in_torch(case, OPTIMIZERS[name][0], max_norm=1.0)
    assert largest_difference(ten_steps_in_jax(case, optimizer)[-1], theirs[-1][1]) > 1e3 * STEP_TOLERANCE


# The article's training run: 100 sequences of 5 steps of 4 features, hidden size 3, full batches, Adam at 0.01


def article() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    normal = np.random.default_rng(0).standard_normal
    lstm_weights = init_lstm(4, 3, seed=5, dtype=np.float64)
    head = {"fc.weight": 0.5 * normal((1, 3)), "fc.bias": 0.5 * normal(1)}
    return {f"lstm.{n}": x for n, x in lstm_weights.items()} | head, normal((100, 5, 4)), normal((100, 1))


@pytest.mark.usefixtures("x64")
def test_the_articles_run_has_the_same_trajectory_in_both_backends():
    weights, inputs, labels = article()
    ours = jax_lstm.fit(
        forecaster.loss, weights, (inputs, labels), epochs=100, batch_size=100, optimizer=optax.adam(1e-2)
    )
    theirs = torch_lstm.fit(
        Forecaster(weights, learning_rate=1e-2),
        (inputs, labels),
        epochs=100,
        batch_size=100,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    )
    assert ours.losses.shape == theirs.losses.shape == (100,)
    # Measured over all 100 steps: losses 4e-16, predictions 7e-14, weights 1.1e-14.
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=0, atol=1e-14)
    np.testing.assert_allclose(ours.predictions, theirs.predictions, rtol=0, atol=1e-12)
    assert largest_difference(ours.weights, theirs.weights) <= 1e-12
    assert ours.losses[-1] < 0.5 * ours.losses[0]


def linear_gates_run(weights: dict[str, np.ndarray], inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The article's own model with our weights: explicit gates, one bias. Its loss before each of 100 steps."""
    cell, head = LinearGatesCell(4, 3).double(), nn.Linear(3, 1).double()
    cell_weights = {n.removeprefix("lstm.").removesuffix("_l0"): x for n, x in weights.items() if n.startswith("lstm.")}
    cell.load_state_dict({n: torch.tensor(x) for n, x in to_layout(cell_weights, "linear-gates").items()})
    head.load_state_dict({"weight": torch.tensor(weights["fc.weight"]), "bias": torch.tensor(weights["fc.bias"])})
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-2)
    losses = []
    ((x, y),) = DataLoader(TensorDataset(torch.tensor(inputs), torch.tensor(labels)), batch_size=100)
    for _ in range(100):
        state = None
        for t in range(x.shape[1]):
            state = cell(x[:, t], state)
        assert state is not None
        loss = torch.mean((head(state[0]) - y) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


@pytest.mark.usefixtures("x64")
def test_the_article_with_one_bias_starts_equal_and_trains_apart():
    """Both biases get the full step in torch's LSTM, so that their sum moves twice as fast as one bias does."""
    weights, inputs, labels = article()
    two = jax_lstm.fit(
        forecaster.loss, weights, (inputs, labels), epochs=100, batch_size=100, optimizer=optax.adam(1e-2)
    ).losses
    one = linear_gates_run(weights, inputs, labels)
    assert one[0] == pytest.approx(two[0], rel=1e-14)
    assert abs(one[1] - two[1]) > 1e-5
    # Frozen at its first value, the second bias is a constant, and what is left has one bias.
    frozen = {name: name == "lstm.bias_hh_l0" for name in weights}
    optimizer = optax.chain(optax.adam(1e-2), optax.masked(optax.set_to_zero(), frozen))
    still = jax_lstm.fit(forecaster.loss, weights, (inputs, labels), epochs=100, batch_size=100, optimizer=optimizer)
    np.testing.assert_allclose(still.losses, one, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(still.weights["lstm.bias_hh_l0"], weights["lstm.bias_hh_l0"])
