"""A dictionary says which model it is, and how it departs from one: every name, every shape, all at once."""

import re
from itertools import product

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from lstm_shared import BY_HAND, CellSpec, ForecasterSpec, LSTMSpec, WeightsError, describe, init_by_hand, init_lstm
from lstm_shared.describe import require_by_hand
from lstm_shared.specs import ByHandSpec


def problems(weights) -> tuple[str, ...]:
    with pytest.raises(WeightsError) as caught:
        describe(weights)
    return caught.value.problems


def shapes(weights) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(array.shape)) for name, array in weights.items()]


def forecaster(**options) -> dict[str, np.ndarray]:
    """Input 5, hidden 4, two outputs."""
    lstm = init_lstm(5, 4, **options)
    features = LSTMSpec(5, 4, **options).output_size
    head = {"fc.weight": np.ones((2, features), np.float32), "fc.bias": np.ones(2, np.float32)}
    return {f"lstm.{name}": array for name, array in lstm.items()} | head


CONFIGURATIONS = list(product((1, 2, 3), (False, True), (0, 3), (True, False)))
CONFIGURATION_IDS = [
    f"{layers}-layer{'-bidirectional' * both}{'-projected' * bool(proj)}{'-no-bias' * (not bias)}"
    for layers, both, proj, bias in CONFIGURATIONS
]


@pytest.fixture(params=CONFIGURATIONS, ids=CONFIGURATION_IDS)
def configuration(request) -> dict[str, int | bool]:
    return dict(zip(("num_layers", "bidirectional", "proj_size", "bias"), request.param, strict=True))


# What is recognised


def test_an_lstm_dictionary_is_torchs_state_dict(configuration):
    module = nn.LSTM(5, 4, **configuration)
    spec = LSTMSpec(5, 4, **configuration)
    assert describe(module.state_dict()) == spec
    assert list(spec.shapes.items()) == shapes(module.state_dict())
    drawn = init_lstm(5, 4, **configuration)
    assert shapes(drawn) == shapes(module.state_dict())
    assert describe(drawn) == spec


def test_the_order_of_the_names_does_not_matter(configuration):
    weights = init_lstm(5, 4, **configuration)
    assert describe(dict(sorted(weights.items(), reverse=True))) == LSTMSpec(5, 4, **configuration)


def test_sizes_follow_from_the_specification(configuration):
    spec = LSTMSpec(5, 4, **configuration)
    outputs, (h_n, c_n) = nn.LSTM(5, 4, dtype=torch.float64, **configuration)(torch.zeros(6, 5, dtype=torch.float64))
    assert outputs.shape == (6, spec.output_size)
    assert h_n.shape == (spec.num_layers * len(spec.directions), spec.state_size)
    assert c_n.shape == (spec.num_layers * len(spec.directions), spec.hidden_size)


@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_dictionary_is_torchs_state_dict(bias):
    module = nn.LSTMCell(5, 4, bias=bias)
    spec = describe(module.state_dict())
    assert spec == CellSpec(5, 4, bias)
    assert list(spec.shapes.items()) == shapes(module.state_dict())


def test_a_forecaster_is_an_lstm_and_a_head(configuration):
    spec = describe(forecaster(**configuration))
    assert spec == ForecasterSpec(LSTMSpec(5, 4, **configuration), 2)
    assert list(spec.shapes.items()) == shapes(forecaster(**configuration))


@pytest.mark.parametrize("scalar", [float, np.float64, np.asarray, torch.tensor, jax.numpy.asarray])
def test_twelve_scalars_of_any_framework_are_the_by_hand_model(scalar):
    weights = {name: scalar(0.5) for name in BY_HAND}
    assert describe(weights) == ByHandSpec()
    require_by_hand(weights)


def test_arrays_of_any_framework_and_traced_ones_are_described():
    spec = LSTMSpec(5, 4, num_layers=2)
    arrays = init_lstm(5, 4, num_layers=2)
    seen = []

    @jax.jit
    def traced(weights):
        seen.append(describe(weights))
        return weights["bias_ih_l0"]

    traced(arrays)
    for convert in (torch.tensor, jax.numpy.asarray):
        seen.append(describe({name: convert(array) for name, array in arrays.items()}))
    assert seen == [spec] * 3


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
def test_every_floating_dtype_is_welcome(dtype):
    assert describe(init_lstm(5, 4, dtype=dtype)) == LSTMSpec(5, 4)
    tensors = {name: torch.zeros((), dtype=getattr(torch, np.dtype(dtype).name)) for name in BY_HAND}
    assert describe(tensors) == ByHandSpec()


# What is refused


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (nn.GRU(5, 4), "a GRU"),
        (nn.GRU(5, 4, num_layers=2, bidirectional=True), "a GRU"),
        (nn.GRU(5, 1, bias=False), "a GRU"),
        (nn.GRUCell(5, 4), "a GRU"),
        (nn.RNN(5, 4), "a plain RNN"),
        (nn.RNN(5, 4, num_layers=3), "a plain RNN"),
        (nn.RNNCell(5, 4), "a plain RNN"),
    ],
    ids=str,
)
def test_another_recurrent_network_is_called_by_its_name(module, what):
    (line,) = problems(module.state_dict())
    assert line.startswith(f"this is {what}, not an LSTM: weight_hh has ")


def test_a_forecaster_over_a_gru_is_called_by_its_name():
    weights = {f"lstm.{name}": array for name, array in nn.GRU(5, 4).state_dict().items()}
    (line,) = problems(weights | {"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(2)})
    assert line.startswith("this is a GRU")


def test_an_empty_dictionary_is_refused():
    assert problems({}) == ("the dictionary is empty",)


def test_unknown_names_are_listed_five_and_counted():
    (line,) = problems({f"w{at}": np.ones(1) for at in range(8)})
    assert line == "no known model has these names: w0, w1, w2, w3, w4 and 3 more"


def test_a_prefixed_model_is_refused_with_its_prefix():
    (line,) = problems({f"net.encoder.{name}": array for name, array in init_lstm(5, 4).items()})
    assert line.endswith("there are models under these prefixes: 'net.encoder.'")


@pytest.mark.parametrize("name", init_lstm(5, 4, num_layers=2, bidirectional=True, proj_size=3))
def test_a_missing_name_is_said_with_its_shape_and_nothing_else_is(name):
    weights = init_lstm(5, 4, num_layers=2, bidirectional=True, proj_size=3)
    shape = weights.pop(name).shape
    (line,) = problems(weights)
    assert line == (
        f"{name} is missing: a 2-layer bidirectional LSTM of input_size 5, hidden_size 4, proj_size 3 has it, "
        f"with shape {shape}"
    )


def test_a_missing_layer_is_missing_by_its_names():
    weights = {name: array for name, array in init_lstm(5, 4, num_layers=3).items() if "_l1" not in name}
    lines = problems(weights)
    assert [line.split(" is missing: a 3-layer")[0] for line in lines] == [
        "weight_ih_l1",
        "weight_hh_l1",
        "bias_ih_l1",
        "bias_hh_l1",
    ]


def test_a_size_that_no_array_tells_is_unknown():
    weights = {name: array for name, array in init_lstm(5, 4, num_layers=2).items() if "_l0" not in name}
    assert problems(weights)[0].endswith("of input_size ?, hidden_size 4 has it, with shape (16, ?)")


def test_a_name_with_a_huge_layer_number_is_refused_in_one_line():
    weights = {"weight_ih_l99999": np.ones((16, 4)), "weight_hh_l99999": np.ones((16, 4))}
    assert problems(weights) == ("expected layers 0 to 99999, found only 99999",)
    assert len(problems({f"weight_ih_l{10**100}": np.ones((16, 4))})) == 1


@pytest.mark.parametrize("extra", ["weight_ih_l0_backward", "weight_ih_l00", "kernel", "weight_hr"])
def test_an_unexpected_name_is_named(extra):
    (line,) = problems(init_lstm(5, 4) | {extra: np.ones((3, 4))})
    assert line.startswith(
        f"{extra} is unexpected: a 1-layer unidirectional LSTM of input_size 5, hidden_size 4 has no"
    )


WRONG = [
    pytest.param(options, name, id=f"{label}-{name}")
    for label, options in (
        ("plain", {}),
        ("no-bias", {"bias": False}),
        ("full", {"num_layers": 2, "bidirectional": True, "proj_size": 3}),
    )
    for name in init_lstm(5, 4, **options)
]


@pytest.mark.parametrize("rank", ["same rank", "scalar"])
@pytest.mark.parametrize(("options", "name"), WRONG)
def test_one_wrong_array_is_the_only_one_blamed(options, name, rank):
    weights = init_lstm(5, 4, **options)
    expected = weights[name].shape
    weights[name] = np.ones((7,) * len(expected) if rank == "same rank" else (), np.float32)
    (line,) = problems(weights)
    if len(options) < 2 and name == "weight_ih_l0":  # the only array that knows the input size
        columns = "7" if rank == "same rank" else re.escape("?")
        assert re.match(rf"weight_ih_l0 has shape \(.*\), expected \(16, {columns}\)", line)
    else:
        assert line.startswith(f"{name} has shape {weights[name].shape}, expected {expected}: (")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("weight_ih_l0", "(4·hidden_size, input_size)"),
        ("weight_ih_l1", "(4·hidden_size, features of the layer below)"),
        ("weight_hh_l1_reverse", "(4·hidden_size, features of h)"),
        ("bias_hh_l0", "(4·hidden_size,)"),
        ("weight_hr_l0", "(proj_size, hidden_size)"),
    ],
)
def test_a_wrong_shape_is_explained(name, why):
    weights = init_lstm(5, 4, num_layers=2, bidirectional=True, proj_size=3)
    weights[name] = weights[name][:-1]
    (line,) = problems(weights)
    assert line.endswith(f": {why}, with a 2-layer bidirectional LSTM of input_size 5, hidden_size 4, proj_size 3")


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("fc.weight", (7, 7), "expected (2, 8): (output size, features of the LSTM's outputs), with"),
        ("fc.weight", (2, 4), "expected (2, 8): (output size, features of the LSTM's outputs), with"),
        ("fc.bias", (), "expected (2,): (output size,), with"),
        ("lstm.weight_hh_l0", (16, 5), "expected (16, 4): (4·hidden_size, features of h), with"),
    ],
)
def test_the_wrong_part_of_a_forecaster_is_the_only_one_blamed(name, shape, said):
    weights = forecaster(bidirectional=True) | {name: np.ones(shape, np.float32)}
    (line,) = problems(weights)
    assert line.startswith(
        f"{name} has shape {shape}, {said} a forecaster of output size 2 over a 1-layer bidirectional"
    )


@pytest.mark.parametrize("name", ["fc.weight", "fc.bias"])
def test_a_forecaster_needs_its_whole_head(name):
    weights = forecaster()
    del weights[name]
    (line,) = problems(weights)
    assert line.startswith(f"{name} is missing: a forecaster of output size 2 over")


def test_a_head_alone_is_refused():
    (line,) = problems({"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(2)})
    assert line.startswith("a forecaster needs an LSTM under 'lstm.' beside its head; this holds fc.bias, fc.weight")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.ones(1), "wo1 has shape (1,), expected (): the by-hand weights are scalars"),
        (1, "wo1 holds int64: weights are floating-point numbers"),
        (True, "wo1 holds bool: weights are floating-point numbers"),
        (1j, "wo1 holds complex128: weights are floating-point numbers"),
        ("1", "wo1 is '1', expected an array of numbers"),
        (None, "wo1 is None, expected an array of numbers"),
        ([1.0, [2.0]], "wo1 is not an array: it holds rows of different lengths"),
        (torch.tensor(1), "wo1 holds int64: weights are floating-point numbers"),
    ],
    ids=["array", "integer", "boolean", "complex", "text", "nothing", "ragged", "integer tensor"],
)
def test_a_by_hand_weight_that_is_no_floating_point_scalar_is_refused(wrong, said):
    assert problems(init_by_hand() | {"wo1": wrong}) == (said,)


def test_sizes_of_zero_hold_no_weights():
    lines = problems({"weight_ih_l0": np.ones((0, 5)), "weight_hh_l0": np.ones((0, 0))})
    assert lines == (
        "weight_ih_l0 has shape (0, 5): a size of 0 holds no weights",
        "weight_hh_l0 has shape (0, 0): a size of 0 holds no weights",
    )


def test_everything_wrong_is_said_at_once():
    weights = init_lstm(5, 4, num_layers=2)
    del weights["bias_hh_l1"]
    weights |= {"weight_hh_l0": np.ones((16, 5), np.float32), "bias_ih_l0": np.ones(16, int), "extra": np.ones(1)}
    assert [line.split(":")[0] for line in problems(weights)] == [
        "bias_hh_l1 is missing",
        "weight_hh_l0 has shape (16, 5), expected (16, 4)",
        "extra is unexpected",
        "bias_ih_l0 holds int64",
    ]


@pytest.mark.parametrize("weights", [{}, init_lstm(1, 1)], ids=["nothing", "an LSTM"])
def test_another_model_is_refused_where_the_by_hand_one_is_needed(weights):
    with pytest.raises(WeightsError, match="a by-hand model is needed") as caught:
        require_by_hand(weights)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].endswith(f"this holds {', '.join(sorted(weights)) or 'nothing'}")


def test_what_is_wrong_with_a_by_hand_model_is_said_where_it_is_needed():
    weights = init_by_hand() | {"wo1": np.ones(2)}
    del weights["blr1"]
    with pytest.raises(WeightsError) as caught:
        require_by_hand(weights)
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "blr1 is missing",
        "wo1 has shape (2,), expected ()",
    ]
