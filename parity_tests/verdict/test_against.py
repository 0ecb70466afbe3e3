"""Ports judged against torch: someone else's function in NumPy, JAX or torch, in any layout, or an ONNX model."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import jax_lstm
import lstm_parity
from lstm_parity.compare.places import GradientLocation, OutputLocation
from lstm_parity.sides.case import make_case
from lstm_parity.sides.load_port import load_port
from lstm_parity.sides.port import FRAMEWORKS, Port, observe, outputs_of
from lstm_shared import InputError, init_forecaster, init_lstm, save, to_layout
from torch_lstm.explicit import run

RNG = np.random.default_rng(5)
SHAPE = (6, 2, 5)
INPUTS = RNG.standard_normal(SHAPE)


def model(**options) -> dict[str, np.ndarray]:
    weights = init_lstm(5, 4, dtype=np.float64, **options)
    return {name: array + 0.3 * RNG.standard_normal(array.shape) for name, array in weights.items()}


WEIGHTS = model(num_layers=2, bidirectional=True)


def numpy_lstm(params, inputs):
    """A port in plain NumPy: one layer, one direction, outputs only."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    h = c = np.zeros((inputs.shape[1], params["weight_hh_l0"].shape[1]), inputs.dtype)
    outputs = []
    for x in inputs:
        gates = (
            x @ params["weight_ih_l0"].T + h @ params["weight_hh_l0"].T + params["bias_ih_l0"] + params["bias_hh_l0"]
        )
        i, f, g, o = np.split(gates, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


def torch_lstm_port(params, inputs, state=None, lengths=None):
    outputs, states, _ = run(params, inputs, state, lengths=lengths)
    return outputs, states


def jax_port(params, inputs, **given):
    return jax_lstm.lstm(params, inputs, **given)


def linen_port(params, inputs):
    import flax.linen as nn

    cells = {
        place: nn.RNN(
            nn.OptimizedLSTMCell(4, param_dtype=inputs.dtype),
            time_major=True,
            reverse="reverse" in place,
            keep_order=True,
        )
        for place in params
    }
    for layer in ("l0", "l1"):
        both = [cells[p].apply({"params": {"cell": params[p]}}, inputs) for p in (layer, f"{layer}_reverse")]
        inputs = jnp.concatenate(both, axis=-1)
    return inputs


PORTS = {
    "numpy, outputs only": (model(), Port(numpy_lstm), {"forward"}),
    "jax, all": (WEIGHTS, Port(jax_port, framework="jax"), {"forward", "loss", "gradient"}),
    "torch, all": (WEIGHTS, Port(torch_lstm_port, framework="torch"), {"forward", "loss", "gradient"}),
    "flax linen cells": (WEIGHTS, Port(linen_port, "flax-linen", "jax"), {"forward", "loss", "gradient"}),
}


@pytest.mark.parametrize("port", PORTS)
def test_a_right_port_agrees(port):
    weights, candidate, stages = PORTS[port]
    report = lstm_parity.check(weights, INPUTS, candidate=candidate)
    assert report.ok, str(report)
    assert {row.stage for row in report.rows} == stages
    assert {row.sides for row in report.rows} == {("candidate", "torch")}
    if "gradient" in stages and candidate.layout == "torch":
        assert {row.name for row in report.rows if row.stage == "gradient"} == {*weights, "inputs"}


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_states_and_lengths_are_handed_on(framework):
    state = (RNG.standard_normal((4, 2, 4)), RNG.standard_normal((4, 2, 4)))
    candidate = Port(jax_port if framework == "jax" else torch_lstm_port, framework=framework)
    report = lstm_parity.check(WEIGHTS, INPUTS, state=state, lengths=[6, 3], candidate=candidate)
    assert report.ok, str(report)
    assert {row.name for row in report.rows if row.stage == "forward"} == {"outputs", "h_n", "c_n"}


def test_a_port_that_ignores_lengths_is_caught():
    def careless(params, inputs, lengths=None):
        return jax_lstm.lstm(params, inputs)

    report = lstm_parity.check(WEIGHTS, INPUTS, lengths=[6, 3], candidate=Port(careless, framework="jax"))
    first = report.first_divergence
    assert first is not None
    assert (first.stage, first.name) == ("forward", "outputs")


def test_a_wrong_gate_order_is_caught_where_it_begins():
    def swapped(params, inputs):
        i, f, g, o = np.split(params["weight_ih_l0"], 4)
        return numpy_lstm({**params, "weight_ih_l0": np.concatenate([i, g, f, o])}, inputs)

    first = lstm_parity.check(model(), INPUTS, candidate=swapped).first_divergence
    assert first is not None
    assert first.where[0] == 0


def test_what_stands_in_the_padding_allows_no_wrong_gradient():
    def port(params, inputs, state=None, lengths=None):
        weight = params["weight_ih_l0"]
        half_more = weight + 0.5 * (weight - jax.lax.stop_gradient(weight))
        return jax_lstm.lstm({**params, "weight_ih_l0": half_more}, inputs, state, lengths=lengths)

    padded = INPUTS.copy()
    padded[3:, 1] = 1e30
    report = lstm_parity.check(
        WEIGHTS, padded, lengths=[6, 3], candidate=Port(port, framework="jax"), dtypes=["float64"]
    )
    assert {(row.stage, row.name) for row in report.rows if not row.ok} == {("gradient", "weight_ih_l0")}


def test_a_wrong_gradient_behind_right_outputs_is_caught():
    @jax.custom_vjp
    def bent(x):
        return x

    bent.defvjp(lambda x: (x, None), lambda _, g: (g * (1 + 1e-9),))

    def port(params, inputs):
        return jax_lstm.lstm({**params, "weight_hh_l1": bent(params["weight_hh_l1"])}, inputs)

    report = lstm_parity.check(WEIGHTS, INPUTS, candidate=Port(port, framework="jax"), dtypes=["float64"])
    assert [(row.stage, row.name) for row in report.rows if not row.ok] == [("gradient", "weight_hh_l1")]


# Where a port first differs: these ports are right but for one place


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_first_wrong_step_row_and_unit_of_outputs_are_named_and_how_the_error_grows(batch_first):
    def port(params, inputs, batch_first=False):
        outputs = numpy_lstm(params, inputs.swapaxes(0, 1) if batch_first else inputs)
        outputs[5, 0, 0] += 1e-3  # first in the array if the batch comes first, but last in time
        outputs[3:, 1, 2] += 1e-6 * 3.0 ** np.arange(3)
        return outputs.swapaxes(0, 1) if batch_first else outputs

    inputs = INPUTS.swapaxes(0, 1) if batch_first else INPUTS
    report = lstm_parity.check(model(), inputs, batch_first=batch_first, candidate=port, dtypes=["float64"])
    first = report.first_divergence
    assert first is not None
    place = first.location
    assert isinstance(place, OutputLocation)
    assert (place.step, place.row, place.unit, place.direction) == (3, 1, 2, "forward")
    assert place.tolerance == first.tolerance
    assert place.values[1] - place.values[0] == pytest.approx(1e-6, rel=1e-6)
    assert place.growth == pytest.approx(1000**0.5, rel=0.5)
    assert str(place).startswith("first difference at step 3, batch row 1, unit 2: ")
    assert f"the error changes by a factor of {place.growth:.3g} per step" in str(place)
    assert str(place) in report.failures()
    assert " ".join(str(place).split()) in " ".join(str(report).split())
    content = json.loads(report.to_json())
    assert content["location"] == str(place)
    assert content["first_divergence"]["location"]["errors"] == pytest.approx(list(place.errors))
    assert [row["location"] is not None for row in content["rows"]] == [True]


def test_a_wrong_reverse_half_is_named_from_its_end():
    def port(params, inputs):
        outputs = jax_lstm.lstm(params, inputs)[0]
        return outputs.at[:4, 1, 6].add(1e-6)

    report = lstm_parity.check(WEIGHTS, INPUTS, candidate=Port(port, framework="jax"), dtypes=["float64"])
    assert report.location.startswith("first difference at step 3, batch row 1, unit 6 (reverse direction, ")


def test_what_no_step_tells_has_no_place_beyond_its_index():
    def port(params, inputs):
        outputs, (h_n, c_n) = jax_lstm.lstm(params, inputs)
        return outputs, (h_n, c_n.at[2, 1, 3].add(1e-6))

    report = lstm_parity.check(WEIGHTS, INPUTS, candidate=Port(port, framework="jax"), dtypes=["float64"])
    first = report.first_divergence
    assert first is not None
    assert (first.name, first.where, first.location, report.location) == ("c_n", (2, 1, 3), None, "")
    assert json.loads(report.to_json())["first_divergence"]["where"] == [2, 1, 3]


ENTRIES = {
    "weight_hh_l1": ((6, 2), "forget gate, row 2, column 2"),
    "weight_ih_l0": ((1, 4), "input gate, row 1, column 4"),
    "weight_ih_l1_reverse": ((15, 7), "output gate, row 3, column 7"),
    "bias_hh_l0_reverse": ((8,), "candidate gate, row 0"),
    "inputs": ((5, 1, 3), "element [5, 1, 3]"),
}


@pytest.mark.parametrize("framework", ["jax", "torch"])
@pytest.mark.parametrize("name", ENTRIES)
def test_one_wrong_entry_of_a_gradient_is_named_by_its_gate_and_row(name, framework):
    index, said = ENTRIES[name]

    def in_torch(params, inputs):
        def scaled(gradient):
            gradient = gradient.clone()
            gradient[index] *= 1.001
            return gradient

        leaves = {**params, "inputs": inputs}
        leaves[name] = leaves[name].clone()
        leaves[name].register_hook(scaled)
        inputs = leaves.pop("inputs")
        return run(leaves, inputs)[0]

    def in_jax(params, inputs):
        leaves = {**params, "inputs": inputs}
        array = leaves[name]
        # this adds zero, but with a derivative at one place
        leaves[name] = array + (array - jax.lax.stop_gradient(array)) * jnp.zeros_like(array).at[index].set(1e-3)
        inputs = leaves.pop("inputs")
        return jax_lstm.lstm(leaves, inputs)[0]

    candidate = Port(in_jax if framework == "jax" else in_torch, framework=framework)
    report = lstm_parity.check(WEIGHTS, INPUTS, candidate=candidate, dtypes=["float64"])
    assert [(row.stage, row.name) for row in report.rows if not row.ok] == [("gradient", name)]
    first = report.first_divergence
    assert first is not None
    place = first.location
    assert isinstance(place, GradientLocation)
    assert (place.name, place.index) == (name, index)
    assert place.values[1] == pytest.approx(1.001 * place.values[0], rel=1e-6)
    assert report.location.startswith(f"first difference in the gradient of {name}, {said}: ")
    assert report.location in report.failures()


def test_a_wrong_forward_pass_is_located_and_not_what_it_does_to_the_gradients():
    def port(params, inputs):
        return jax_lstm.lstm({**params, "weight_hh_l0": params["weight_hh_l0"] * (1 + 1e-6)}, inputs)

    report = lstm_parity.check(WEIGHTS, INPUTS, candidate=Port(port, framework="jax"))
    located = [(row.stage, row.name, row.dtype) for row in report.rows if row.location is not None]
    assert located[0] == ("forward", "outputs", "float64")
    assert {stage for stage, _, _ in located} == {"forward"}
    assert any(row.stage == "gradient" and not row.ok for row in report.rows)


def test_the_command_line_names_the_place_in_the_report_the_json_and_the_page(tmp_path, cli):
    save(tmp_path / "weights.npz", WEIGHTS)
    (tmp_path / "port.py").write_text(
        "import jax, jax.numpy as jnp, jax_lstm\n"
        "def outputs(params, inputs):\n"
        "    return jax_lstm.lstm(params, inputs)[0].at[7:, 2, 1].add(1e-3)\n"
        "def gradient(params, inputs):\n"
        "    w = params['weight_hh_l1']\n"
        "    w = w + (w - jax.lax.stop_gradient(w)) * jnp.zeros_like(w).at[6, 2].set(1e-3)\n"
        "    return jax_lstm.lstm({**params, 'weight_hh_l1': w}, inputs)\n"
    )
    places = {
        "outputs": "first difference at step 7, batch row 2, unit 1: ",
        "gradient": "first difference in the gradient of weight_hh_l1, forget gate, row 2, column 2: ",
    }
    for port, said in places.items():
        written = ["--json", tmp_path / "report.json", "--html", tmp_path / "report.html", "--dtypes", "float64"]
        ran = cli(
            "check",
            tmp_path / "weights.npz",
            "--against",
            f"{tmp_path / 'port.py'}:{port}",
            "--framework",
            "jax",
            *written,
        )
        assert ran.code == 1
        assert f"\n{said}" in ran.out
        assert json.loads((tmp_path / "report.json").read_text())["location"].startswith(said)
        assert f"<p>{said}" in (tmp_path / "report.html").read_text()


def test_a_port_in_float32_is_judged_as_float32():
    report = lstm_parity.check(
        model(), INPUTS, candidate=lambda p, x: numpy_lstm(p, x).astype(np.float32), dtypes=["float64"]
    )
    assert report.ok, str(report)
    assert {row.dtype for row in report.rows} == {"float32"}


def test_forecasters_and_cells_too():
    weights = init_forecaster(5, 4, 2, dtype=np.float64)
    port = Port(lambda p, x: jax_lstm.forecast(p, x, batch_first=True), framework="jax")
    assert lstm_parity.check(weights, candidate=port).ok
    cell = {name.removesuffix("_l0"): array for name, array in model().items()}
    assert lstm_parity.check(cell, candidate=Port(jax_lstm.lstm_cell, framework="jax")).ok


def onnx_file(path, weights):
    tree = to_layout({name: array.astype(np.float32) for name, array in weights.items()}, "onnx")
    node = helper.make_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=4)
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, 5])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 1, None, 4])],
        [onnx.numpy_helper.from_array(tree[name], name) for name in ("W", "R", "B")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.save(model, path)
    return path


def test_an_onnx_model_is_run_and_judged(tmp_path, cli):
    weights = model()
    save(tmp_path / "weights.safetensors", weights)
    right = onnx_file(tmp_path / "right.onnx", weights)
    ran = cli("check", tmp_path / "weights.safetensors", "--against", right)
    assert ran.code == 0
    assert "candidate against torch, closest to the limit first" in ran.out
    assert "agree in float32 outputs only" in ran.out
    wrong = onnx_file(tmp_path / "wrong.onnx", {**weights, "bias_hh_l0": 0 * weights["bias_hh_l0"]})
    ran = cli("check", tmp_path / "weights.safetensors", "--against", wrong)
    assert ran.code == 1
    assert "first in forward, outputs at [0, 0, 0]" in ran.out


def test_a_function_in_a_file_is_loaded_and_judged(tmp_path, cli):
    save(tmp_path / "weights.npz", WEIGHTS)
    (tmp_path / "port.py").write_text(
        "import jax_lstm\n"
        "def right(params, inputs):\n    return jax_lstm.lstm(params, inputs)\n"
        "def wrong(params, inputs):\n    return jax_lstm.lstm(params, inputs[::-1])\n"
    )
    file = tmp_path / "weights.npz"
    assert cli("check", file, "--against", f"{tmp_path / 'port.py'}:right", "--framework", "jax").code == 0
    ran = cli("check", file, "--against", f"{tmp_path / 'port.py'}:wrong", "--framework", "jax")
    assert ran.code == 1
    assert "verdict: differ" in ran.out


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "expected module:function"),
        ("no_such_module:port", "cannot import no_such_module: ModuleNotFoundError"),
        ("numpy:no_such_function", "numpy has no 'no_such_function'"),
        ("numpy:pi", "the candidate is a float, expected a function"),
        ("missing.onnx", "there is no such file"),
    ],
)
def test_a_candidate_that_is_not_there_is_named(source, message):
    with pytest.raises(InputError, match=message):
        load_port(source)


def wordless(params, inputs):
    raise AssertionError


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (lambda params, inputs: 1 / 0, "the candidate failed: ZeroDivisionError"),
        (lambda params, inputs: inputs[0], r"outputs has shape \(2, 5\), expected \(6, 2, 4\)"),
        (lambda params, inputs: (1, 2, 3), "returned a tuple of 3 items, expected outputs or"),
        (lambda params: 0, "the candidate failed: TypeError"),
        (wordless, "the candidate failed: AssertionError: no message$"),
    ],
)
def test_a_candidate_that_breaks_is_an_input_error(port, message):
    with pytest.raises(InputError, match=message):
        lstm_parity.check(model(), INPUTS, candidate=port)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_candidate_that_fails_leaves_the_settings_as_they_were(framework):
    before = torch.get_float32_matmul_precision(), jax.config.jax_default_matmul_precision, jax.config.jax_enable_x64
    case = make_case(model(), INPUTS)
    for observing in (observe, outputs_of):
        with pytest.raises(InputError, match=r"^the candidate failed: AssertionError: no message$") as caught:
            observing(case, Port(wordless, framework=framework))
        assert isinstance(caught.value.__cause__, AssertionError)
    after = torch.get_float32_matmul_precision(), jax.config.jax_default_matmul_precision, jax.config.jax_enable_x64
    assert before == after


def test_wrong_options_are_named_at_once():
    with pytest.raises(InputError) as caught:
        Port(numpy_lstm, "pytorch", "tensorflow")  # pyright: ignore
    assert len(caught.value.problems) == 2


@pytest.fixture
def port_file(tmp_path):
    save(tmp_path / "weights.npz", model())
    (tmp_path / "port.py").write_text(
        "import jax_lstm, numpy as np\n"
        "def right(params, inputs):\n    return jax_lstm.lstm(params, inputs)\n"
        "def doubled(params, inputs):\n"
        "    return jax_lstm.lstm({**params, 'bias_hh_l0': 2 * params['bias_hh_l0']}, inputs)\n"
        "def noisy(params, inputs):\n"
        "    outputs, _ = jax_lstm.lstm(params, inputs)\n"
        "    return outputs * (np.random.default_rng().random(outputs.shape) < 0.5)\n"
        "def broken(params, inputs):\n    raise RuntimeError('no such thing')\n"
    )
    return tmp_path / "port.py"


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("right", 0, "nothing to explain"),
        ("doubled", 1, "doubled-bias:bias_hh"),
        ("noisy", 1, "from call to call"),
    ],
)
def test_diagnose_runs_the_port_itself(cli, tmp_path, port_file, name, code, said):
    weights = tmp_path / "weights.npz"
    ran = cli("diagnose", "--weights", weights, "--against", f"{port_file}:{name}", "--framework", "jax")
    assert ran.code == code
    assert said in ran.out


def test_diagnose_refuses_what_does_not_go_together(cli, tmp_path, port_file):
    weights = tmp_path / "weights.npz"
    assert cli("diagnose", "--weights", weights).problems == [
        "--inputs is required, unless --against is given",
        "--outputs is required, unless --against is given",
    ]
    ran = cli("diagnose", "--weights", weights, "--against", f"{port_file}:right", "--outputs", "outputs.npy")
    assert ran.problems == ["--outputs: cannot be combined with --against, which runs the port for its outputs"]
    ran = cli("diagnose", "--weights", weights, "--inputs", "x.npy", "--outputs", "y.npy", "--layout", "keras")
    assert ran.problems == ["--layout: needs a port to run: add --against"]
    ran = cli("diagnose", "--weights", weights, "--against", f"{port_file}:broken")
    assert ran.problems == ["the candidate failed: RuntimeError: no such thing"]
