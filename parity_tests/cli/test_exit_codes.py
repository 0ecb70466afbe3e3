"""Whatever ends a command, the exit code says what happened; each problem has its line, and there is no traceback."""

import errno
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_shared import init_lstm, save
from lstm_shared.errors import InputError, Terminated, WeightsError

HUGE = 10**30


class _OwnBaseException(BaseException):
    pass


def _system_error(number: int, *name: str) -> OSError:
    return OSError(number, "said by the system", *name)


RAISED = {
    "a problem with an input": (InputError("wrong"), 2),
    "two problems with weights": (WeightsError(["one", "two"]), 2),
    "a file that is not there": (_system_error(errno.ENOENT, "a.npz"), 2),
    "a file of bytes": (OSError(errno.EACCES, "no", b"a\xff.npz"), 2),
    "a full disk": (_system_error(errno.ENOSPC), 2),
    "an error without a number": (OSError("something of the system"), 2),
    "no memory": (MemoryError(), 2),
    "no memory, NumPy": (MemoryError("Unable to allocate 9 TiB for an array"), 2),
    "no memory, torch": (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), 2),
    "no memory, JAX": (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), 2),
    "no GPU": (RuntimeError("Unable to initialize backend 'cuda': no such"), 2),
    "a package that is missing": (ModuleNotFoundError("No module named 'optax'", name="optax"), 2),
    "a package that another one misses": (ModuleNotFoundError("neither tensorboard nor tensorboardX"), 2),
    "a package that is broken": (ImportError("cannot import name 'x' from 'optax'"), 2),
    "a module of ours": (ModuleNotFoundError("No module named 'lstm_shared.x'", name="lstm_shared.x"), 70),
    "a value": (ValueError("two\nlines"), 70),
    "a type": (TypeError("x"), 70),
    "an assertion": (AssertionError(), 70),
    "a key": (KeyError("x\x1b[2J"), 70),
    "a division": (ZeroDivisionError(), 70),
    "too deep": (RecursionError("maximum recursion depth exceeded"), 70),
    "no encoding": (UnicodeEncodeError("ascii", "µ", 0, 1, "no"), 70),
    "end of a generator": (GeneratorExit(), 70),
    "another's end, done": (SystemExit(0), 70),
    "another's end, with a word": (SystemExit("over"), 70),
    "another's end, differ": (SystemExit(1), 70),
    "neither error nor end": (_OwnBaseException("x"), 70),
    "a pipe that nobody reads": (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141),
    "an interruption": (KeyboardInterrupt(), 130),
    "a termination": (Terminated(), 143),
}


@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_command_ends_in_has_its_exit_code_and_its_lines(cli, monkeypatch, raised):
    error, code = RAISED[raised]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("lstm_parity.training.backends.trace", fail)
    ran = cli("trace")
    assert (ran.code, ran.out) == (code, "")
    assert len(ran.problems) == (2 if raised.startswith("two") else 0 if code > 100 else 1)
    if code == 70:
        (line,) = ran.problems
        assert f"a bug in lstm-parity, not in your input: {type(error).__name__} at " in line
        assert "please report it" in line


def test_a_fault_shows_where_it_comes_from_when_that_is_asked_for(cli, monkeypatch):
    def fail(*_, **__):
        raise ValueError("a fault")

    monkeypatch.setattr("lstm_parity.training.backends.trace", fail)
    monkeypatch.setenv("LSTM_PARITY_DEBUG", "1")
    ran = cli("trace")
    assert ran.code == 70
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.splitlines()[0].startswith("error: a bug in lstm-parity")


# Wrong arguments


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.npz"
    save(path, init_lstm(3, 4))
    return path


ARGUMENTS = [
    ("check FILE --seed -1", "--seed is -1, expected a whole number, 0 or larger"),
    (f"check FILE --seed {HUGE}", f"--seed is {HUGE}, expected less than 2**63"),
    (f"check FILE --steps {HUGE}", f"--steps is {HUGE}, expected less than 2**63"),
    ("check FILE --steps -1", "--steps is -1, expected a whole number, 0 or larger"),
    ("check FILE --lengths ²", "--lengths: '²' is not a whole number"),
    ("check FILE --lengths=--5", "--lengths: '--5' is not a whole number"),
    ("check FILE --lengths=٣", "--lengths: '٣' is not a whole number"),
    ("check FILE --lengths=1_000", "--lengths: '1_000' is not a whole number"),
    ("check FILE --lengths=-5", "--lengths is -5, expected a whole number, 0 or larger"),
    ("check FILE --lengths 3,,4", "--lengths: '' is not a whole number"),
    (f"check FILE --lengths {10**12}", "--lengths: 1000000000000 steps of a 1-layer"),
    (f"check FILE --lengths {HUGE}", f"--lengths is {HUGE}, expected less than 2**63"),
    (f"check FILE --lengths {'9' * 4000}", "--lengths: '999"),
    ("train --model forecaster --hidden-size 1000000", "--hidden-size 1000000 with --num-layers 1 would need at least"),
    (f"train --model forecaster --hidden-size {HUGE}", f"--hidden-size is {HUGE}, expected less than 2**63"),
    (f"train --model forecaster --num-layers {10**12}", f"--hidden-size 16 with --num-layers {10**12} would need"),
    ("train --model forecaster --hidden-size 0", "--hidden-size is 0, expected a whole number, 1 or larger"),
    ("train --model forecaster --seed -1", "--seed is -1, expected a whole number, 0 or larger"),
    (f"train --seed {HUGE}", f"--seed is {HUGE}, expected less than 2**63"),
    (f"train --epochs {10**12}", "epochs"),
    (f"train --epochs {HUGE}", "epochs"),
    (f"train --backend torch --epochs {10**12}", "epochs"),
    (f"train --backend torch --epochs {HUGE}", "epochs"),
    ("trace --values 1e300 --dtype float32", "--values holds 1 of 1 values that are NaN or infinite in float32"),
    ("trace --long-memory -1e300 --dtype float32", "--long-memory holds 1 of 1 values that are NaN or infinite in"),
    ("fuzz --seed -1", "--seed is -1, expected a whole number, 0 or larger"),
    (f"fuzz --seed {HUGE}", f"--seed is {HUGE}, expected less than 2**63"),
    ("fuzz --minutes nan", "minutes is nan, expected a positive number"),
    ("fuzz --minutes inf", "minutes is inf, expected a positive number"),
    ("fuzz --cases 0", "cases is 0, expected a positive whole number"),
    ("bench --threads 0", "--threads is 0, expected 1 to"),
    (f"bench --threads {HUGE}", f"--threads is {HUGE}, expected 1 to"),
    ("bench --seconds nan", "--seconds is nan, expected a positive number"),
    ("inspect a\nerror:b", "a\\nerror:b: No such file or directory"),
    ("trian\nverdict:agree", "No such command 'trian\\nverdict:agree'"),
    ("inspect \udcff\x1b[2J", "\\xff\\x1b[2J: No such file or directory"),
]


@pytest.mark.parametrize(("arguments", "said"), ARGUMENTS, ids=lambda text: ascii(text)[1:60])
def test_an_argument_that_cannot_be_meant_is_one_line_and_exit_code_2(cli, model, arguments, said):
    ran = cli(*(str(model) if word == "FILE" else word for word in arguments.split(" ")))
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.problems
    assert line.startswith(said)


WORDS = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "-", "--", "-1", "1,2", "nan", "0x10", "²", "/dev/null", ".", "~", "*", "a:b", "=", "\udc80"]),
)
OPTIONS = st.sampled_from(
    [
        ("trace", "--values"), ("trace", "--long-memory"), ("trace", "--weights"), ("trace", "--dtype"),
        ("trace", "--backend"), ("train", "--epochs"), ("train", "--seed"), ("train", "--learning-rate"),
        ("train", "--weights"), ("train", "--csv"), ("train", "--out"), ("train", "--plot"), ("check", "--lengths"),
        ("check", "--seed"), ("check", "--prefix"), ("check", "--inputs"), ("check", "--layout"),
        ("check", "--case"), ("check", "--truth"), ("check", "--jax-device"), ("inspect", "--json"), ("inspect", ""),
        ("convert", "--layer"), ("convert", "--from"), ("fuzz", "--minutes"), ("fuzz", "--cases"), ("fuzz", "--out"),
        ("bench", "--show"), ("bench", "--threads"), ("bench", "--rounds"), ("diagnose", "--weights"), ("", ""),
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(option=OPTIONS, word=WORDS)
def test_any_word_in_any_option_has_an_answer_that_is_true(cli, monkeypatch, model, tmp_path, option, word):
    """The functions that would compute for long refuse to, so that only the parsing is tested."""
    monkeypatch.chdir(tmp_path)

    def work(*_, **__):
        raise InputError("that would be computed")

    # The first name comes first: its module must import the real functions before they are replaced.
    for name in (
        "cli.check_by_hand.check_by_hand",
        "training.backends.trace",
        "training.backends.train",
        "verdict.check.check",
        "fuzz.search.fuzz",
        "bench.timing.runner.run",
    ):
        monkeypatch.setattr(f"lstm_parity.{name}", work)
    command, name = option
    ran = cli(*(text for text in (command, name and f"{name}={word}", "" if name else word) if text))
    assert ran.code in (0, 2), ran.err
    if ran.code == 2 and not ran.out:  # else it printed the help
        assert ran.problems
    for line in (ran.out + ran.err).splitlines():
        assert line.isprintable()


# Undecided, failed or interrupted


def test_a_search_without_time_for_a_case_is_undecided(cli, tmp_path):
    ran = cli("fuzz", "--minutes", 1e-300, "--json", tmp_path / "f.json")
    assert ran.code == 3
    assert ran.out.startswith("undecided: there was no time for a case; --minutes is 1e-300, give it more\n")
    assert '"ok": false' in (tmp_path / "f.json").read_text()


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_that_ends_in_nan_fails_and_replaces_no_weights(cli, write, tmp_path, backend, dtype):
    path = write("kept", "out.npz")
    outputs = ("--out", path, "--json", tmp_path / "run.json")
    options = ("--backend", backend, "--dtype", dtype, "--epochs", 2)
    ran = cli("train", *options, "--learning-rate", 3e38 if (backend, dtype) == ("jax", "float32") else 1e308, *outputs)
    assert ran.code == 2
    (line,) = ran.problems
    assert line.startswith("training failed: the loss is nan at step ")
    assert f"{path} was not written" in line
    assert path.read_text() == "kept"
    assert '"losses": [' in (tmp_path / "run.json").read_text()


def test_a_signal_that_a_library_swallows_is_an_exit_code_all_the_same(cli, monkeypatch):
    def swallow(*_, **__):
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            raise ValueError("made of it by a library") from None

    monkeypatch.setattr("lstm_parity.training.backends.trace", swallow)
    monkeypatch.setattr("os._exit", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    assert cli("trace").code == 143
