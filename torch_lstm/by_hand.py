"""The LSTM by hand as a Lightning module: the reference, in the form that the articles use."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from lstm_shared.by_hand import BY_HAND
from lstm_shared.describe import require_by_hand
from lstm_shared.initial_weights import init_by_hand
from lstm_shared.inputs import read_numbers, read_prices
from lstm_shared.tensors import to_tensor
from lstm_shared.traces import ByHandTrace
from torch_lstm.tensors import as_tensor


class LSTMByHand(L.LightningModule):
    """Twelve scalar parameters under the articles' names. ``state_dict()`` is the shared weight dictionary.

    The gates, the order of the memories (long, short) and the sources are those of ``jax_lstm.by_hand``.

    Args:
        weights: the twelve scalars, in the dtype to train in (Python floats become float32). By default they are drawn
            from N(0, 1), with biases 0.

    Raises:
        WeightsError: ``weights`` is not the by-hand model.
    """

    def __init__(self, weights: Mapping[str, Any] | None = None):
        super().__init__()
        weights = init_by_hand() if weights is None else weights
        require_by_hand(weights)
        for name in BY_HAND:
            self.register_parameter(name, nn.Parameter(to_tensor(weights[name])))

    def lstm_unit(self, input_value: Any, long_memory: Any, short_memory: Any) -> tuple[Tensor, Tensor]:
        """Compute one day, and return (long_memory, short_memory) after it. Takes scalars, or arrays elementwise."""
        values = read_numbers(input_value=input_value, long_memory=long_memory, short_memory=short_memory)
        step = self._day(*map(as_tensor, values))
        return step.long_memory, step.short_memory

    def forward(self, prices: Any, long_memory: Any = 0.0, short_memory: Any = 0.0) -> Tensor:
        """Read the prices day by day, and return the last short-term memory, as ``jax_lstm.by_hand.predict`` does.

        Prices ``(days,)`` give ``()``, and ``(*series, days)`` give ``(*series,)``.

        Raises:
            InputError: the prices have no day axis or are whole numbers, or the memories do not fit the series.
        """
        days, long_memory, short_memory = self._prepare(prices, long_memory, short_memory)
        for price in days:
            long_memory, short_memory = self.lstm_unit(price, long_memory, short_memory)
        return short_memory

    def trace(self, prices: Any, long_memory: Any = 0.0, short_memory: Any = 0.0) -> ByHandTrace:
        """Compute what ``forward`` does, and return the gates and memories of every day, ``(*series, days)`` each."""
        days, long_memory, short_memory = self._prepare(prices, long_memory, short_memory)
        steps = []
        for price in days:
            steps.append(self._day(price, long_memory, short_memory))
            long_memory, short_memory = steps[-1].long_memory, steps[-1].short_memory
        if not steps:
            return ByHandTrace(*(days.movedim(0, -1) for _ in ByHandTrace._fields))
        return ByHandTrace(*(torch.stack(field, dim=-1) for field in zip(*steps, strict=True)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean squared residual of a batch (prices (batch, days), labels (batch,)), and the predictions.

        Logs ``train_loss``, and the mean predictions for the labels 0 and 1 as ``out_0`` and ``out_1``.
        """
        prices, labels = batch
        predictions = self.forward(prices)
        loss = torch.mean((predictions - labels) ** 2)
        self.log("train_loss", loss)
        for label in (0, 1):
            if bool((of_label := labels == label).any()):
                self.log(f"out_{label}", predictions[of_label].mean())
        return {"loss": loss, "predictions": predictions.detach()}

    def _day(self, price: Any, long_memory: Any, short_memory: Any) -> ByHandTrace:
        long_remember_percent = torch.sigmoid(short_memory * self.wlr1 + price * self.wlr2 + self.blr1)
        potential_remember_percent = torch.sigmoid(short_memory * self.wpr1 + price * self.wpr2 + self.bpr1)
        potential_memory = torch.tanh(short_memory * self.wp1 + price * self.wp2 + self.bp1)
        output_percent = torch.sigmoid(short_memory * self.wo1 + price * self.wo2 + self.bo1)
        long_memory = long_memory * long_remember_percent + potential_remember_percent * potential_memory
        short_memory = torch.tanh(long_memory) * output_percent
        return ByHandTrace(
            long_remember_percent,
            potential_remember_percent,
            potential_memory,
            output_percent,
            long_memory,
            short_memory,
        )

    def _prepare(self, prices: Any, long_memory: Any, short_memory: Any) -> tuple[Tensor, Tensor, Tensor]:
        prices, *memories = read_prices(prices, long_memory, short_memory)
        weight: Tensor = getattr(self, BY_HAND[0])
        days = as_tensor(prices).to(weight).movedim(-1, 0)
        long_memory, short_memory = (as_tensor(memory).to(weight).expand(days.shape[1:]) for memory in memories)

        return days, long_memory, short_memory
