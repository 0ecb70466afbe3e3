"""The command line on good input: what it prints, what it writes, and its exit code."""

import itertools
import json
from importlib.metadata import version

import jax
import numpy as np
import pytest
import torch

import lstm_parity
from lstm_shared import (
    BY_HAND,
    PUBLISHED_INIT,
    WORKED_EXAMPLE_RESULT,
    init_by_hand,
    init_lstm,
    load,
    save,
)

BACKENDS = ("jax", "torch")


def is_png(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 5000


def read_json(path):
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def table_row(out: str, first: str) -> list[str]:
    return next(line.split() for line in out.splitlines() if line.split()[:1] == [first])


# check


def test_check_ends_in_a_verdict_with_json_and_a_picture(cli, tmp_path):
    ran = cli("check", "--quick", "--all", "--json", tmp_path / "check.json", "--plot", tmp_path / "check.png")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.splitlines()[2].startswith("verdict: agree: ")
    assert is_png(tmp_path / "check.png")
    record = read_json(tmp_path / "check.json")
    assert record["ok"] is True
    stages = {row["stage"] for row in record["report"]["rows"]}
    assert {"forward", "loss", "gradient", "adam", "400 steps"} <= stages
    assert {row["ok"] for row in record["report"]["rows"]} == {True}
    for backend in BACKENDS:
        assert record["golden"]["predictions"][backend]["0"] == pytest.approx([-0.0376530, -0.0382717], abs=0.51e-7)
    for row in record["report"]["rows"]:  # --all also shows the comparisons that pass
        assert row["name"] in ran.out


def test_check_fails_and_names_the_place_when_the_backends_differ(cli, monkeypatch, tmp_path):
    """The output gate of the JAX backend, off by a millionth."""
    from jax_lstm import by_hand

    day = by_hand._day

    def wrong_day(*arguments):
        step = day(*arguments)
        return step._replace(
            output_percent=step.output_percent + 1e-6,
            short_memory=step.short_memory + jax.numpy.tanh(step.long_memory) * 1e-6,
        )

    monkeypatch.setattr("lstm_parity.cli.check_by_hand.QUICK_EPOCHS", 5)
    monkeypatch.setattr(by_hand, "_day", wrong_day)
    jax.clear_caches()
    try:
        ran = cli("check", "--quick", "--json", tmp_path / "check.json")
    finally:
        monkeypatch.setattr(by_hand, "_day", day)
        jax.clear_caches()
    assert ran.code == 1
    verdict = ran.out.splitlines()[2]
    assert verdict.startswith("verdict: differ: ")
    assert "; first in forward, long_memory at [0, " in verdict  # the day after reads the short memory
    record = read_json(tmp_path / "check.json")
    assert record["ok"] is False
    first = next(row for row in record["report"]["rows"] if not row["ok"])
    assert (first["stage"], first["name"], first["dtype"]) == ("forward", "long_memory", "float64")


# train


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_train_writes_weights_json_and_a_picture(cli, tmp_path, backend, dtype):
    files = [tmp_path / name for name in ("out.safetensors", "run.json", "run.png")]
    outputs = [part for pair in zip(("--out", "--json", "--plot"), files, strict=True) for part in pair]
    ran = cli("train", "--backend", backend, "--dtype", dtype, "--epochs", 3, *outputs)
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.startswith(f"{backend}, {dtype}: 6 steps in 3 epochs")
    assert is_png(files[2])
    weights, record = load(files[0]), read_json(files[1])
    assert {array.dtype for array in weights.values()} == {np.dtype(dtype)}
    assert {name: array.item() for name, array in weights.items()} == record["weights"]
    assert (record["backend"], record["dtype"], record["epochs"], record["steps"]) == (backend, dtype, 3, 6)
    assert len(record["losses"]) == len(record["predictions"]) == 6
    assert record["losses"][0] == pytest.approx(0.0376530**2, rel=1e-5)
    for name in BY_HAND:  # six Adam steps of 1e-3 at most
        assert abs(record["weights"][name] - PUBLISHED_INIT[name]) < 0.0065
    company_a, company_b = ran.out.splitlines()[1:3]
    assert company_a.startswith("company A: predicted -0.03")
    assert company_b.endswith(", label 1")


def test_both_backends_train_to_the_same_predictions(cli):
    said = [cli("train", "--backend", backend, "--dtype", "float64", "--epochs", 5).out for backend in BACKENDS]
    assert said[0].splitlines()[1:] == said[1].splitlines()[1:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_train_goes_on_from_its_checkpoints_and_from_no_other_place(cli, tmp_path, backend):
    train = ("train", "--backend", backend, "--checkpoint-dir", tmp_path / "run")
    straight = cli("train", "--backend", backend, "--epochs", 6, "--out", tmp_path / "straight.npz")
    assert straight.code == 0
    new = cli(*train, "--epochs", 4, "--resume")
    assert new.out.startswith(f"{tmp_path / 'run'}: no checkpoint, so the run begins at the start\n")
    again = cli(*train, "--epochs", 6)
    assert again.code == 2
    assert again.problems == [
        f"{tmp_path / 'run'}: holds a checkpoint at epoch 4: resume it, or choose another directory"
    ]
    resumed = cli(*train, "--epochs", 6, "--resume", "--out", tmp_path / "resumed.npz")
    assert resumed.code == 0
    assert resumed.out.startswith(f"{tmp_path / 'run'}: resumed from epoch 4\n")
    expected = load(tmp_path / "straight.npz")
    for name, array in load(tmp_path / "resumed.npz").items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    other = cli(*train, "--epochs", 6, "--batch-size", 2, "--resume")
    assert other.code == 2
    (line,) = other.problems
    assert "the checkpoint is of another run" in line
    shorter = cli(*train, "--epochs", 2, "--resume")
    assert shorter.problems == [f"{tmp_path / 'run'}: the checkpoint is at epoch 4, past the 2 asked for"] or (
        shorter.problems == [f"{tmp_path / 'run'}: the checkpoint is at epoch 6, past the 2 asked for"]
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_train_starts_from_the_weights_of_a_file(cli, tmp_path, backend):
    save(tmp_path / "start.npz", init_by_hand(7, np.float64))
    arguments = ("--dtype", "float64", "--epochs", 1, "--learning-rate", 1e-12)
    ran = cli(
        "train", "--backend", backend, "--weights", tmp_path / "start.npz", *arguments, "--out", tmp_path / "o.npz"
    )
    assert ran.code == 0
    start = load(tmp_path / "start.npz")
    for name, array in load(tmp_path / "o.npz").items():
        assert array == pytest.approx(start[name], abs=1e-11)


def test_train_in_torch_writes_tensorboard_logs(cli, tmp_path):
    assert cli("train", "--backend", "torch", "--epochs", 2, "--log-dir", tmp_path / "logs").code == 0
    assert list((tmp_path / "logs").glob("version_0/events.out.tfevents.*"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_train_on_real_prices_stands_beside_two_baselines(cli, tmp_path, stocks, backend):
    prices = ("--csv", stocks, "--column", "PRICE", "--where", "symbol=AAPL")
    outputs = ("--json", tmp_path / "run.json", "--plot", tmp_path / "run.png", "--out", tmp_path / "out.npz")
    ran = cli("train", "--backend", backend, "--dtype", "float64", *prices, "--epochs", 2, "--seed", 3, *outputs)
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.startswith(f"{backend}, float64: 188 steps in 2 epochs")
    assert "error over 25 held-out days, in the unit of price" in ran.out
    assert "4 of 25 held-out prices lie outside what the model can say" in ran.out
    assert is_png(tmp_path / "run.png")
    record = read_json(tmp_path / "run.json")
    assert set(load(tmp_path / "out.npz")) == set(BY_HAND)
    score = record["held_out"]
    assert (score["days"], score["unreachable"]) == (25, 4)
    assert len(record["held_out_predictions"]) == 25
    from lstm_shared import prepare_prices, read_prices

    series = read_prices(stocks, "price", where="symbol=AAPL").prices
    actual = prepare_prices(series, 4).held_out_prices
    error = np.array(record["held_out_predictions"]) - actual
    # root mean square, then mean absolute
    assert score["model"] == pytest.approx([np.sqrt(np.mean(error**2)), np.mean(np.abs(error))])
    assert score["tomorrow_is_today"][1] == pytest.approx(np.mean(np.abs(np.diff(series[-26:]))))
    assert score["training_mean"][1] == pytest.approx(np.mean(np.abs(actual - series[:-25].mean())))
    assert table_row(ran.out, "tomorrow")[-1] == f"{score['tomorrow_is_today'][1]:.4g}"


def test_the_window_and_the_seed_are_taken(cli, stocks):
    prices = ("--csv", stocks, "--column", "price", "--where", "symbol=IBM")
    train = ("train", "--backend", "torch", *prices, "--epochs", 1)
    assert cli(*train, "--window", 10).out.startswith("torch, float32: 88 steps")
    said = [cli(*train, "--seed", seed).out.splitlines()[1:] for seed in (0, 0, 1)]
    assert said[0] == said[1] != said[2]


# trace


@pytest.mark.parametrize("backend", BACKENDS)
def test_trace_shows_the_worked_example(cli, tmp_path, backend):
    ran = cli("trace", "--example", "--backend", backend, "--json", tmp_path / "t.json", "--plot", tmp_path / "t.png")
    assert ran.code == 0
    assert " ".join(table_row(ran.out, "1")) == "1 1 99.9254 93.7027 0.98661430 99.5033 2.92299183 0.98929553"
    assert is_png(tmp_path / "t.png")
    record = read_json(tmp_path / "t.json")
    assert record.pop("prices") == [1.0]
    assert record == {name: [pytest.approx(figure, abs=0.51e-8)] for name, figure in WORKED_EXAMPLE_RESULT.items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_trace_of_the_published_weights_predicts_both_companies(cli, backend):
    assert table_row(cli("trace", "--backend", backend).out, "4")[-1] == "0.00639316"
    company_b = cli("trace", "--backend", backend, "--values", " 1,0.5, .25,1")
    assert [line.split()[0] for line in company_b.out.splitlines()[2:]] == ["1", "2", "3", "4"]
    assert table_row(company_b.out, "4")[-1] == "0.96939346"


@pytest.mark.parametrize("backend", BACKENDS)
def test_trace_goes_on_from_memories_and_weights_that_are_given(cli, tmp_path, backend):
    save(tmp_path / "weights.safetensors", init_by_hand(4, np.float64))
    trace = (
        "trace",
        "--backend",
        backend,
        "--weights",
        tmp_path / "weights.safetensors",
        "--json",
        tmp_path / "t.json",
    )
    cli(*trace, "--values", "0.1,0.7,0.3")
    whole = read_json(tmp_path / "t.json")
    memories = ("--long-memory", whole["long_memory"][1], "--short-memory", whole["short_memory"][1])
    assert cli(*trace, "--values", "0.3", *memories).code == 0
    last = read_json(tmp_path / "t.json")
    for name in whole:
        assert last[name] == pytest.approx(whole[name][2:], abs=1e-15)


def test_trace_in_float32_is_float32(cli, tmp_path):
    cli("trace", "--dtype", "float32", "--json", tmp_path / "t.json")
    values = read_json(tmp_path / "t.json")["short_memory"]
    assert values == np.array(values, np.float32).tolist()


# inspect and convert


def test_inspect_lists_every_model_of_a_checkpoint(cli, tmp_path):
    arrays = {f"encoder.{name}": array for name, array in init_lstm(5, 4, bidirectional=True).items()}
    arrays |= {f"head.lstm.{name}": array for name, array in init_lstm(3, 2, dtype=np.float64).items()}
    arrays |= {"head.fc.weight": np.ones((1, 2)), "head.fc.bias": np.ones(1), "embedding.weight": np.ones((7, 5))}
    arrays |= {f"[bold].{name}": array for name, array in init_by_hand().items()}
    save(tmp_path / "model.safetensors", arrays)
    ran = cli("inspect", tmp_path / "model.safetensors", "--json", tmp_path / "i.json")
    assert ran.code == 0
    encoder = table_row(ran.out, "encoder.")
    assert " ".join(encoder[1:5]) == "LSTM: input_size 5, hidden_size"
    assert encoder[-3:] == ["float32", "8", str(2 * (16 * 5 + 16 * 4 + 32))]
    assert " ".join(table_row(ran.out, "head.")[1:6]) == "forecaster: output_size 1, input_size 3,"
    assert table_row(ran.out, "[bold].") == ["[bold].", "by-hand", "float32", "12", "12"]
    assert ran.out.endswith("and 1 other array: embedding.weight (7, 5)\n")
    record = read_json(tmp_path / "i.json")
    assert record["problems"] == []
    assert record["other_arrays"] == [{"name": "embedding.weight", "shape": [7, 5], "dtype": "float64"}]
    encoder = next(model for model in record["models"] if model["prefix"] == "encoder.")
    assert (encoder["kind"], encoder["hidden_size"], encoder["bidirectional"]) == ("LSTM", 4, True)


@pytest.mark.parametrize("model", [True, False])
def test_inspect_names_the_first_five_other_arrays_and_writes_all(cli, tmp_path, model):
    others = {f"norm.{k}": torch.zeros(k, 2, dtype=torch.bfloat16) for k in range(7)}
    lstm = {f"rnn.{name}": torch.tensor(array) for name, array in init_lstm(3, 4).items()} if model else {}
    torch.save(lstm | others, tmp_path / "model.pt")
    ran = cli("inspect", tmp_path / "model.pt", "--json", tmp_path / "i.json")
    assert ran.code == (0 if model else 2)
    first = ", ".join(f"norm.{k} ({k}, 2)" for k in range(5))
    words = "and 7 other arrays" if model else "7 arrays"
    assert ran.out.splitlines()[-1] == f"{words}: {first}, and 2 more"
    expected = [{"name": f"norm.{k}", "shape": [k, 2], "dtype": "bfloat16"} for k in range(7)]
    assert read_json(tmp_path / "i.json")["other_arrays"] == expected


def test_convert_goes_there_and_back(cli, tmp_path):
    weights = {f"net.{name}": array for name, array in init_lstm(5, 4).items()}
    save(tmp_path / "a.npz", weights | {"other": np.ones(1)})
    assert cli("convert", tmp_path / "a.npz", tmp_path / "b.safetensors").out.endswith("b.safetensors: 5 arrays\n")
    assert cli("convert", tmp_path / "b.safetensors", tmp_path / "c.npz", "--prefix", "net").code == 0
    converted = load(tmp_path / "c.npz")
    assert set(converted) == set(init_lstm(5, 4))
    for name, array in converted.items():
        np.testing.assert_array_equal(array, weights[f"net.{name}"])


COMMANDS = ["check", "diagnose", "fuzz", "bench", "train", "trace", "inspect", "convert"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_every_command_explains_itself_in_paragraphs_as_wide_as_the_terminal(cli, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = cli(command, "--help")
    assert ran.code == 0
    usage, _, *paragraphs = (line.strip() for line in ran.out.strip().partition("╭")[0].splitlines())
    assert usage.startswith(f"Usage: lstm-parity {command}")
    assert paragraphs[0]
    for line, after in itertools.pairwise(paragraphs):
        if line and after:  # within a paragraph, the next word did not fit
            assert len(line) + 1 + len(after.split()[0]) > columns - 2
    assert "<bool>" not in ran.out


def test_without_a_command_the_commands_are_listed(cli):
    ran = cli()
    assert ran.code == 2
    assert ran.err == ""
    for command in COMMANDS:
        assert command in ran.out


def test_the_version_is_that_of_the_distribution(cli):
    ran = cli("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"lstm-parity {version('lstm-parity')}\n", "")


def test_the_packages_list_what_is_public_loaded_or_not():
    assert {*lstm_parity.__all__} <= {*dir(lstm_parity)}
    assert lstm_parity.__version__ == version("lstm-parity")


def test_convert_says_which_of_several_cells_it_wrote(cli, tmp_path):
    save(tmp_path / "two.npz", init_lstm(3, 2, num_layers=2))
    ran = cli("convert", tmp_path / "two.npz", tmp_path / "cell.npz", "--to", "keras", "--layer", 1)
    assert ran.code == 0
    which = f"layer 1, forward direction: 1 of the 2 cells in {tmp_path / 'two.npz'}"
    assert ran.out == f"{tmp_path / 'cell.npz'}: 3 arrays, {which}\n"
    save(tmp_path / "one.npz", init_lstm(3, 2))
    ran = cli("convert", tmp_path / "one.npz", tmp_path / "cell.npz", "--to", "keras")
    assert ran.out == f"{tmp_path / 'cell.npz'}: 3 arrays\n"
