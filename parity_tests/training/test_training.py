"""Training: both backends take the same steps in the same batches, and a resumed run equals an uninterrupted one."""

import asyncio
import functools

import jax
import numpy as np
import optax
import pytest
import torch

import jax_lstm
import torch_lstm
from jax_lstm import by_hand
from jax_lstm.compiler.one_kernel import fits_one_kernel, one_kernel
from jax_lstm.epochs import run_epochs
from lstm_parity.compare.rows import compare
from lstm_parity.compare.tolerance import TRAJECTORY_FACTOR
from lstm_parity.training import backends
from lstm_shared import (
    BY_HAND,
    COMPANY_LABELS,
    COMPANY_PRICES,
    PUBLISHED_INIT,
    InputError,
    init_by_hand,
)
from lstm_shared.training.arguments import plan_training

COMPANIES = (COMPANY_PRICES, COMPANY_LABELS)


def published(dtype: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, dtype) for name, value in PUBLISHED_INIT.items()}


def seven_examples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(size=(7, 5)), rng.uniform(size=7)


def curves(result) -> dict[str, np.ndarray]:
    return {"losses": result.losses, "predictions": result.predictions, **result.weights}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_400_adam_steps_are_the_same_in_both_backends(dtype: str):
    runs = [backends.train(backend, published(dtype), COMPANIES, epochs=200) for backend in backends.BACKENDS]
    rows = compare("400 steps", *map(curves, runs), dtype=dtype, sides=("jax", "torch"), allowed=TRAJECTORY_FACTOR)
    assert {row.name for row in rows} == {"losses", "predictions", *BY_HAND}
    assert all(row.ok for row in rows), [row for row in rows if not row.ok]


def test_losses_and_predictions_are_those_before_the_update():
    for backend in backends.BACKENDS:
        result = backends.train(backend, published("float64"), COMPANIES, epochs=2)
        before = backends.predict(backend, published("float64"), COMPANY_PRICES)
        assert result.predictions.shape == (4, 1)
        assert result.predictions[0, 0] == pytest.approx(before[0], abs=1e-15)
        assert result.losses[0] == pytest.approx(before[0] ** 2, abs=1e-15)
        assert result.examples.ravel().tolist() == [0, 1, 0, 1]
        assert result.steps == 4
        assert result.epochs == 2


@pytest.mark.parametrize("backend", backends.BACKENDS)
@pytest.mark.parametrize("shuffle_seed", [None, 3])
def test_a_resumed_run_is_the_straight_run_bit_for_bit(backend, shuffle_seed, tmp_path):
    options = {"batch_size": 3, "shuffle_seed": shuffle_seed}
    data = seven_examples()
    straight = backends.train(backend, published("float64"), data, epochs=9, **options)
    kept = {**options, "checkpoint_dir": tmp_path / "run", "checkpoint_every": 2}
    backends.train(backend, published("float64"), data, epochs=5, **kept)
    resumed = backends.train(backend, published("float64"), data, epochs=9, resume=True, **kept)
    assert resumed.resumed_from == 5
    assert straight.resumed_from == 0
    for name, array in curves(straight).items():
        np.testing.assert_array_equal(curves(resumed)[name], array, err_msg=name)
    again = backends.train(backend, published("float64"), data, epochs=9, resume=True, **kept)
    assert again.resumed_from == 9
    np.testing.assert_array_equal(again.losses, straight.losses)


def test_a_resumed_run_is_the_straight_run_inside_an_event_loop(tmp_path):
    """As in a notebook, where orbax works on other threads, which do not have the caller's enable_x64."""
    train = functools.partial(backends.train, "jax", published("float64"), COMPANIES)
    straight = train(epochs=40)

    async def stages():
        train(epochs=20, checkpoint_dir=tmp_path, checkpoint_every=20)
        return train(epochs=40, checkpoint_dir=tmp_path, checkpoint_every=20, resume=True)

    resumed = asyncio.run(stages())
    for name, array in curves(straight).items():
        assert curves(resumed)[name].dtype == np.float64
        np.testing.assert_array_equal(curves(resumed)[name], array, err_msg=name)


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_resume_without_a_checkpoint_starts_from_the_beginning(backend, tmp_path):
    result = backends.train(
        backend, published("float32"), COMPANIES, epochs=2, checkpoint_dir=tmp_path / "new", resume=True
    )
    assert result.resumed_from == 0
    assert result.steps == 4


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_a_checkpoint_of_another_run_is_refused(backend, tmp_path):
    train = functools.partial(backends.train, backend, published("float32"), checkpoint_dir=tmp_path)
    train(COMPANIES, epochs=4)
    with pytest.raises(InputError, match="holds a checkpoint at epoch 4"):
        train(COMPANIES, epochs=8)
    with pytest.raises(InputError, match="of another run"):
        train((COMPANY_PRICES + 1, COMPANY_LABELS), epochs=8, resume=True)
    with pytest.raises(InputError, match="at epoch 4, past the 2 asked for"):
        train(COMPANIES, epochs=2, resume=True)


@pytest.mark.parametrize("shuffle_seed", [None, 0, 5])
def test_both_backends_meet_the_same_batches_and_a_smaller_last_one(shuffle_seed):
    ours, theirs = (
        backends.train(
            backend, published("float64"), seven_examples(), epochs=3, batch_size=3, shuffle_seed=shuffle_seed
        )
        for backend in backends.BACKENDS
    )
    np.testing.assert_array_equal(ours.examples, theirs.examples)
    assert sorted(ours.examples[:3].ravel().tolist()) == [-1, -1, *range(7)]
    assert (np.isnan(ours.predictions) == (ours.examples < 0)).all()
    for name in ("losses", "predictions"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-14)
    if shuffle_seed is not None:
        assert ours.examples[:3].tolist() != ours.examples[3:6].tolist()


@pytest.mark.parametrize(
    ("in_optax", "in_torch"),
    [
        (optax.sgd(0.1, momentum=0.9), functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)),
        (
            optax.adamw(1e-2, weight_decay=1e-2),
            functools.partial(torch.optim.AdamW, lr=1e-2),
        ),
    ],
    ids=["sgd with momentum", "adamw"],
)
def test_other_optimizers_agree_too(in_optax, in_torch):
    with jax.enable_x64(True):
        ours = jax_lstm.fit(by_hand.loss, published("float64"), COMPANIES, epochs=50, optimizer=in_optax)
    theirs = torch_lstm.fit(torch_lstm.LSTMByHand(published("float64")), COMPANIES, epochs=50, optimizer=in_torch)
    for name, array in curves(theirs).items():
        np.testing.assert_allclose(curves(ours)[name], array, rtol=0, atol=1e-12, err_msg=name)


def test_many_initialisations_train_in_one_call():
    seeds = [init_by_hand(seed) for seed in range(50)]
    stacked = {name: np.stack([weights[name] for weights in seeds]) for name in BY_HAND}
    together = jax.vmap(lambda weights: jax_lstm.fit(by_hand.loss, weights, COMPANIES, epochs=100))(stacked)
    assert together.losses.shape == (50, 200)
    for seed in (0, 17, 49):
        alone = jax_lstm.fit(by_hand.loss, seeds[seed], COMPANIES, epochs=100)
        np.testing.assert_allclose(together.losses[seed], alone.losses, rtol=1e-5, atol=1e-6)


def test_fit_refuses_checkpoints_and_bars_inside_a_transform(tmp_path):
    stacked = {name: np.zeros(2, np.float32) for name in BY_HAND}
    for option in ({"checkpoint_dir": tmp_path}, {"progress": True}):
        with pytest.raises(InputError, match="need concrete arrays"):
            jax.vmap(lambda w, o=option: jax_lstm.fit(by_hand.loss, w, COMPANIES, epochs=1, **o))(stacked)


def test_fit_can_be_differentiated():
    def last_loss(weights):
        return jax_lstm.fit(by_hand.loss, weights, COMPANIES, epochs=3, optimizer=optax.sgd(0.1)).losses[-1]

    with jax.enable_x64(True):
        weights = published("float64")
        gradient = jax.grad(last_loss)(weights)
        above, below = ({**weights, "wp1": weights["wp1"] + step} for step in (1e-6, -1e-6))
        np.testing.assert_allclose(gradient["wp1"], (last_loss(above) - last_loss(below)) / 2e-6, rtol=1e-6)


def test_a_bar_changes_nothing(capsys):
    shown = jax_lstm.fit(by_hand.loss, PUBLISHED_INIT, COMPANIES, epochs=50, progress=True)
    plain = jax_lstm.fit(by_hand.loss, PUBLISHED_INIT, COMPANIES, epochs=50)
    np.testing.assert_array_equal(shown.losses, plain.losses)
    theirs = torch_lstm.fit(torch_lstm.LSTMByHand(PUBLISHED_INIT), COMPANIES, epochs=5, progress=True)
    assert theirs.steps == 10
    assert capsys.readouterr().out == ""


def test_tensorboard_reads_the_logs(tmp_path):
    result = torch_lstm.fit(torch_lstm.LSTMByHand(PUBLISHED_INIT), COMPANIES, epochs=3, log_dir=tmp_path)
    events = logged(tmp_path / "version_0")
    assert {"train_loss", "out_0", "out_1"} <= set(events.Tags()["scalars"])
    np.testing.assert_allclose([event.value for event in events.Scalars("train_loss")], result.losses, rtol=1e-6)
    np.testing.assert_allclose([e.value for e in events.Scalars("out_1")], result.predictions[1::2, 0], rtol=1e-6)


def logged(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(directory)).Reload()


def test_each_run_logs_to_a_directory_of_its_own(tmp_path):
    for epochs in (2, 3):
        torch_lstm.fit(torch_lstm.LSTMByHand(PUBLISHED_INIT), COMPANIES, epochs=epochs, log_dir=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["version_0", "version_1"]
    for run, epochs in (("version_0", 2), ("version_1", 3)):
        steps = [event.step for event in logged(tmp_path / run).Scalars("train_loss")]
        assert steps == list(range(2 * epochs))


def test_a_resumed_run_goes_on_in_its_own_logs(tmp_path):
    """What was logged after the checkpoint is logged again, and TensorBoard shows it once."""

    class Interrupted(torch_lstm.LSTMByHand):
        steps_left = 13

        def training_step(self, batch, batch_idx):
            self.steps_left -= 1
            if self.steps_left < 0:
                raise KeyboardInterrupt
            return super().training_step(batch, batch_idx)

    def fit(epochs, log_dir, **options):
        return torch_lstm.fit(module, COMPANIES, epochs=epochs, log_dir=log_dir, **options)

    module, logs = Interrupted(PUBLISHED_INIT), tmp_path / "logs"
    checkpoints = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_every": 2}
    with pytest.raises(KeyboardInterrupt):
        fit(9, logs, **checkpoints)
    module.steps_left = 100
    torch_lstm.fit(torch_lstm.LSTMByHand(PUBLISHED_INIT), COMPANIES, epochs=1, log_dir=logs)
    resumed = fit(9, logs, **checkpoints, resume=True)
    assert 0 < resumed.resumed_from < 7
    assert sorted(path.name for path in logs.iterdir()) == ["version_0", "version_1"]
    shown = logged(logs / "version_0").Scalars("train_loss")
    assert [event.step for event in shown] == list(range(18))
    np.testing.assert_allclose([event.value for event in shown], resumed.losses, rtol=1e-6)

    # Without logs, and then again with them; with logs elsewhere.
    fit(10, None, **checkpoints, resume=True)
    fit(11, logs, **checkpoints, resume=True)
    assert [event.step for event in logged(logs / "version_0").Scalars("train_loss")][-3:] == [17, 20, 21]
    fit(12, tmp_path / "others", **checkpoints, resume=True)
    assert [event.step for event in logged(tmp_path / "others" / "version_0").Scalars("train_loss")] == [22, 23]


def test_a_resumed_run_whose_logs_are_gone_leaves_those_of_another_run_alone(tmp_path):
    module = torch_lstm.LSTMByHand(PUBLISHED_INIT)
    checkpoints = tmp_path / "checkpoints"
    torch_lstm.fit(module, COMPANIES, epochs=2, log_dir=tmp_path / "logs", checkpoint_dir=checkpoints)
    (tmp_path / "logs").rename(tmp_path / "moved")
    torch_lstm.fit(module, COMPANIES, epochs=3, log_dir=tmp_path / "logs")
    module = torch_lstm.LSTMByHand(PUBLISHED_INIT)
    torch_lstm.fit(module, COMPANIES, epochs=4, log_dir=tmp_path / "logs", checkpoint_dir=checkpoints, resume=True)
    for run, steps in (("version_0", [*range(6)]), ("version_1", [4, 5, 6, 7])):
        assert [event.step for event in logged(tmp_path / "logs" / run).Scalars("train_loss")] == steps


def test_the_module_trains_in_place_and_keeps_its_own_optimizer():
    module = torch_lstm.LSTMByHand(PUBLISHED_INIT)
    result = torch_lstm.fit(module, COMPANIES, epochs=1, optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    assert module.wo1.item() == result.weights["wo1"] != PUBLISHED_INIT["wo1"]
    assert isinstance(module.configure_optimizers(), torch.optim.Adam)


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_wrong_arguments_are_named_all_at_once(backend):
    with pytest.raises(InputError) as caught:
        backends.train(
            backend, published("float32"), (COMPANY_PRICES, COMPANY_LABELS[:1]), epochs=0, batch_size=-1, resume=True
        )
    lines = caught.value.problems
    assert len(lines) == 4
    for line, words in zip(
        lines,
        ("these numbers of examples: 2, 1; expected the same", "epochs is 0", "batch_size is -1", "checkpoint_dir"),
        strict=True,
    ):
        assert words in line


def value_of(params, batch):
    return by_hand.loss(params, batch)[0]


def predictions_of(params, batch):
    return by_hand.loss(params, batch)[1]


def takes_a_branch(params, batch):
    value, predictions = by_hand.loss(params, batch)
    return (value, predictions) if value > 0 else (2 * value, predictions)


FORM = "loss(params, batch) -> (loss, predictions)"
AN_ARRAY = f"expected an array of numbers whose leading axis is the batch (1 here) from {FORM}"
RETURN_BOTH = "e.g. `return value, predictions` (predictions is an array whose leading axis is the batch)"
TRACED = "loss asks for the values of arrays, which are not known while fit compiles it ("
WRONG_LOSSES = {
    "only a scalar": (
        value_of,
        f"loss returned float32 of shape (), expected {FORM}: return the predictions as well, {RETURN_BOTH}",
    ),
    "only a Python number": (lambda params, batch: 0.5, "loss returned 0.5, expected"),
    "nothing": (lambda params, batch: None, f"loss returned None, expected {FORM}: return these two, {RETURN_BOTH}"),
    "three things": (
        lambda params, batch: (*by_hand.loss(params, batch), batch),
        f"loss returned a tuple of 3, expected {FORM}: return these two, {RETURN_BOTH}",
    ),
    "a list of two": (lambda *both: [*by_hand.loss(*both)], f"loss returned a list, expected {FORM}: return these two"),
    "one argument": (
        lambda params: by_hand.loss(params, COMPANIES),
        f"loss(params, batch) cannot be called (<lambda>() takes 1 positional argument but 2 were given), "
        f"expected {FORM}",
    ),
    "three arguments": (
        lambda params, batch, key: by_hand.loss(params, batch),
        "loss(params, batch) cannot be called (<lambda>() missing 1 required positional argument: 'key'), expected",
    ),
    "three arguments, compiled": (
        jax.jit(lambda params, batch, key: by_hand.loss(params, batch)),
        "loss(params, batch) cannot be called (",
    ),
    "predictions in a list": (
        lambda *both: (value_of(*both), [predictions_of(*both)]),
        f"the predictions are a list, {AN_ARRAY}",
    ),
    "predictions in a dictionary": (
        lambda *both: (value_of(*both), {"company": predictions_of(*both)}),
        f"the predictions are a dict, {AN_ARRAY}",
    ),
    "predictions without a batch": (
        lambda *both: (value_of(*both), predictions_of(*both)[0]),
        f"the predictions are float32 of shape (), {AN_ARRAY}",
    ),
    "predictions of another batch": (
        lambda *both: (value_of(*both), COMPANY_PRICES),
        f"the predictions are float64 of shape (2, 4), {AN_ARRAY}",
    ),
    "predictions of torch's": (
        lambda *both: (value_of(*both), torch.zeros(1)),
        f"the predictions are a Tensor, {AN_ARRAY}",
    ),
    "predictions of text": (
        lambda *both: (value_of(*both), np.array(["up"])),
        f"the predictions are str64 of shape (1,), {AN_ARRAY}",
    ),
    "a loss for each company": (
        lambda *both: (predictions_of(*both), predictions_of(*both)),
        f"the loss is float32 of shape (1,), expected one floating-point number from {FORM}",
    ),
    "a loss of torch's": (
        lambda *both: (torch.tensor(1.0), predictions_of(*both)),
        f"the loss is a Tensor, expected one floating-point number from {FORM}",
    ),
    "a branch": (
        takes_a_branch,
        f"{TRACED}Attempted boolean conversion of traced array with shape bool[]): use jax.numpy instead of NumPy and "
        "float(), jnp.where or lax.cond instead of if",
    ),
    "NumPy": (lambda *both: (np.asarray(value_of(*both)), predictions_of(*both)), TRACED),
    "float": (lambda *both: (float(value_of(*both)), predictions_of(*both)), TRACED),
    "a loop": (lambda *both: (sum(range(value_of(*both).astype(int))), predictions_of(*both)), TRACED),
    "a boolean index": (lambda params, batch: (batch[1][batch[1] > 0].sum(), batch[1]), TRACED),
}


@pytest.mark.parametrize("transform", ["none", "vmap"])
@pytest.mark.parametrize("wrong", WRONG_LOSSES)
def test_a_loss_that_fit_cannot_use_is_an_error_of_one_line(wrong, transform, tmp_path):
    loss, words = WRONG_LOSSES[wrong]
    weights, options = published("float32"), {"checkpoint_dir": tmp_path}
    if transform == "vmap":
        weights, options = {name: np.stack([array] * 2) for name, array in weights.items()}, {}

    def train(weights):
        return jax_lstm.fit(loss, weights, COMPANIES, epochs=1, **options)

    with pytest.raises(InputError) as caught:
        (jax.vmap(train) if transform == "vmap" else train)(weights)
    (line,) = caught.value.problems
    assert line.startswith(words)
    assert "\n" not in line
    assert not list(tmp_path.glob("epoch*"))


@pytest.mark.parametrize("error", [TypeError("mine"), KeyError("mine"), ZeroDivisionError("mine")], ids=repr)
def test_an_error_of_the_losss_own_stays_what_it_is(error):
    def loss(params, batch):
        raise error

    with pytest.raises(type(error), match="mine"):
        jax_lstm.fit(loss, published("float32"), COMPANIES, epochs=1)


def test_a_loss_with_more_arguments_that_have_defaults_is_fine():
    losses = [
        lambda params, batch, scale=2: by_hand.loss(params, batch),
        functools.partial(lambda scale, params, batch: by_hand.loss(params, batch), 2),
        functools.wraps(lambda params: None)(lambda params, batch: by_hand.loss(params, batch)),
        jax.jit(functools.wraps(lambda params: None)(lambda params, batch: by_hand.loss(params, batch))),
    ]
    for loss in losses:
        assert jax_lstm.fit(loss, published("float32"), COMPANIES, epochs=1).steps == 2


def test_no_examples_are_an_error():
    with pytest.raises(InputError, match="no examples"):
        plan_training({}, (np.zeros((0, 4)), np.zeros(0)), epochs=1)


class TestSingleKernel:
    """On CPU, the by-hand training loop is one kernel. Other models keep the ordinary loop."""

    def compiled_text(self, loss, params, data) -> str:
        optimizer = optax.adam(1e-3)
        state = (params, optimizer.init(params))
        order = np.zeros((2, 2, 1), np.int32)
        return run_epochs.lower(loss, optimizer, 2, state, data, order).as_text()

    def test_the_by_hand_loop_is_sent_there(self):
        params = {name: np.float32(value) for name, value in PUBLISHED_INIT.items()}
        data = tuple(array.astype(np.float32) for array in COMPANIES)
        assert ('xla_cpu_small_call = "true"' in self.compiled_text(by_hand.loss, params, data)) == (
            jax.default_backend() == "cpu"
        )

    def test_a_model_with_a_matrix_product_is_not(self):
        def loss(params, batch):
            predictions = batch[0] @ params["w"]
            return ((predictions - batch[1]) ** 2).mean(), predictions

        data = tuple(array.astype(np.float32) for array in COMPANIES)
        assert "xla_cpu_small_call" not in self.compiled_text(loss, {"w": np.ones(4, np.float32)}, data)

    def test_a_large_model_is_not(self):
        def loss(params, batch):
            return (params["w"] ** 2).mean(), batch[1]

        data = tuple(array.astype(np.float32) for array in COMPANIES)
        assert "xla_cpu_small_call" not in self.compiled_text(loss, {"w": np.ones(5000, np.float32)}, data)

    def test_the_results_are_those_of_the_ordinary_loop(self, monkeypatch):
        weights = published("float64")
        with jax.enable_x64(True):
            fast = jax_lstm.fit(by_hand.loss, weights, COMPANIES, epochs=200)
            monkeypatch.setattr("jax_lstm.epochs.fits_one_kernel", lambda *_: False)
            jax.clear_caches()
            ordinary = jax_lstm.fit(by_hand.loss, weights, COMPANIES, epochs=200)
        jax.clear_caches()
        for name, array in curves(ordinary).items():
            np.testing.assert_allclose(curves(fast)[name], array, rtol=0, atol=1e-14, err_msg=name)

    @pytest.mark.skipif(jax.default_backend() != "cpu", reason="the attribute is XLA's CPU backend's")
    def test_it_works_under_a_callers_jit_grad_and_vmap(self):
        x = np.linspace(0, 1, 5, dtype=np.float32)
        square = one_kernel(lambda x: x * x, under_vmap=True)
        assert fits_one_kernel(lambda x: x * x, x)
        np.testing.assert_allclose(jax.jit(square)(x), x * x)
        np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(square)))(x), 2 * x)

    def test_a_jax_without_the_option_runs_the_ordinary_loop(self, monkeypatch):
        monkeypatch.setattr("jax_lstm.compiler.one_kernel.set_xla_metadata", None)
        assert not fits_one_kernel(lambda x: x + 1, np.float32(1))
