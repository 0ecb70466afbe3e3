"""What both backends share: weight dictionaries, data, batch order, files and errors. NumPy in, NumPy out."""

from lstm_shared.by_hand import (
    BY_HAND,
    COMPANY_LABELS,
    COMPANY_PRICES,
    PUBLISHED_INIT,
    PUBLISHED_PREDICTIONS,
    PUBLISHED_TRAINED,
    WORKED_EXAMPLE_INPUT,
    WORKED_EXAMPLE_MEMORIES,
    WORKED_EXAMPLE_RESULT,
    WORKED_EXAMPLE_WEIGHTS,
)
from lstm_shared.by_hand_to_lstm import by_hand_to_lstm
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.find_models import find_models
from lstm_shared.initial_weights import init_by_hand, init_forecaster, init_lstm
from lstm_shared.layout_table import LAYOUTS
from lstm_shared.layouts import from_layout, to_layout
from lstm_shared.prices.files import read_prices
from lstm_shared.prices.windows import prepare_prices, score_held_out, windows
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec, LSTMSpec
from lstm_shared.traces import ByHandTrace, LSTMTrace
from lstm_shared.training.plan import FitResult
from lstm_shared.trees import flatten_tree, unflatten_tree
from lstm_shared.weight_files.load_save import load, save

__all__ = [
    "BY_HAND",
    "COMPANY_LABELS",
    "COMPANY_PRICES",
    "LAYOUTS",
    "PUBLISHED_INIT",
    "PUBLISHED_PREDICTIONS",
    "PUBLISHED_TRAINED",
    "WORKED_EXAMPLE_INPUT",
    "WORKED_EXAMPLE_MEMORIES",
    "WORKED_EXAMPLE_RESULT",
    "WORKED_EXAMPLE_WEIGHTS",
    "ByHandSpec",
    "ByHandTrace",
    "CellSpec",
    "FitResult",
    "ForecasterSpec",
    "InputError",
    "LSTMSpec",
    "LSTMTrace",
    "WeightsError",
    "by_hand_to_lstm",
    "describe",
    "find_models",
    "flatten_tree",
    "from_layout",
    "init_by_hand",
    "init_forecaster",
    "init_lstm",
    "load",
    "prepare_prices",
    "read_prices",
    "save",
    "score_held_out",
    "to_layout",
    "unflatten_tree",
    "windows",
]
