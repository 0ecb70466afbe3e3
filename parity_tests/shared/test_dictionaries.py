"""New dictionaries: drawn as torch draws them, from a seed; the by-hand model as an nn.LSTM(1, 1)."""

import ml_dtypes
import numpy as np
import pytest
import torch

from lstm_shared import BY_HAND, InputError, LSTMSpec, WeightsError, by_hand_to_lstm, describe, init_by_hand, init_lstm

DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("hidden_size", [1, 4, 64])
def test_lstm_weights_are_uniform_within_the_root_of_the_hidden_size(hidden_size):
    weights = init_lstm(300, hidden_size, num_layers=2, bidirectional=True, dtype=np.float64)
    bound = hidden_size**-0.5
    drawn = np.sort(np.concatenate([array.ravel() for array in weights.values()]))
    assert -bound <= drawn[0] < drawn[-1] <= bound
    # Kolmogorov-Smirnov: the distance from the uniform distribution is below 2 / sqrt(n) but for once in 3,000 draws
    uniform = np.linspace(-bound, bound, drawn.size)
    assert np.abs(drawn - uniform).max() / (2 * bound) < 2 / np.sqrt(drawn.size)


def test_no_two_arrays_and_no_two_biases_are_alike():
    weights = init_lstm(4, 4, num_layers=2, bidirectional=True, dtype=np.float64)
    drawn = np.concatenate([array.ravel() for array in weights.values()])
    assert np.unique(drawn).size == drawn.size
    assert np.all(drawn != 0)


@pytest.mark.parametrize("draw", [init_by_hand, lambda seed: init_lstm(5, 4, seed=seed)], ids=["by hand", "LSTM"])
def test_a_seed_gives_the_same_numbers_and_another_seed_others(draw):
    first, again, other = draw(3), draw(3), draw(4)
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)
    assert any(not np.array_equal(other[name], array) for name, array in first.items())


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_a_draw_in_another_dtype_is_the_float64_draw_rounded(dtype):
    for draw in (init_by_hand, lambda seed, dtype: init_lstm(5, 4, seed=seed, dtype=dtype)):
        exact, rounded = draw(1, np.float64), draw(1, dtype)
        assert {array.dtype for array in rounded.values()} == {np.dtype(dtype)}
        for name, array in rounded.items():
            np.testing.assert_array_equal(array, exact[name].astype(dtype))


def test_the_default_dtype_is_float32():
    assert {array.dtype for array in (*init_by_hand().values(), *init_lstm(5, 4).values())} == {np.dtype(np.float32)}


def test_by_hand_weights_are_normal_and_biases_zero():
    draws = [init_by_hand(seed, np.float64) for seed in range(2000)]
    assert list(draws[0]) == list(BY_HAND)
    for name in BY_HAND:
        values = np.array([draw[name] for draw in draws])
        if name.startswith("b"):
            assert not values.any()
        else:  # four standard errors
            assert abs(values.mean()) < 4 / np.sqrt(2000)
            assert abs(values.var() - 1) < 4 * np.sqrt(2 / 2000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"input_size": 0}, "input_size is 0, expected a positive whole number"),
        ({"hidden_size": -1}, "hidden_size is -1, expected a positive whole number"),
        ({"hidden_size": 2.0}, "hidden_size is 2.0, expected a positive whole number"),
        ({"hidden_size": "4"}, "hidden_size is '4', expected a positive whole number"),
        ({"input_size": True}, "input_size is True, expected a positive whole number"),
        ({"num_layers": None}, "num_layers is None, expected a positive whole number"),
        ({"proj_size": 4}, "proj_size is 4, expected less than hidden_size, which is 4"),
        ({"proj_size": -1}, "proj_size is -1, expected a whole number, 0 for none"),
        ({"proj_size": 1.5}, "proj_size is 1.5, expected a whole number, 0 for none"),
        ({"seed": -1}, "seed is -1, expected a whole number, 0 or larger"),
        ({"dtype": np.int32}, "dtype is int32, expected a floating-point one, such as float32"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_an_argument_that_cannot_be_is_refused(arguments, said):
    with pytest.raises(InputError) as caught:
        init_lstm(**{"input_size": 5, "hidden_size": 4, **arguments})
    assert caught.value.problems == (said,)


def test_all_arguments_that_cannot_be_are_said_at_once():
    with pytest.raises(InputError) as caught:
        init_lstm(0, -1, num_layers=1.5, proj_size=-2, seed=-3, dtype=int)
    assert [line.split(" is ")[0] for line in caught.value.problems] == [
        "input_size",
        "hidden_size",
        "num_layers",
        "proj_size",
        "seed",
        "dtype",
    ]


@pytest.mark.parametrize(("seed", "dtype", "lines"), [(-1, np.float32, 1), (0.5, int, 2)])
def test_a_by_hand_draw_that_cannot_be_is_refused(seed, dtype, lines):
    with pytest.raises(InputError) as caught:
        init_by_hand(seed, dtype)
    assert len(caught.value.problems) == lines


def test_numpy_whole_numbers_are_sizes():
    assert describe(init_lstm(np.int64(5), np.int32(4), proj_size=np.uint8(3))) == LSTMSpec(5, 4, proj_size=3)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_the_by_hand_model_is_an_nn_lstm_with_one_bias(dtype):
    scalars = {name: np.asarray(at + 0.5, dtype) for at, name in enumerate(BY_HAND)}
    weights = by_hand_to_lstm(scalars)
    assert describe(weights) == LSTMSpec(1, 1)
    assert {array.dtype for array in weights.values()} == {np.dtype(dtype)}
    for name, gates in {
        "weight_ih_l0": ("wpr2", "wlr2", "wp2", "wo2"),
        "weight_hh_l0": ("wpr1", "wlr1", "wp1", "wo1"),
        "bias_ih_l0": ("bpr1", "blr1", "bp1", "bo1"),
    }.items():
        assert weights[name].ravel().tolist() == [scalars[gate].item() for gate in gates]
    assert not weights["bias_hh_l0"].any()


def test_torch_loads_both_kinds_of_new_dictionary():
    for weights, module in (
        (init_lstm(5, 4, proj_size=3, num_layers=2), torch.nn.LSTM(5, 4, proj_size=3, num_layers=2)),
        (by_hand_to_lstm(init_by_hand()), torch.nn.LSTM(1, 1)),
    ):
        module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()}, strict=True)
        for name, tensor in module.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), weights[name])


def test_another_model_does_not_become_an_nn_lstm():
    weights = init_by_hand()
    del weights["wo1"]
    with pytest.raises(WeightsError, match="wo1 is missing"):
        by_hand_to_lstm(weights)
