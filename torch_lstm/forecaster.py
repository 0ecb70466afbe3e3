"""The forecaster as a Lightning module: an LSTM and a linear head on the last output of each sequence."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from lstm_shared.describe import describe_as
from lstm_shared.errors import InputError
from lstm_shared.model_arguments import wrong_output_size, wrong_sizes
from lstm_shared.specs import ForecasterSpec
from torch_lstm.tensors import as_tensor


class Forecaster(L.LightningModule):
    """An ``nn.LSTM`` called ``lstm`` and an ``nn.Linear`` called ``fc``. ``state_dict()`` is the shared dictionary.

    Args:
        weights: a forecaster's dictionary, which determines all sizes. Or leave it out and pass sizes.
        input_size, hidden_size: required without weights.
        output_size, num_layers, bias, bidirectional, proj_size: as in ``nn.LSTM`` and ``nn.Linear``.
        learning_rate: learning rate of Adam, if the Trainer makes the optimizer.

    Raises:
        WeightsError: the dictionary is not a forecaster's.
        InputError: neither weights nor sizes are given, or both are, or a size is not a positive whole number.
    """

    def __init__(
        self,
        weights: Mapping[str, Any] | None = None,
        *,
        input_size: int | None = None,
        hidden_size: int | None = None,
        output_size: int = 1,
        num_layers: int = 1,
        bias: bool = True,
        bidirectional: bool = False,
        proj_size: int = 0,
        learning_rate: float = 1e-3,
    ):
        super().__init__()
        sizes: dict[str, Any] = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "bidirectional": bidirectional,
            "proj_size": proj_size,
        }
        if weights is not None:
            if input_size is not None or hidden_size is not None:
                raise InputError("weights give all the sizes: leave out input_size and hidden_size")
            spec = describe_as(weights, ForecasterSpec)
            sizes, output_size = vars(spec.lstm), spec.output_size
        elif input_size is None or hidden_size is None:
            raise InputError("a forecaster needs weights, or input_size and hidden_size")
        else:
            InputError.raise_any(wrong_sizes(**sizes) + wrong_output_size(output_size))
        self.learning_rate = learning_rate
        self.lstm = nn.LSTM(batch_first=True, **sizes)
        features = (proj_size or self.lstm.proj_size or self.lstm.hidden_size) * (2 if self.lstm.bidirectional else 1)
        self.fc = nn.Linear(features, output_size)
        if weights is not None:
            tensors = {name: as_tensor(value) for name, value in weights.items()}
            self.to(next(iter(tensors.values())).dtype)
            self.load_state_dict(tensors)

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Predict (batch, output_size) from (batch, time, input_size), starting from state (h_0, c_0) or zeros."""
        outputs, _ = self.lstm(inputs, state)
        return self.fc(outputs[:, -1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return and log the mean squared error for a batch of inputs and labels.

        The batch is (inputs, labels), of shapes (batch, time, input_size) and (batch, output_size).
        """
        inputs, labels = batch
        predictions = self.forward(inputs)
        loss = torch.mean((predictions - labels) ** 2)
        self.log("train_loss", loss)
        return {"loss": loss, "predictions": predictions.detach()}
