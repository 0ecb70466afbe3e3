"""Convert a weight dictionary to the torch module that it describes, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from lstm_shared.argument_kinds import in_words, wrong_switches
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, WeightsError
from lstm_shared.find_models import under_prefix
from lstm_shared.specs import ByHandSpec, CellSpec, ForecasterSpec
from lstm_shared.tensors import to_array, to_tensor
from torch_lstm.by_hand import LSTMByHand
from torch_lstm.forecaster import Forecaster


def to_torch(weights: Mapping[str, Any], *, batch_first: bool = False) -> nn.Module:
    """Return the module whose ``state_dict()`` is the dictionary, in the dictionary's dtype, on the CPU.

    Args:
        weights: a weight dictionary of any of the four kinds.
        batch_first: as in ``nn.LSTM``. The other modules have a fixed order of axes and ignore it.

    Returns:
        LSTMByHand, ``nn.LSTM``, ``nn.LSTMCell`` or Forecaster.

    Raises:
        WeightsError: the dictionary describes none of these.
        InputError: ``batch_first`` is neither True nor False.
    """
    InputError.raise_any(wrong_switches(batch_first=batch_first))
    spec = describe(weights)
    if isinstance(spec, ByHandSpec):
        return LSTMByHand(weights)
    if isinstance(spec, ForecasterSpec):
        return Forecaster(weights)
    is_cell = isinstance(spec, CellSpec)
    module = nn.LSTMCell(**vars(spec)) if is_cell else nn.LSTM(**vars(spec), batch_first=batch_first)
    tensors = {name: to_tensor(value) for name, value in weights.items()}
    module = module.to(next(iter(tensors.values())).dtype)
    module.load_state_dict(tensors)
    return module


def from_torch(module_or_state_dict: nn.Module | Mapping[str, torch.Tensor], prefix: str = "") -> dict[str, np.ndarray]:
    """Return the weight dictionary of a module or state dict, as NumPy arrays that keep its dtypes.

    Args:
        module_or_state_dict: a module, or what its ``state_dict()`` returns.
        prefix: take only the names under this prefix, and strip it. Its final dot is optional.

    Raises:
        WeightsError: the argument is neither a module nor a state dict, a name is not text, a value is not a tensor,
            or nothing is under the prefix.
        InputError: the prefix is not text.
    """
    state = module_or_state_dict.state_dict() if isinstance(module_or_state_dict, nn.Module) else module_or_state_dict
    if not isinstance(state, Mapping):
        raise WeightsError(f"expected a torch module or its state_dict(), got {in_words(state)}")
    chosen = under_prefix(state, prefix)
    wrong = [name for name, value in chosen.items() if not isinstance(value, torch.Tensor)]
    WeightsError.raise_any([f"{name} is {in_words(chosen[name])}, expected a tensor" for name in wrong])
    return {name: to_array(tensor) for name, tensor in chosen.items()}
