"""A port affects only its own verdict: it gets copies, its changes are undone, and what it returns is judged."""

import os
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jax_lstm
import lstm_parity
from lstm_parity.sides.case import make_case
from lstm_parity.sides.load_port import load_port
from lstm_parity.sides.port import Port, find_out
from lstm_shared import InputError, init_lstm, save
from torch_lstm.explicit import run

HIDDEN = 4
WEIGHTS = init_lstm(5, HIDDEN, dtype=np.float64)
CELL = {name.removesuffix("_l0"): array for name, array in WEIGHTS.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(params, inputs, state=None):
    """A right cell in NumPy."""
    h, c = (np.zeros((len(inputs), HIDDEN), inputs.dtype),) * 2 if state is None else state
    gates = inputs @ params["weight_ih"].T + h @ params["weight_hh"].T + params["bias_ih"] + params["bias_hh"]
    i, f, g, o = np.split(gates, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def test_a_right_port_that_spoils_its_arguments_afterwards_agrees():
    def port(params, inputs, state=None):
        result = cell(params, inputs, state)
        inputs *= 0
        for name in params:
            params[name] *= 2
        for part in state or ():
            part += 1
        params.clear()
        return result

    report = lstm_parity.check(CELL, candidate=port)
    assert report.ok, str(report)


SPOILT = {
    "inputs set to zero": lambda params, inputs: inputs.__imul__(0),
    "weights doubled": lambda params, inputs: [params[name].__imul__(2) for name in params],
    "gates reordered": lambda params, inputs: params["weight_ih"].__setitem__(slice(0, 8), params["weight_ih"][8:]),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_port_that_spoils_its_arguments_first_differs(spoil):
    """The reference must not be computed from the spoilt arrays: both sides would then agree."""

    def port(params, inputs, state=None):
        SPOILT[spoil](params, inputs)
        return cell(params, inputs, state)

    assert lstm_parity.check(CELL, candidate=port).verdict_word == "differ"


def test_diagnose_is_given_what_the_port_was_given_before_it_spoilt_it(tmp_path, cli):
    save(tmp_path / "cell.npz", CELL)
    (tmp_path / "port.py").write_text(
        "import numpy as np\n"
        "def sigmoid(x):\n    return 1 / (1 + np.exp(-x))\n"
        "def port(params, inputs, state):\n"
        "    params['bias_hh'] *= 2\n"
        "    bias = params['bias_ih'] + params['bias_hh']\n"
        "    z = inputs @ params['weight_ih'].T + state[0] @ params['weight_hh'].T + bias\n"
        "    i, f, g, o = np.split(z, 4, -1)\n"
        "    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)\n"
        "    return sigmoid(o) * np.tanh(c), c\n"
    )
    ran = cli("diagnose", "--weights", tmp_path / "cell.npz", "--against", f"{tmp_path / 'port.py'}:port")
    assert ran.code == 1
    assert "doubled-bias:bias_hh" in ran.out


RETURNED = {
    "complex numbers": (lambda array: array + 1j, "candidate has dtype complex128, expected floating-point numbers"),
    "whole numbers": (lambda array: array.astype(int), "candidate has dtype int64, expected floating-point numbers"),
    "objects": (lambda array: array.astype(object), "candidate has dtype object, expected floating-point numbers"),
    "text": (lambda array: array.astype(str), "expected floating-point numbers"),
    "booleans": (lambda array: array > 0, "candidate has dtype bool, expected floating-point numbers"),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_what_is_not_a_real_number_differs(kind):
    change, said = RETURNED[kind]
    report = lstm_parity.check(CELL, candidate=lambda p, x, state=None: tuple(map(change, cell(p, x, state))))
    assert report.verdict_word == "differ"
    assert said in report.verdict()


def test_complex_outputs_of_a_jax_port_differ_too():
    report = lstm_parity.check(WEIGHTS, candidate=lambda p, x: jax_lstm.lstm(p, x)[0] + 1j, dtypes=["float64"])
    assert report.verdict_word == "differ"
    assert "complex128" in report.verdict()


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise SystemExit", "exit()"])
def test_a_port_cannot_end_the_process(tmp_path, cli, ending):
    save(tmp_path / "cell.npz", CELL)
    (tmp_path / "port.py").write_text(f"import sys\ndef port(params, inputs, state=None):\n    {ending}\n")
    ran = cli("check", tmp_path / "cell.npz", "--against", f"{tmp_path / 'port.py'}:port")
    assert ran.code == 2
    assert [problem for problem in ran.problems if "the candidate failed: it called sys.exit(" in problem]


def test_a_module_cannot_end_the_process(tmp_path, cli):
    save(tmp_path / "cell.npz", CELL)
    (tmp_path / "port.py").write_text("import sys\nsys.exit(0)\n")
    ran = cli("check", tmp_path / "cell.npz", "--against", f"{tmp_path / 'port.py'}:port")
    assert ran.code == 2
    assert ran.problems == [f"{tmp_path / 'port.py'}:port: cannot import {tmp_path / 'port.py'}: it called sys.exit(0)"]


def test_what_a_port_changes_in_the_process_is_put_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = dict(sys.modules)

    def port(params, inputs, state=None):
        torch.set_default_dtype(torch.float16)
        torch.set_num_threads(3)
        torch.set_grad_enabled(False)
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        jax.config.update("jax_debug_nans", True)
        sys.modules["numpy"] = sys.modules["sys"]
        del sys.modules["json"]
        sys.path.insert(0, "nowhere")
        os.environ["OF_THE_PORT"] = "1"
        os.chdir("/")
        warnings.simplefilter("error")
        return cell(params, inputs, state)

    threads, filters, path = torch.get_num_threads(), list(warnings.filters), list(sys.path)
    numbers = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert lstm_parity.check(CELL, candidate=port, dtypes=["float64"]).ok
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not jax.config.jax_debug_nans
    assert (sys.modules["numpy"], sys.modules["json"]) == (before["numpy"], before["json"])
    assert sys.path == path
    assert "OF_THE_PORT" not in os.environ
    assert os.getcwd() == str(tmp_path)
    assert warnings.filters == filters
    np.testing.assert_array_equal(np.random.get_state()[1], numbers[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), numbers[1])


def test_a_port_in_a_file_named_torch_does_not_become_torch(tmp_path):
    (tmp_path / "beside_it.py").write_text("value = 1\n")
    (tmp_path / "torch.py").write_text("from beside_it import value\ndef port(params, inputs):\n    return value\n")
    loaded = load_port(f"{tmp_path / 'torch.py'}:port")
    assert loaded.function(None, None) == 1
    assert sys.modules["torch"] is torch
    assert "beside_it" not in sys.modules
    assert str(tmp_path) not in sys.path


# Which framework's arrays it takes


def by_torch(params, inputs, state=None):
    outputs, states, _ = run(params, inputs, state)
    return outputs, states


FOUND_OUT = {
    "numpy": (CELL, cell, "numpy", {"forward"}),
    "jax": (WEIGHTS, jax_lstm.lstm, "jax", {"forward", "loss", "gradient"}),
    "torch": (WEIGHTS, by_torch, "torch", {"forward", "loss", "gradient"}),
}


@pytest.mark.parametrize("kind", FOUND_OUT)
def test_the_framework_is_found_out_from_what_comes_back(kind):
    weights, port, framework, stages = FOUND_OUT[kind]
    found, notes = find_out(make_case(weights, draw_state=True), Port(port))
    assert (found.framework, notes) == (framework, [])
    report = lstm_parity.check(weights, candidate=port)
    assert report.ok, str(report)
    assert {row.stage for row in report.rows} == stages
    assert {row.dtype for row in report.rows} == {"float64", "float32"}


def test_a_port_without_gradients_agrees_only_in_what_it_returned():
    report = lstm_parity.check(CELL, candidate=cell)
    assert report.verdict().startswith("agree in float64 and float32 outputs and states only: ")
    assert "gradients were not compared: NumPy arrays have none" in str(report)


def float32_scan(params, inputs):
    """The carry is always float32, so a scan over float64 inputs fails."""
    zeros = jnp.zeros((inputs.shape[1], HIDDEN), jnp.float32)

    def step(carry, x):
        h, c = jax_lstm.lstm_cell({name.removesuffix("_l0"): params[name] for name in params}, x, carry)
        return (h, c), h

    return jax.lax.scan(step, (zeros, zeros), inputs)[1]


class Float32Module:
    """torch's own module with float32 weights, which fails on float64 inputs."""

    def __call__(self, params, inputs):
        module = torch.nn.LSTM(5, HIDDEN)
        module.load_state_dict(params)
        return module(inputs)[0]


@pytest.mark.parametrize("port", [float32_scan, Float32Module()], ids=["a JAX scan", "a torch module"])
def test_a_port_that_computes_in_float32_only_is_judged_in_float32_and_told_so(port):
    report = lstm_parity.check(WEIGHTS, candidate=port)
    assert report.ok, str(report)
    assert {row.dtype for row in report.rows} == {"float32"}
    assert "the port computes in float32 only" in str(report)
    assert "float32" in report.verdict()
    assert "float64" not in report.verdict()


def test_a_port_that_jax_cannot_differentiate_agrees_in_outputs_only():
    def port(params, inputs):
        return jnp.asarray(np.asarray(jax_lstm.lstm(params, inputs)[0]))

    report = lstm_parity.check(WEIGHTS, candidate=port)
    assert report.verdict().startswith("agree in float64 and float32 outputs only: ")
    assert "JAX cannot differentiate the port" in str(report)


def test_a_port_that_fails_on_all_kinds_of_arrays_is_an_input_error():
    with pytest.raises(InputError, match="the candidate failed: ZeroDivisionError"):
        lstm_parity.check(WEIGHTS, candidate=lambda params, inputs: 1 / 0)
