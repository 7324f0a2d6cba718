"""The true language model of `synthetic-text` as a VAE. It needs no training, and its evidence is known."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.data.synthetic import LATENT, Integrals, LanguageModel, Sample, exact_integrals
from collapsebench.data.text import MARKERS
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE, Networks
from collapsebench.selfcheck.exact.discrete import with_posterior


class TrueDecoder(nn.Module):
    """log p(x|z) of the language model that drew the documents. It knows their length, so that EOS costs nothing."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.tensor(model.transitions, dtype=torch.float32))
        self.directions = nn.Parameter(torch.tensor(model.directions, dtype=torch.float32))

    def forward(
        self, x: Int[Tensor, "B L"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B"]:
        """Return log p(x|z) in nats for documents from BOS to EOS."""
        del dropout
        words = x[:, 1:-1] - len(MARKERS)
        start = words.new_full((len(x), 1), len(self.directions))
        logits = self.transitions[torch.cat((start, words[:, :-1]), 1)] + (z @ self.directions.T)[:, :, None]
        return logits.log_softmax(-1).gather(-1, words.expand(len(z), -1, -1)[..., None])[..., 0].sum(-1)


class TrueModel(NamedTuple):
    """The model, and some documents with their integrals."""

    vae: VAE
    documents: Int[Tensor, "N L"]
    """The documents from BOS to EOS."""
    integrals: Integrals


def true_model(model: LanguageModel, sample: Sample) -> TrueModel:
    """Return the true decoder with Gaussian posteriors of the same mean and variance as p(z|x) of these documents."""
    integrals = exact_integrals(model, sample.words)
    documents = torch.tensor(sample.split().tokens.reshape(len(sample.words), -1), dtype=torch.int64)
    posterior = DiagonalGaussian(torch.from_numpy(integrals.mean), torch.from_numpy(integrals.variance).log())
    bare = VAE(Networks(None, None, TrueDecoder(model)), StandardNormal(LATENT))
    return TrueModel(with_posterior(bare, documents, posterior), documents, integrals)
