"""The LSTM cell as many tutorials write it: one Linear layer per gate, on the concatenated input and hidden state."""

import torch
from torch import Tensor, nn

from lstm_shared.errors import InputError
from lstm_shared.model_arguments import wrong_sizes


class LinearGatesCell(nn.Module):
    """An LSTM cell with explicit gates, equal to ``torch.nn.LSTMCell`` except that it has one bias instead of two.

    ``lstm_shared.from_layout(cell.state_dict(), "linear-gates")`` returns its weights as those of a one-layer LSTM.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state and the cell state.

    Raises:
        InputError: a size that is not a positive whole number.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        InputError.raise_any(wrong_sizes(input_size, hidden_size))
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.Wf = nn.Linear(input_size + hidden_size, hidden_size)
        self.Wi = nn.Linear(input_size + hidden_size, hidden_size)
        self.Wc = nn.Linear(input_size + hidden_size, hidden_size)
        self.Wo = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Compute one step, and return (h, c) after it.

        Args:
            inputs: (batch, input_size) or (input_size,).
            state: (h, c), (batch, hidden_size) or (hidden_size,) each; zeros by default.
        """
        zeros = inputs.new_zeros((*inputs.shape[:-1], self.hidden_size))
        h, c = (zeros, zeros) if state is None else state
        together = torch.cat([inputs, h], dim=-1)
        forget_gate = torch.sigmoid(self.Wf(together))
        input_gate = torch.sigmoid(self.Wi(together))
        candidate = torch.tanh(self.Wc(together))
        output_gate = torch.sigmoid(self.Wo(together))
        c = forget_gate * c + input_gate * candidate
        return output_gate * torch.tanh(c), c
