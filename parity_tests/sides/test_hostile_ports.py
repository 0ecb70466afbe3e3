"""Ports that return or raise anything at all: each ends in a verdict or in a one-line InputError."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jax_lstm
import lstm_parity
from lstm_parity.sides.load_port import load_port
from lstm_shared import InputError, init_forecaster, init_lstm, save
from lstm_shared.errors import Terminated

WEIGHTS = init_lstm(3, 4, dtype=np.float64)
CELL = {name.removesuffix("_l0"): array for name, array in WEIGHTS.items()}
HEAD = init_forecaster(3, 4, 2, dtype=np.float64)
INPUTS = {"LSTM": (5, 2, 3), "cell": (2, 3), "forecaster": (2, 5, 3)}
MODELS = {"LSTM": WEIGHTS, "cell": CELL, "forecaster": HEAD}


def judged(model: str, port) -> str:
    """The word of the verdict, or a line of the error, if possible one that does not blame the candidate."""
    inputs = np.random.default_rng(0).standard_normal(INPUTS[model])
    try:
        return lstm_parity.check(MODELS[model], inputs, candidate=port, dtypes=["float64"]).verdict_word
    except InputError as error:
        return next((line for line in error.problems if not line.startswith("the candidate")), error.problems[0])


class Thing:
    """Has the attributes of an array, but is none."""

    shape, dtype, ndim = (5, 2, 4), np.dtype("float64"), 3


class Liar(np.ndarray):
    """An array that fails when it is looked at."""

    @property
    def shape(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("no shape today")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no message either")


RETURNED = {
    "an int": 1,
    "a bool": True,
    "text": "outputs",
    "bytes": b"\0" * 8,
    "a float": 0.5,
    "an object": object(),
    "a class": Thing,
    "what looks like an array": Thing(),
    "None": None,
    "nothing": (),
    "one thing": (np.zeros((5, 2, 4)),),
    "a flat triple": (np.zeros((5, 2, 4)), np.zeros((1, 2, 4)), np.zeros((1, 2, 4))),
    "a triple of states": (np.zeros((5, 2, 4)), (np.zeros((1, 2, 4)),) * 3),
    "states that are None": (np.zeros((5, 2, 4)), (None, None)),
    "a pair of text": ("h", "c"),
    "deep tuples": ((((1,),),),),
    "ragged lists": [[1.0], [1.0, 2.0]],
    "a list of None": [None, None],
    "a dictionary": {"outputs": np.zeros((5, 2, 4))},
    "a set": {1, 2},
    "a generator": (number for number in range(3)),
    "a function": len,
    "a module": os,
    "an array of text": np.full((5, 2, 4), "a"),
    "an array of objects": np.full((5, 2, 4), None),
    "a structured array": np.zeros((5, 2, 4), [("a", float)]),
    "dates": np.zeros((5, 2, 4), "M8[s]"),
    "no axes": np.float64(1),
    "65 axes in torch": torch.zeros((1,) * 65),
    "an empty array": np.zeros((0, 2, 4)),
    "a sparse tensor": torch.zeros(5, 2, 4).to_sparse(),
    "a tensor without numbers": torch.zeros((5, 2, 4), device="meta"),
    "long doubles": np.zeros((5, 2, 4), np.longdouble),
    "float8": jnp.zeros((5, 2, 4), jnp.float8_e5m2),
    "a masked array": np.ma.masked_all((5, 2, 4)),
    "an array that lies": np.zeros((5, 2, 4)).view(Liar),
    "big-endian zeros": np.zeros((5, 2, 4), ">f8"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("returned", RETURNED)
def test_whatever_a_port_returns_ends_in_a_verdict_or_a_line(model, returned):
    said = judged(model, lambda params, inputs: RETURNED[returned])
    assert said == "differ" or said.startswith("the candidate"), said


RAISED = [
    ValueError("with\ntwo lines"), Unprintable(), RecursionError(), MemoryError(), StopIteration(), AssertionError(),
    GeneratorExit(), asyncio.CancelledError(), KeyboardInterrupt(), BaseException("the root of all"), SystemExit(0),
    SystemExit("text"), OSError(28, "No space left on device"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    ExceptionGroup("several", [ValueError("one")]), BaseExceptionGroup("several", [KeyboardInterrupt()]),
    ImportError("no module named torch"), BrokenPipeError(), NotImplementedError(), StopAsyncIteration(),
    pytest.skip.Exception("left out"), pytest.fail.Exception("failed"),
]  # fmt: skip


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_port_raises_ends_in_a_line(error):
    def port(params, inputs):
        raise error

    assert judged("LSTM", port).startswith("the candidate failed: ")


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_while_a_port_runs_is_no_failure_of_the_port(number, error):
    def terminated(number, frame):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
        with pytest.raises(error):
            judged("LSTM", lambda params, inputs: os.kill(os.getpid(), number))
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_and_streams_that_a_port_exchanges_are_put_back():
    before = signal.getsignal(signal.SIGINT), sys.stdout, sys.stderr

    def port(params, inputs, state):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout = sys.stderr = None
        return jax_lstm.lstm_cell(params, inputs, state)

    assert judged("cell", port) == "agree"
    assert (signal.getsignal(signal.SIGINT), sys.stdout, sys.stderr) == before


# Files


MODULES = {
    "empty": b"",
    "no Python": b"\x89PNG\r\n\x1a\n\0\0",
    "half a line": b"def port(params,",
    "raises": b"1 / 0",
    "raises what is no Exception": b"raise BaseException('no')",
    "ends": b"import os, sys\nsys.exit(0)",
    "the name is a number": b"port = 3",
    "the name is None": b"port = None",
    "answers for its names": b"def __getattr__(name):\n    raise RuntimeError(name)",
    "imports itself": b"from port import port",
    "imports what is not there": b"import no_such_module_anywhere",
    "deep": b"port = " + b"(" * 500 + b")" * 500,
}


@pytest.mark.parametrize("content", MODULES)
def test_a_file_that_holds_no_port_is_refused_in_a_line(write, content):
    path = write(MODULES[content], "port.py")
    with pytest.raises(InputError) as caught:
        load_port(f"{path}:port")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["torch", "jax", "numpy", "lstm_parity"])
def test_a_port_may_be_in_a_file_that_is_named_as_a_library(tmp_path, cli, monkeypatch, name):
    save(tmp_path / "w.npz", CELL)
    (tmp_path / f"{name}.py").write_text("import jax_lstm, torch, numpy\nport = jax_lstm.lstm_cell\n")
    monkeypatch.chdir(tmp_path)
    ran = cli("check", "w.npz", "--against", f"{name}.py:port", "--dtypes", "float64")
    assert (ran.code, ran.err) == (0, "")


def test_the_installed_command_does_not_take_a_port_for_torch(tmp_path):
    """Run as a user types it, in a directory with such a file."""
    script = shutil.which("lstm-parity", path=str(Path(sys.executable).parent))
    assert script is not None
    save(tmp_path / "w.npz", CELL)
    (tmp_path / "torch.py").write_text("import jax_lstm\nport = jax_lstm.lstm_cell\n")
    command = [script, "check", "w.npz", "--against", "torch.py:port", "--dtypes", "float64"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["empty", "text", "random", "zeros", "a directory", "none"])
def test_a_damaged_onnx_model_is_refused_in_a_line(tmp_path, kind):
    content = {"empty": b"", "text": b"hello\n", "random": np.random.default_rng(0).bytes(999), "zeros": bytes(99)}
    path = tmp_path / "model.onnx"
    if kind in content:
        path.write_bytes(content[kind])
    elif kind == "a directory":
        path.mkdir()
    with pytest.raises(InputError) as caught:
        load_port(str(path))
    (line,) = caught.value.problems
    assert line.startswith(str(path))


# The by-hand model


@pytest.mark.parametrize("shape", [(0,), (2, 0), (3, 1, 0)])
def test_a_by_hand_model_needs_a_day(shape):
    from lstm_shared import PUBLISHED_INIT

    with pytest.raises(InputError, match=r"with at least one day"):
        lstm_parity.check(PUBLISHED_INIT, np.zeros(shape))
    with pytest.raises(InputError, match=r"with at least one day"):
        lstm_parity.diagnose(PUBLISHED_INIT, np.zeros(shape), np.zeros(shape))
