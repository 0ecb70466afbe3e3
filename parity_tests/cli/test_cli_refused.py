"""The command line on bad input: one clear line for each problem, exit code 2, and no file touched."""

import ml_dtypes
import numpy as np
import pytest
import torch
from lying_files import numpy_files_that_lie

from lstm_shared import init_by_hand, init_lstm, save

BACKENDS = ("jax", "torch")


def without(weights, *names):
    return {name: array for name, array in weights.items() if name not in names}


@pytest.fixture
def refused(cli, tmp_path):
    """refused("train", …) -> the error lines. Asserts that nothing was printed and no file was touched."""

    def refused(*arguments) -> list[str]:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        ran = cli(*arguments)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.problems
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return ran.problems

    return refused


# Words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trian",), "No such command 'trian'"),
        (("train", "--epoch", "3"), "No such option: --epoch"),
        (("train", "--epochs"), "Option '--epochs' requires an argument"),
        (("train", "extra"), "extra argument"),
        (("inspect",), "Missing argument"),
        (("train", "--epochs", "many"), "Invalid value for '--epochs'"),
        (("train", "--epochs", "2.5"), "Invalid value for '--epochs'"),
        (("train", "--learning-rate", "fast"), "Invalid value for '--learning-rate'"),
        (("train", "--backend", "keras"), "Invalid value for '--backend'"),
        (("train", "--dtype", "float16"), "Invalid value for '--dtype'"),
        (("trace", "--long-memory", "x"), "Invalid value for '--long-memory'"),
        (("train", "--epochs", "0"), "epochs is 0, expected a positive whole number"),
        (("train", "--epochs", "-3"), "epochs is -3, expected a positive whole number"),
        (("train", "--batch-size", "0"), "batch_size is 0, expected a positive whole number"),
        (("train", "--learning-rate", "0"), "--learning-rate is 0.0, expected a positive number"),
        (("train", "--learning-rate", "nan"), "--learning-rate is nan, expected a positive number"),
        (("train", "--resume"), "resume needs a checkpoint_dir to continue from"),
        (("train", "--log-dir", "logs"), "--log-dir: only the torch backend writes TensorBoard logs"),
        (("train", "--where", "symbol=A"), "--where: needs real prices: add --csv FILE"),
        (("train", "--window", "7"), "--window: needs real prices: add --csv FILE"),
        (("trace", "--values", ""), "--values: '' is not a number"),
        (("trace", "--values", "1;2"), "--values: '1;2' is not a number"),
        (("trace", "--values", "1,inf"), "--values: 'inf' is not a number"),
        (("trace", "--short-memory", "nan"), "--short-memory is nan, expected a number"),
        (("trace", "--example", "--values", "1"), "--values: the worked example has its own"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_word_is_refused_in_one_line(refused, arguments, said):
    (line,) = refused(*arguments)
    assert said in line


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_wrong_option_has_its_line(refused, backend):
    lines = refused("train", "--backend", backend, "--epochs", 0, "--batch-size", -1, "--resume")
    assert [line.split()[0] for line in lines] == ["epochs", "batch_size", "resume"]
    assert len(refused("trace", "--values", "a,1,b,nan")) == 3


# Weight files

READERS = {
    "train": ("train", "--epochs", 1, "--weights"),
    "trace": ("trace", "--weights"),
    "inspect": ("inspect",),
    "convert": ("convert",),
}


@pytest.fixture(params=READERS)
def read(refused, tmp_path, request):
    """read(path) -> the error lines, of each command that reads weights."""

    def read(path) -> list[str]:
        target = [tmp_path / "converted.npz"] if request.param == "convert" else []
        return refused(*READERS[request.param], path, *target)

    return read


def test_a_missing_weight_file_is_refused(read, tmp_path):
    assert read(tmp_path / "none.npz") == [f"{tmp_path / 'none.npz'}: No such file or directory"]


def test_a_directory_is_not_a_weight_file(read, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    assert read(tmp_path / "folder.npz") == [f"{tmp_path / 'folder.npz'}: Is a directory"]


def test_a_name_that_tells_no_kind_is_refused(read, write):
    (line,) = read(write("", "weights.h5"))
    assert line.endswith("must end in one of .safetensors, .npz, .pt, .pth, .ckpt")


@pytest.mark.parametrize("kind", [".safetensors", ".npz", ".pt"])
def test_a_truncated_weight_file_is_refused(read, tmp_path, kind):
    path = tmp_path / f"weights{kind}"
    if kind == ".pt":
        torch.save({name: torch.tensor(array) for name, array in init_by_hand().items()}, path)
    else:
        save(path, init_by_hand())
    path.write_bytes(path.read_bytes()[:-20])
    (line,) = read(path)
    assert line.startswith(f"{path}: damaged, or not a")


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(read, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save(init_by_hand() | {"wlr1": Trap()}, tmp_path / "weights.pt")
    (line,) = read(tmp_path / "weights.pt")
    assert line.startswith(f"{tmp_path / 'weights.pt'}: refused, it holds more than tensors")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("command", ["train", "trace", "convert"])
def test_nan_weights_are_refused(refused, tmp_path, command):
    path = tmp_path / "weights.npz"
    save(path, init_by_hand() | {"wlr1": np.float32(np.nan), "wo2": np.float32(np.inf)})
    lines = refused(*READERS[command], path, *[tmp_path / "converted.npz"] * (command == "convert"))
    said = "holds 1 of 1 values that are NaN or infinite"
    assert lines == [f"{path}: wlr1 {said}", f"{path}: wo2 {said}"]


def test_inspect_shows_a_model_with_nan_weights_and_refuses_it(cli, tmp_path):
    save(tmp_path / "weights.npz", init_by_hand() | {"wlr1": np.float32(np.nan)})
    ran = cli("inspect", tmp_path / "weights.npz")
    assert ran.code == 2
    assert "by-hand" in ran.out
    assert ran.problems == [f"{tmp_path / 'weights.npz'}: wlr1 holds 1 of 1 values that are NaN or infinite"]


@pytest.mark.parametrize("command", ["train", "trace"])
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (without(init_by_hand(), "wo1", "bp1"), ["bp1 is missing", "wo1 is missing"]),
        (init_by_hand() | {"wo3": np.ones(())}, ["wo3 is unexpected: the by-hand model has no such weight"]),
        (init_by_hand() | {"wo1": np.ones(1)}, ["wo1 has shape (1,), expected ()"]),
        (init_by_hand() | {"wo1": np.array(1)}, ["wo1 holds int64"]),
        (init_lstm(1, 1), ["a by-hand model is needed"]),
        ({}, ["a by-hand model is needed"]),
    ],
    ids=["missing", "unexpected", "wrong shape", "integer", "an LSTM", "nothing"],
)
def test_weights_of_another_form_are_refused_with_the_file(refused, tmp_path, command, weights, said):
    path = tmp_path / "weights.npz"
    save(path, weights)
    lines = refused(*READERS[command], path)
    assert len(lines) == len(said)
    for line, words in zip(lines, said, strict=True):
        assert line.startswith(f"{path}: {words}")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"a": np.ones(3), "b": np.ones(2)}, "no LSTM in it; it holds a, b"),
        ({}, "no LSTM in it; it holds nothing"),
        (dict(torch.nn.GRU(5, 4).state_dict()), "this is a GRU, not an LSTM"),
        (
            {"rnn.weight_ih_l0": np.ones((8, 2)), "rnn.weight_hh_l0": np.ones((8, 3))},
            "rnn.: weight_hh_l0 has shape (8, 3)",
        ),
    ],
    ids=["other layers", "nothing", "a GRU", "wrong shape"],
)
def test_inspect_says_what_is_wrong_with_a_file(cli, tmp_path, weights, said):
    path = tmp_path / "weights.npz"
    save(path, weights)
    ran = cli("inspect", path)
    assert ran.code == 2
    (line,) = ran.problems
    assert line.startswith(f"{path}: {said}")


def test_convert_refuses_what_the_target_cannot_hold_and_an_unknown_prefix(refused, tmp_path):
    save(tmp_path / "weights.safetensors", init_by_hand(dtype=ml_dtypes.bfloat16))
    (line,) = refused("convert", tmp_path / "weights.safetensors", tmp_path / "weights.npz")
    assert ".npz cannot hold bfloat16" in line
    (line,) = refused("convert", tmp_path / "weights.safetensors", tmp_path / "out.safetensors", "--prefix", "net")
    assert "nothing under the prefix 'net.'; " in line


# Prices


def csv(*rows) -> str:
    return "\n".join(["date,symbol,close", *rows])


DAYS = [f"2000-01-{day:02},A,{day % 7}.5" for day in range(1, 31)]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (csv(*DAYS[:5], "2000-01-06,A,n/a", *DAYS[6:]), (), ["not a price in column 'close': line 7 'n/a'"]),
        (csv(*DAYS[:2], "someday,A,two"), (), ["not a price in column", "not a date in column"]),
        (csv(*DAYS), ("--column", "price"), ["no column 'price': the columns are 'date', 'symbol', 'close'"]),
        (csv(*DAYS), ("--where", "symbol=B"), ["no row has 'B' in column 'symbol': it holds 'A'"]),
        (csv(*DAYS), ("--window", 40), ["too few days: a window of 40 needs 41 training days, but of 30"]),
        (csv(*DAYS), ("--window", 0), ["window is 0, expected a positive whole number"]),
        (csv(*DAYS), ("--seed", -1), ["--seed is -1, expected a whole number, 0 or larger"]),
        (csv(*DAYS), ("--epochs", 0), ["epochs is 0, expected a positive whole number"]),
        (csv(*(f"{row.rsplit(',', 1)[0]},3" for row in DAYS)), (), ["all 24 training prices are 3"]),
        (csv(*DAYS, DAYS[0]), (), ["two rows for 2000-01-01 (lines 2 and 32)"]),
        (csv(), (), ["no rows below the header"]),
        ("", (), ["the file is empty"]),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", (), ["not UTF-8 text (byte 0x89 in line 1), expected a CSV file"]),
        (b"date,close\n\0\1\2", (), ["binary, expected a CSV file"]),
    ],
    ids=[
        "text as a price", "text everywhere", "unknown column", "unknown symbol", "long window", "no window", "seed",
        "no epochs", "constant", "repeated day", "header only", "empty", "png", "binary",
    ],
)  # fmt: skip
def test_prices_that_cannot_be_trained_on_are_refused(refused, write, tmp_path, content, options, said):
    path = write(content, "prices.csv")
    lines = refused(
        "train", "--csv", path, *options, "--out", tmp_path / "out.npz", "--checkpoint-dir", tmp_path / "run"
    )
    assert len(lines) == len(said)
    for line, words in zip(lines, said, strict=True):
        assert line.removeprefix(f"{path}: ").startswith(words)
    assert not (tmp_path / "run").exists()


def test_a_missing_csv_file_is_refused(refused, tmp_path):
    assert refused("train", "--csv", tmp_path / "none.csv") == [f"{tmp_path / 'none.csv'}: No such file or directory"]


# Outputs: refused before any work is done


@pytest.fixture
def no_work(monkeypatch):
    """Make every computation fail, so that a test fails if the refusal comes after the work."""

    def work(*_, **__):
        raise AssertionError("work was begun")

    # The first name comes first: its module must import the real functions before they are replaced.
    for name in (
        "lstm_parity.cli.check_by_hand.check_by_hand",
        "lstm_parity.training.backends.train",
        "lstm_parity.training.backends.trace",
    ):
        monkeypatch.setattr(name, work)


OUTPUTS = [
    *((command, "--plot", "picture.png") for command in ("check", "train", "trace")),
    *((command, "--json", "record.json") for command in ("check", "train", "trace")),
    ("train", "--out", "weights.npz"),
]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(("command", "option", "name"), OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(refused, tmp_path, command, option, name):
    missing = tmp_path / "none" / name
    assert refused(command, option, missing) == [f"{missing}: there is no directory {missing.parent}"]
    (tmp_path / name).mkdir()
    taken = f"{tmp_path / name}: this is a directory, a file name is needed"
    assert refused(command, option, tmp_path / name) == [taken]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("command", "option", "kinds"),
    [
        ("train", "--out", "must end in one of .safetensors, .npz"),
        *((command, "--plot", "must end in one of .png, .svg, .pdf") for command in ("check", "train", "trace")),
    ],
)
@pytest.mark.parametrize("name", ["out", "out.txt", "out.jpeg"])
def test_an_output_of_an_unknown_kind_is_refused_before_the_work(refused, write, command, option, kinds, name):
    (line,) = refused(command, option, write("kept", name))
    assert line.endswith(kinds)


@pytest.mark.usefixtures("no_work")
def test_every_output_that_cannot_be_written_has_its_line(refused, tmp_path):
    outputs = ("--out", tmp_path / "out.pt", "--plot", tmp_path / "plot.gif", "--json", tmp_path / "none" / "record")
    assert len(refused("train", *outputs)) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_is_no_checkpoint_directory(refused, write, backend):
    path = write("kept", "run")
    (line,) = refused("train", "--backend", backend, "--epochs", 1, "--checkpoint-dir", path)
    assert line == f"{path}: not a directory, checkpoints need one"


def test_an_output_is_kept_when_writing_it_fails_at_the_end(cli, write, monkeypatch):
    path = write("kept", "record.json")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ran = cli("trace", "--json", path)
    assert ran.code == 2
    assert ran.problems == [f"{path}: No space left on device"]
    assert path.read_text() == "kept"
    assert list(path.parent.iterdir()) == [path]


LYING = {name: data for name, data in numpy_files_that_lie() if name.endswith(".npy") and name != "big-endian.npy"}


@pytest.mark.parametrize("name", LYING)
def test_inputs_that_are_no_array_of_numbers_are_one_line(refused, tmp_path, name):
    save(tmp_path / "m.npz", init_lstm(3, 4))
    (tmp_path / name).write_bytes(LYING[name])
    (line,) = refused("check", tmp_path / "m.npz", "--inputs", tmp_path / name)
    assert line.startswith(f"{tmp_path / name}: ")


def test_inputs_that_are_not_there_are_not_called_damaged(refused, tmp_path):
    save(tmp_path / "m.npz", init_lstm(3, 4))
    missing = tmp_path / "missing.npy"
    assert refused("check", tmp_path / "m.npz", "--inputs", missing) == [f"{missing}: No such file or directory"]


def test_a_wrong_choice_is_told_plainly(cli):
    ran = cli("train", "--backend", "pytorch")
    assert ran.code == 2
    assert ran.err == "error: Invalid value for '--backend': 'pytorch' is not one of 'jax', 'torch'.\n"
