"""Resuming: only the same run continues, errors name what differs, one run writes at a time, stopped runs are kept."""

import copy
import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import jax
import lightning as L
import numpy as np
import optax
import pytest
import torch

import jax_lstm
import torch_lstm
from jax_lstm import by_hand
from lstm_parity.training import backends
from lstm_shared import COMPANY_LABELS, COMPANY_PRICES, PUBLISHED_INIT, InputError, init_by_hand, init_forecaster
from lstm_shared.errors import Terminated
from lstm_shared.training.checkpoint_directory import CheckpointDirectory
from lstm_shared.training.plan import FitResult

COMPANIES = (COMPANY_PRICES, COMPANY_LABELS)
PUBLISHED = {name: np.float64(value) for name, value in PUBLISHED_INIT.items()}
OPTIMIZERS = {
    "jax": optax.adam,
    "torch": lambda rate, **settings: functools.partial(torch.optim.Adam, lr=rate, **settings),
}


def fit(backend: str, weights: Any = PUBLISHED, data: Any = COMPANIES, **options: Any) -> FitResult:
    if backend == "torch":
        module = weights if isinstance(weights, L.LightningModule) else torch_lstm.LSTMByHand(weights)
        return torch_lstm.fit(module, data, **options)
    loss = options.pop("loss", by_hand.loss)
    with jax.enable_x64(True):
        return jax_lstm.fit(loss, weights, data, **options)


def same_bits(ours: FitResult, theirs: FitResult) -> bool:
    pairs = [(ours.losses, theirs.losses), (ours.predictions, theirs.predictions)]
    pairs += [(array, theirs.weights[name]) for name, array in ours.weights.items()]
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


def other_loss(params: Any, batch: Any) -> Any:
    value, predictions = by_hand.loss(params, batch)
    return value * 2, predictions


def loss_with_a_constant(constant: np.ndarray) -> Callable[..., Any]:
    def loss(params: Any, batch: Any) -> Any:
        value, predictions = by_hand.loss(params, batch)
        return value + (constant * predictions.sum()).sum() * 0, predictions

    return loss


class OtherStep(torch_lstm.LSTMByHand):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx)


TWO = (np.tile(COMPANY_PRICES, (2, 1)), np.tile(COMPANY_LABELS, 2))
SINGLE_COMPANIES = tuple(array.astype(np.float32) for array in COMPANIES)
OTHER_BIT = PUBLISHED | {"wo1": np.nextafter(PUBLISHED["wo1"], 9)}
SINGLE = {name: np.float32(value) for name, value in PUBLISHED.items()}

# (backend, options of the first run, options of the resumed run, words in the line that refuses it)
OTHERS: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = {}
for _backend in backends.BACKENDS:
    _optimizer = OPTIMIZERS[_backend]
    for _name, _before, _after, _words in (
        ("learning rate", {"optimizer": _optimizer(1e-3)}, {"optimizer": _optimizer(0.5)}, ("0.001", "0.5")),
        ("beta of Adam", {}, {"optimizer": _optimizer(1e-3, **({"b1": 0.8} if _backend == "jax" else
            {"betas": (0.8, 0.999)}))}, ("optimizer's", "0.9", "0.8")),
        ("data", {}, {"data": (COMPANY_PRICES + 1, COMPANY_LABELS)}, ("the data have other values",)),
        ("one value of the data", {}, {"data": (COMPANY_PRICES, np.nextafter(COMPANY_LABELS, 2))}, ("the data have",)),
        ("more data", {}, {"data": TWO}, ("the data were float64 (2, 4)", "are float64 (4, 4)")),
        ("dtype of the data", {}, {"data": SINGLE_COMPANIES}, ("float32 (2, 4)",)),
        ("batch size", {}, {"batch_size": 2}, ("batch_size was 1 and is 2",)),
        ("seed", {"shuffle_seed": 1}, {"shuffle_seed": 2}, ("shuffle_seed was 1 and is 2",)),
        ("no more seed", {"shuffle_seed": 1}, {}, ("shuffle_seed was 1 and is None",)),
        ("start weights", {}, {"weights": init_by_hand(1, np.float64)}, ("the start weights have other values",)),
        ("one start weight", {}, {"weights": OTHER_BIT}, ("start weights",)),
        ("dtype of the weights", {}, {"weights": SINGLE}, ("a different shape or dtype", "float32 ()", "9 more")),
        ("everything", {"optimizer": _optimizer(0.1)}, {"optimizer": _optimizer(0.2), "batch_size": 2,
            "weights": init_by_hand(2, np.float64), "data": (COMPANY_PRICES + 1, COMPANY_LABELS)},
            ("batch_size was 1 and is 2", "the data", "the start weights", "0.1", "0.2")),
    ):  # fmt: skip
        OTHERS[f"{_backend}: {_name}"] = (_backend, _before, _after, _words)
OTHERS |= {
    "jax: SGD": ("jax", {}, {"optimizer": optax.sgd(1e-3)}, ("scale_by_adam.b1 was 0.9 and is not there",)),
    "jax: an order of transformations": (
        "jax",
        {"optimizer": optax.chain(optax.clip(1.0), optax.scale(0.1))},
        {"optimizer": optax.chain(optax.scale(0.1), optax.clip(1.0))},
        ("the optimizer is a different one",),
    ),
    "jax: a schedule": (
        "jax",
        {"optimizer": optax.sgd(optax.linear_schedule(0.1, 0.01, 10))},
        {"optimizer": optax.sgd(optax.linear_schedule(0.1, 0.01, 11))},
        ("transition_steps was 10 and is 11",),
    ),
    "jax: names of the weights": (
        "jax",
        {"loss": lambda params, batch: by_hand.loss(params["model"], batch), "weights": {"model": PUBLISHED}},
        {},
        ("the weights no longer have ['model']", "which they did not have before"),
    ),
    "jax: the loss": ("jax", {}, {"loss": other_loss}, ("the loss is different",)),
    "jax: a constant of the loss": (
        "jax",
        {"loss": loss_with_a_constant(np.zeros(2000))},
        {"loss": loss_with_a_constant(np.eye(1, 2000, 1500)[0])},
        ("the loss is different",),
    ),
    "torch: SGD": ("torch", {}, {"optimizer": functools.partial(torch.optim.SGD, lr=1e-3)}, ("was Adam and is SGD",)),
    "torch: another step": ("torch", {}, {"weights": OtherStep(PUBLISHED)}, ("the module's structure or code",)),
    "torch: weight decay": ("torch", {}, {"optimizer": functools.partial(torch.optim.Adam, weight_decay=0.1)},
        ("the optimizer's weight_decay was 0 and is 0.1",)),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_another_run_is_refused_and_what_differs_is_named(tmp_path, case):
    backend, before, after, words = case
    fit(backend, **before, epochs=2, checkpoint_dir=tmp_path)
    files = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.glob("epoch*"))
    weights = after.get("weights", PUBLISHED)
    if backend == "torch" and not isinstance(weights, L.LightningModule):
        weights = torch_lstm.LSTMByHand(weights)
    untouched = copy.deepcopy(dict(weights if backend == "jax" else weights.state_dict()))
    with pytest.raises(InputError) as caught:
        fit(backend, **after | {"weights": weights}, epochs=4, checkpoint_dir=tmp_path, resume=True)
    (line,) = caught.value.problems
    assert line.startswith(f"{tmp_path}: the checkpoint is of another run: ")
    for word in words:
        assert word in line
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.glob("epoch*")) == files
    # A module is trained in place. It must not end up with the checkpoint's weights.
    assert dict(weights if backend == "jax" else weights.state_dict()) == untouched


@pytest.mark.parametrize("before", backends.BACKENDS)
def test_the_other_backends_directory_is_refused(tmp_path, before):
    after = {"jax": "torch", "torch": "jax"}[before]
    fit(before, epochs=2, checkpoint_dir=tmp_path)
    with pytest.raises(InputError) as caught:
        fit(after, epochs=4, checkpoint_dir=tmp_path, resume=True)
    assert caught.value.problems == (
        f"{tmp_path}: the checkpoint is of another run: the {before} backend trained it, and this is {after}",
    )


@pytest.mark.parametrize("backend", backends.BACKENDS)
@pytest.mark.parametrize("former", ["epoch-4.ckpt", "4"])
def test_checkpoints_of_former_versions_are_refused(tmp_path, backend, former):
    if former.isdigit():
        (tmp_path / former).mkdir()
        (tmp_path / former / "_CHECKPOINT_METADATA").write_text("{}")
    else:
        (tmp_path / former).write_bytes(b"PK")
    for resume in (True, False):
        with pytest.raises(InputError, match=f"earlier version \\({former}\\)"):
            fit(backend, epochs=2, checkpoint_dir=tmp_path, resume=resume)


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_other_files_in_the_directory_are_left_alone(tmp_path, backend):
    for name in ("notes.txt", "2024", "epoch-x.checkpoint", ".hidden"):
        (tmp_path / name).write_text("kept")
    fit(backend, epochs=20, checkpoint_dir=tmp_path, checkpoint_every=1)
    kept = sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock")
    assert kept == [".hidden", "2024", *(f"epoch-{epoch}.checkpoint" for epoch in (18, 19, 20)),
                    "epoch-x.checkpoint", "notes.txt"]  # fmt: skip


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_one_run_at_a_time_writes_there(tmp_path, backend):
    with CheckpointDirectory(tmp_path), pytest.raises(InputError) as caught:
        fit(backend, epochs=2, checkpoint_dir=tmp_path)
    (line,) = caught.value.problems
    assert line == (
        f"{tmp_path}: another run is writing checkpoints here: wait until it ends, or choose another directory"
    )
    assert fit(backend, epochs=2, checkpoint_dir=tmp_path).epochs == 2
    assert fit(backend, epochs=4, checkpoint_dir=tmp_path, resume=True).resumed_from == 2


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_the_weights_of_the_checkpoint_may_be_given_to_go_on(tmp_path, backend):
    weights = torch_lstm.LSTMByHand(PUBLISHED) if backend == "torch" else PUBLISHED
    half = fit(backend, weights, epochs=3, checkpoint_dir=tmp_path)
    again = weights if backend == "torch" else half.weights  # the module was trained in place
    whole = fit(backend, again, epochs=6, checkpoint_dir=tmp_path, resume=True)
    assert same_bits(whole, fit(backend, epochs=6))


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_other_versions_are_told_and_the_settings_still_compared(tmp_path, backend, monkeypatch):
    fit(backend, epochs=2, checkpoint_dir=tmp_path)
    place = {"jax": "jax_lstm.checkpoints", "torch": "torch_lstm.checkpoints"}[backend]
    monkeypatch.setattr(f"{place}.version", lambda name: "0.0.1")
    result = fit(backend, epochs=4, checkpoint_dir=tmp_path, resume=True)
    (note,) = result.notes
    assert note.startswith(f"{tmp_path}: {backend} was ")
    assert "and is 0.0.1" in note
    with pytest.raises(InputError, match=r"0\.001 and is -?0\.5"):
        fit(backend, epochs=6, checkpoint_dir=tmp_path, resume=True, optimizer=OPTIMIZERS[backend](0.5))


class WithDropout(torch_lstm.Forecaster):
    def forward(self, inputs: torch.Tensor, state: Any = None) -> torch.Tensor:
        return torch.nn.functional.dropout(super().forward(inputs, state), 0.5)


def test_what_a_module_draws_is_drawn_on_after_a_resume(tmp_path):
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(6, 3, 1)), rng.normal(size=(6, 2)))
    weights = init_forecaster(1, 3, output_size=2, dtype=np.float64)

    def train(**options: Any) -> FitResult:
        return torch_lstm.fit(WithDropout(weights), data, batch_size=4, shuffle_seed=1, **options)

    torch.manual_seed(7)
    straight = train(epochs=6)
    torch.manual_seed(7)
    train(epochs=3, checkpoint_dir=tmp_path)
    torch.manual_seed(8)
    assert same_bits(train(epochs=6, checkpoint_dir=tmp_path, resume=True), straight)


def test_optimizers_with_random_keys_and_schedules_resume(tmp_path):
    optimizer = optax.chain(
        optax.add_noise(0.01, 0.5, key=3), optax.sgd(optax.linear_schedule(0.1, 0.01, 9), momentum=0.9)
    )
    straight = fit("jax", epochs=9, optimizer=optimizer)
    fit("jax", epochs=4, optimizer=optimizer, checkpoint_dir=tmp_path)
    assert same_bits(fit("jax", epochs=9, optimizer=optimizer, checkpoint_dir=tmp_path, resume=True), straight)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("pieces", [[1] * 8, [2, 3, 3], [7, 8]])
def test_pieces_of_any_length_give_the_straight_run(tmp_path, batch_size, pieces):
    rng = np.random.default_rng(2)
    data = (rng.uniform(size=(6, 4)), rng.uniform(size=6))
    options = {"data": data, "batch_size": batch_size, "optimizer": optax.adam(1e-2), "checkpoint_dir": tmp_path}
    done, result = 0, None
    for length in pieces:
        done = min(8, done + length)
        result = fit("jax", epochs=done, resume=True, **options)
    assert result is not None
    assert same_bits(result, fit("jax", epochs=8, **options | {"checkpoint_dir": None}))


# Stopped by an exception


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt, Terminated, SystemExit, RuntimeError], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("at", [1, 2, 5, 8])
@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_what_stops_a_run_is_raised_and_the_run_is_kept(tmp_path, backend, at, stop, monkeypatch):
    @contextmanager
    def bar(*_: Any, **__: Any) -> Any:
        def show(done: int) -> None:
            if done == at:
                raise stop("now")

        yield show

    monkeypatch.setattr("torch_lstm.training_run._KEEP_SECONDS", 0.0)
    monkeypatch.setattr("jax_lstm.training._FIRST_STEPS", 1)
    monkeypatch.setattr("jax_lstm.training._PIECE_SECONDS", 0.0)
    module = torch_lstm.LSTMByHand(PUBLISHED)
    handler = signal.getsignal(signal.SIGINT)
    options: dict[str, Any] = {"weights": module if backend == "torch" else PUBLISHED, "checkpoint_dir": tmp_path}
    with monkeypatch.context() as patch:
        patch.setattr({"jax": "jax_lstm", "torch": "torch_lstm"}[backend] + ".training.progress_bar", bar)
        with pytest.raises(stop) as caught:
            fit(backend, epochs=9, checkpoint_every=9, **options)
    assert signal.getsignal(signal.SIGINT) is handler
    assert caught.value.__notes__ == [f"{tmp_path}: saved up to epoch {at}; continue with resume=True"]
    result = fit(backend, epochs=9, checkpoint_every=9, resume=True, **options)
    assert result.resumed_from == at
    assert same_bits(result, fit(backend, epochs=9))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Terminated, ZeroDivisionError])
@pytest.mark.parametrize("at", [0, 1, 3, 6, 7])
def test_a_module_that_is_stopped_within_an_epoch_can_go_on(tmp_path, at, kind):
    class Stopped(torch_lstm.LSTMByHand):
        steps = 0

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if self.steps == at:
                raise kind
            self.steps += 1

    module = Stopped(PUBLISHED)
    with pytest.raises(kind):
        fit("torch", module, epochs=4, checkpoint_dir=tmp_path, checkpoint_every=2)
    Stopped.on_train_batch_start = lambda *_: None
    result = fit("torch", module, epochs=4, checkpoint_dir=tmp_path, checkpoint_every=2, resume=True)
    assert same_bits(result, fit("torch", epochs=4))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_lightning_leaves_signals_to_the_process(tmp_path, number):
    """If the caller has no handler, SIGTERM ends the process like any other, and SIGINT works like Ctrl-C."""
    program = f"""
import pathlib, torch_lstm
from lstm_shared import COMPANY_LABELS, COMPANY_PRICES, PUBLISHED_INIT
class Told(torch_lstm.LSTMByHand):
    def on_train_epoch_start(self):
        pathlib.Path({str(tmp_path / "began")!r}).touch()
try:
    torch_lstm.fit(Told(PUBLISHED_INIT), (COMPANY_PRICES, COMPANY_LABELS), epochs=10**6)
except KeyboardInterrupt:
    raise SystemExit(77)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (tmp_path / "began").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(60) == {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 77}[number]


def test_a_directory_that_cannot_be_made_is_an_error_before_the_run(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NotADirectoryError):
        fit("jax", epochs=1, checkpoint_dir=tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "kept"
