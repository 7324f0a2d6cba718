"""The GRU encoder."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn


class Encoder(nn.Module):
    """The last hidden state after the whole document. The GRU starts from the zero state."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.width = hidden
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, hidden, batch_first=True)

    def forward(self, x: Int[Tensor, "B T"], states: bool = False) -> Float[Tensor, "B F"] | Float[Tensor, "B T F"]:
        """Map tokens (B, T) to (B, hidden), or to the hidden states after each token, (B, T, hidden)."""
        every, hidden = self.gru(self.embedding(x))
        found: Tensor = every if states else hidden[-1]
        return found
