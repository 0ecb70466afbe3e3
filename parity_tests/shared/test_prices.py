"""Prices made ready: windows, scaling without a look ahead, and scores in the price's own unit."""

import ml_dtypes
import numpy as np
import pytest

from lstm_shared.errors import InputError
from lstm_shared.prices.files import read_prices
from lstm_shared.prices.windows import prepare_prices, score_held_out, windows

# Windows


def test_windows_are_every_run_of_days_with_the_day_after():
    inputs, labels = windows([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    assert inputs.tolist() == [[1, 2], [2, 3], [3, 4]]
    assert labels.tolist() == [3, 4, 5]


def test_longest_window_leaves_one_example():
    inputs, labels = windows(np.arange(5.0), 4)
    assert inputs.shape == (1, 4)
    assert labels.tolist() == [4]


def test_windows_keep_a_floating_dtype_and_make_whole_numbers_float64():
    assert [array.dtype for array in windows(np.arange(5, dtype=np.float32), 2)] == [np.float32] * 2
    assert [array.dtype for array in windows(np.arange(5, dtype=ml_dtypes.bfloat16), 2)] == [ml_dtypes.bfloat16] * 2
    assert [array.dtype for array in windows([1, 2, 3], 1)] == [np.float64] * 2


def test_windows_share_no_memory_with_the_series():
    series = np.arange(5.0)
    inputs, labels = windows(series, 2)
    inputs[:], labels[:] = -1, -1
    assert series.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("days", [30, 40])
def test_window_that_is_not_smaller_than_the_series_is_refused_with_the_numbers(days):
    with pytest.raises(
        InputError, match=f"a window of {days} days and the day after need {days + 1} prices"
    ) as refusal:
        windows(np.arange(30.0), days)
    assert "the series has 30" in str(refusal.value)


@pytest.mark.parametrize("days", [0, -1, 2.0, "2", None])
def test_window_that_is_not_a_positive_whole_number_is_refused(days):
    with pytest.raises(InputError, match=r"days is .*, expected a positive whole number"):
        windows(np.arange(30.0), days)


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\), expected one row"),
        (1.0, r"shape \(\), expected one row"),
        ([[1.0], [1.0, 2.0]], "rows of different lengths"),
        (["1", "2", "3"], "expected numbers"),
        ([True, False, True], "expected numbers"),
        ([1j, 2j, 3j], "expected numbers"),
        ([None, 1.0, 2.0], "expected numbers"),
    ],
    ids=["table", "number", "ragged", "text", "booleans", "complex", "objects"],
)
def test_series_that_is_not_one_row_of_numbers_is_refused(series, said):
    with pytest.raises(InputError, match=said):
        windows(series, 2)


# Preparing

TEN_DAYS = np.array([10.0, 12.0, 11.0, 14.0, 18.0, 20.0, 16.0, 15.0, 25.0, 5.0])  # the last two are held out


def test_training_windows_by_hand():
    data = prepare_prices(TEN_DAYS, 6)
    assert data.train[0].tolist() == pytest.approx(np.array([[0, 0.2, 0.1, 0.4, 0.8, 1], [0.2, 0.1, 0.4, 0.8, 1, 0.6]]))
    assert data.train[1].tolist() == pytest.approx([0.6, 0.5])
    assert (data.low, data.high) == (10.0, 20.0)


def test_held_out_windows_look_back_into_the_training_days():
    data = prepare_prices(TEN_DAYS, 6)
    np.testing.assert_allclose(
        data.held_out[0], [[0.1, 0.4, 0.8, 1, 0.6, 0.5], [0.4, 0.8, 1, 0.6, 0.5, 1.5]], rtol=1e-6
    )
    np.testing.assert_allclose(data.held_out[1], [1.5, -0.5], rtol=1e-6)
    assert data.training_prices.tolist() == TEN_DAYS[:8].tolist()
    assert data.held_out_prices.tolist() == TEN_DAYS[8:].tolist()


@pytest.mark.parametrize("held_out_prices", [(0.0, 1.0), (1e6, -1e6), (15.0, 15.0)])
def test_held_out_prices_never_reach_training(held_out_prices):
    other = TEN_DAYS.copy()
    other[8:] = held_out_prices
    before, after = prepare_prices(TEN_DAYS, 4), prepare_prices(other, 4)
    assert (after.low, after.high) == (before.low, before.high)
    for array, expected in zip(after.train, before.train, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert not np.array_equal(after.held_out[1], before.held_out[1])


def test_every_held_out_day_is_the_label_of_one_window_and_no_training_label():
    days = np.arange(50.0)
    data = prepare_prices(days, 4, dtype=np.float64)
    np.testing.assert_allclose(data.unscale(data.train[1]), days[4:40])
    np.testing.assert_allclose(data.unscale(data.train[0]).max(), 38)
    np.testing.assert_allclose(data.unscale(data.held_out[1]), days[40:])


@pytest.mark.parametrize(("held_out", "days", "expected"), [(0.2, 123, 25), (0.2, 68, 14), (0.5, 10, 5), (0.01, 10, 1)])
def test_part_that_is_held_out(held_out, days, expected):
    data = prepare_prices(np.arange(float(days)), 2, held_out=held_out)
    assert len(data.held_out[1]) == expected
    assert len(data.training_prices) == days - expected


def test_smallest_series_gives_one_window_each():
    data = prepare_prices(np.arange(6.0), 4)
    assert data.train[0].shape == data.held_out[0].shape == (1, 4)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_windows_have_the_dtype_asked_for(dtype):
    data = prepare_prices(TEN_DAYS, 4, dtype=dtype)
    assert {array.dtype for array in (*data.train, *data.held_out)} == {np.dtype(dtype)}
    assert data.scale(15.0).dtype == dtype
    assert data.unscale(data.train[1]).dtype == np.float64


def test_default_dtype_is_float32():
    assert prepare_prices(TEN_DAYS, 4).train[0].dtype == np.float32


def test_scale_and_unscale_undo_each_other_in_any_shape():
    data = prepare_prices(TEN_DAYS, 4, dtype=np.float64)
    prices = np.array([[10.0, 20.0], [0.0, 40.0]])
    assert data.scale(prices).tolist() == [[0.0, 1.0], [-1.0, 3.0]]
    np.testing.assert_allclose(data.unscale(data.scale(prices)), prices)
    assert data.unscale(0.5) == 15.0


def test_constant_training_prices_are_refused():
    with pytest.raises(InputError, match="all 8 training prices are 7, so there is no range to scale"):
        prepare_prices([7.0] * 8 + [8.0, 9.0], 4)


def test_constant_prices_of_a_file_are_refused_with_its_name(write):
    path = write("\n".join(["Date,Close", *(f"2000-01-{day:02},7" for day in range(1, 20))]))
    with pytest.raises(InputError, match="all 15 training prices are 7") as refusal:
        prepare_prices(read_prices(path), 4)
    assert str(refusal.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("days", "window", "held", "left"), [(5, 4, 1, 4), (30, 40, 6, 24), (1, 1, 1, 0), (0, 1, 1, 0)]
)
def test_too_few_days_are_refused_with_the_numbers(days, window, held, left):
    said = (
        f"a window of {window} needs {window + 1} training days, "
        f"but of {days} days {held} are held out and {left} are left"
    )
    with pytest.raises(InputError, match=said):
        prepare_prices(np.arange(float(days)), window)


def test_everything_wrong_with_the_arguments_is_said_at_once():
    with pytest.raises(InputError) as refusal:
        prepare_prices([1.0, np.nan, np.inf, 2.0], 2, held_out=1.5, dtype=np.int32)
    assert [line.split(",")[0] for line in refusal.value.problems] == [
        "held_out is 1.5",
        "dtype is int32",
        "prices: 2 of 4 prices are NaN or infinite: remove or repair these days",
    ]


@pytest.mark.parametrize("held_out", [0, 1, -0.1, 20, float("nan")])
def test_part_outside_0_to_1_is_refused(held_out):
    with pytest.raises(InputError, match=r"held_out is .*, expected a fraction of the days between 0 and 1"):
        prepare_prices(TEN_DAYS, 4, held_out=held_out)


@pytest.mark.parametrize("window", [0, -3, 1.5])
def test_bad_window_is_refused_by_its_name(window):
    with pytest.raises(InputError, match="window is "):
        prepare_prices(TEN_DAYS, window)


# Scoring


def test_real_series_is_prepared_and_scored(stocks):
    data = prepare_prices(read_prices(stocks, "price", where="symbol=AAPL"), 4)
    assert data.train[0].shape == (94, 4)
    assert data.held_out[0].shape == (25, 4)
    score = score_held_out(data, np.zeros(25))
    assert score.days == 25
    # In four of these months Apple's price was above 198.08, the highest before them.
    assert data.high == 198.08
    assert score.unreachable == 4
    assert score.tomorrow_is_today.root_mean_square < score.training_mean.root_mean_square


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_by_hand(dtype):
    # Training 0 2 4 10 (mean 4, scaled by 10), held out 13 9; the model says 12 and 6.
    data = prepare_prices([0.0, 2.0, 4.0, 10.0, 13.0, 9.0], 2, held_out=1 / 3, dtype=dtype)
    score = score_held_out(data, np.array([1.2, 0.6]))
    assert score.days == 2
    assert score.model == pytest.approx((5**0.5, 2.0))  # off by 1 and 3
    assert score.tomorrow_is_today == pytest.approx((12.5**0.5, 3.5))  # says 10 and 13: off by 3 and 4
    assert score.training_mean == pytest.approx((53**0.5, 7.0))  # off by 9 and 5
    assert score.model.root_mean_square == pytest.approx(5**0.5)
    assert score.model.mean_absolute == pytest.approx(2.0)


def test_perfect_predictions_have_no_error():
    data = prepare_prices(TEN_DAYS, 4, dtype=np.float64)
    assert score_held_out(data, data.held_out[1]).model == pytest.approx((0.0, 0.0), abs=1e-12)


def test_predictions_of_a_head_with_one_output_are_scored_the_same():
    data = prepare_prices(TEN_DAYS, 4)
    assert score_held_out(data, [[0.5], [0.7]]) == score_held_out(data, [0.5, 0.7])


def test_predictions_in_bfloat16_are_scored():
    data = prepare_prices(TEN_DAYS, 4)
    assert score_held_out(data, np.array([1.5, -0.5], ml_dtypes.bfloat16)).model == (0.0, 0.0)


@pytest.mark.parametrize(
    ("reach", "unreachable"), [((-1.0, 1.0), 4), (None, 0), ((0.0, 1.0), 5), ((-9.0, 9.0), 0)], ids=str
)
def test_days_out_of_reach_are_counted_edges_included(reach, unreachable):
    held_out = [10.0, 9.99, 30.0, -10.0, -9.99, -50.0]  # scaled 1, 0.999, 3, -1, -0.999, -5
    data = prepare_prices([0.0, 10.0] * 6 + held_out, 2, held_out=1 / 3)
    assert score_held_out(data, np.zeros(6), reach=reach).unreachable == unreachable


def test_by_hand_reach_is_the_default():
    data = prepare_prices(TEN_DAYS, 4)
    assert score_held_out(data, [0, 0]).unreachable == 1  # 25, with training prices from 10 to 20; 5 is scaled to -0.5


@pytest.mark.parametrize("predictions", [[np.nan, 0.0], [0.0, np.inf]])
def test_predictions_that_are_not_finite_are_refused(predictions):
    with pytest.raises(InputError, match="1 of 2 predictions are NaN or infinite"):
        score_held_out(prepare_prices(TEN_DAYS, 4), predictions)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,), (1, 2), (2, 2)])
def test_wrong_number_of_predictions_is_refused(shape):
    with pytest.raises(InputError, match=r"expected one per held-out day: \(2,\) or \(2, 1\)"):
        score_held_out(prepare_prices(TEN_DAYS, 4), np.zeros(shape))


@pytest.mark.parametrize("reach", [(1.0, -1.0), (0.0, 0.0)])
def test_empty_reach_is_refused(reach):
    with pytest.raises(InputError, match=r"expected .* with low below high, or None"):
        score_held_out(prepare_prices(TEN_DAYS, 4), [0, 0], reach=reach)
