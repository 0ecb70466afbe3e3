"""Every model of the four kinds is found inside a larger checkpoint, under its prefix."""

import numpy as np
import pytest
import torch
from torch import nn

from lstm_shared import (
    CellSpec,
    ForecasterSpec,
    LSTMSpec,
    WeightsError,
    describe,
    find_models,
    init_by_hand,
    init_forecaster,
    init_lstm,
)
from lstm_shared.find_models import under_prefix
from lstm_shared.possible_models import possible_models
from lstm_shared.specs import ByHandSpec


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 4, bidirectional=True)
        self.fc = nn.Linear(8, 2)


class Checkpoint(nn.Module):
    """As a Lightning module's state dict: several models among layers of other kinds."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.encoder = nn.LSTM(6, 3, num_layers=2, bidirectional=True)
        self.norm = nn.LayerNorm(6)
        self.decoder = nn.ModuleDict({"cell": nn.LSTMCell(6, 7, bias=False)})
        self.gru = nn.GRU(6, 4)
        self.price = Head()
        self.simple = nn.ParameterDict({name: torch.tensor(value) for name, value in init_by_hand().items()})
        self.fc = nn.Linear(7, 11)


SPECS = {
    "encoder.": LSTMSpec(6, 3, num_layers=2, bidirectional=True),
    "decoder.cell.": CellSpec(6, 7, bias=False),
    "price.": ForecasterSpec(LSTMSpec(5, 4, bidirectional=True), 2),
    "simple.": ByHandSpec(),
}


@pytest.mark.parametrize("outer", ["", "model.", "model.module."])
def test_every_model_is_found_and_nothing_else(outer):
    checkpoint = {outer + name: array for name, array in Checkpoint().state_dict().items()}
    assert find_models(checkpoint) == {outer + prefix: spec for prefix, spec in SPECS.items()}


def test_what_only_looks_like_a_model_is_a_candidate():
    candidates = possible_models(Checkpoint().state_dict())
    assert set(candidates) == {*SPECS, "gru."}
    assert candidates["gru."] == ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert candidates["price."][-2:] == ("fc.weight", "fc.bias")


def test_the_names_of_a_candidate_describe_its_model():
    checkpoint = Checkpoint().state_dict()
    for prefix, names in possible_models(checkpoint).items():
        if prefix in SPECS:
            assert describe({name: checkpoint[prefix + name] for name in names}) == SPECS[prefix]


@pytest.mark.parametrize("spec", [LSTMSpec(5, 4), ByHandSpec(), CellSpec(5, 4), ForecasterSpec(LSTMSpec(5, 4), 2)])
def test_a_model_at_the_top_has_no_prefix(spec):
    weights = {name: np.ones(shape) for name, shape in spec.shapes.items()}
    assert find_models(weights) == {"": spec}


ROOT_MODELS = {
    "an LSTM": init_lstm(5, 4),
    "an LSTM cell": {name: np.ones(shape, np.float32) for name, shape in CellSpec(5, 4).shapes.items()},
    "a forecaster": init_forecaster(5, 4, 2),
    "a by-hand model": init_by_hand(),
    "a model": dict(nn.GRU(5, 4).state_dict()),  # by its form; what is wrong with it is said when it is read
}


@pytest.mark.parametrize("what", ROOT_MODELS)
def test_a_prefix_where_the_model_is_at_the_root_is_answered_with_the_root(what):
    with pytest.raises(WeightsError) as caught:
        under_prefix(ROOT_MODELS[what], "encoder")
    assert str(caught.value) == f"nothing under the prefix 'encoder.'; there is {what} without a prefix"


def test_a_model_with_a_wrong_array_is_left_out_but_stays_a_candidate():
    weights = {f"a.{name}": array for name, array in init_lstm(5, 4).items()}
    weights |= {f"b.{name}": array for name, array in init_lstm(5, 4).items()}
    weights["b.bias_ih_l0"] = np.ones(3, np.float32)
    assert find_models(weights) == {"a.": LSTMSpec(5, 4)}
    assert set(possible_models(weights)) == {"a.", "b."}


def test_a_module_whose_name_only_ends_in_lstm_is_no_forecaster():
    weights = {f"bilstm.{name}": array for name, array in init_lstm(5, 4).items()}
    weights |= {"fc.weight": np.ones((2, 4), np.float32), "fc.bias": np.ones(2, np.float32)}
    assert find_models(weights) == {"bilstm.": LSTMSpec(5, 4)}


def test_an_lstm_without_a_head_is_itself():
    assert find_models({f"lstm.{name}": a for name, a in init_lstm(5, 4).items()}) == {"lstm.": LSTMSpec(5, 4)}


@pytest.mark.parametrize("weights", [{}, {"weight": np.ones(3)}, dict(nn.GRU(5, 4).state_dict())])
def test_where_there_is_none_none_is_found(weights):
    assert find_models(weights) == {}
