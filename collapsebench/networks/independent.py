"""Decoders whose symbols are independent, given z, and the distributions of one symbol."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.likelihoods import bernoulli, discretized_logistic, gaussian, negative_binomial

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise


class Likelihood(nn.Module):
    """The distribution of one symbol. A network gives `outputs` numbers for each symbol."""

    outputs: int = 1

    def link(self, outputs: Float[Tensor, "S B P O"]) -> Float[Tensor, "S B P K"]:
        """Turn the outputs of a network into the K parameters of the distribution of each symbol."""
        raise NotImplementedError

    def log_prob(self, predictions: Float[Tensor, "S B P K"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats under these parameters, summed over the symbols."""
        raise NotImplementedError


class Bernoulli(Likelihood):
    """A binary symbol. Its parameter is the probability of a one, which is not clamped yet."""

    def link(self, outputs: Float[Tensor, "S B P 1"]) -> Float[Tensor, "S B P 1"]:
        """Give the sigmoid."""
        return outputs.sigmoid()

    def log_prob(self, predictions: Float[Tensor, "S B P 1"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return bernoulli(predictions.squeeze(-1), x)


class Gaussian(Likelihood):
    r"""\(N(\mu, \sigma^2)\), with one variance for all symbols. It is a density: log p may be above zero."""

    def __init__(self, *, variance: float, learn_variance: bool) -> None:
        super().__init__()
        self.first_log_variance = math.log(variance)
        self.log_variance = nn.Parameter(torch.empty(())) if learn_variance else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set a learned variance to its first value."""
        if self.log_variance is not None:
            nn.init.constant_(self.log_variance, self.first_log_variance)

    def link(self, outputs: Float[Tensor, "S B P 1"]) -> Float[Tensor, "S B P 1"]:
        """Give the means, which are the outputs themselves."""
        return outputs

    def log_prob(self, predictions: Float[Tensor, "S B P 1"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        fixed = x.new_full((), self.first_log_variance)
        return gaussian(predictions.squeeze(-1), fixed if self.log_variance is None else self.log_variance, x)


class DiscretizedLogistic(Likelihood):
    """One of several levels. Its parameters are the location and the log-scale of a logistic distribution."""

    outputs = 2

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def link(self, outputs: Float[Tensor, "S B P 2"]) -> Float[Tensor, "S B P 2"]:
        """Give locations and log-scales. No log-scale is below -7, as in the released code of Salimans et al."""
        location, log_scale = outputs.unbind(-1)
        return torch.stack([location, log_scale.clamp(min=-7)], -1)

    def log_prob(self, predictions: Float[Tensor, "S B P 2"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        location, log_scale = predictions.unbind(-1)
        return discretized_logistic(location, log_scale, x, self.levels)


class NegativeBinomial(Likelihood):
    """A count. Its parameters are the logs of the mean and of the dispersion, which is learned for each symbol."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.log_dispersion = nn.Parameter(torch.empty(symbols))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every dispersion to one."""
        nn.init.zeros_(self.log_dispersion)

    def link(self, outputs: Float[Tensor, "S B P 1"]) -> Float[Tensor, "S B P 2"]:
        """Give the logs of the means, which are the outputs, and of the dispersions."""
        log_mean = outputs[..., 0]
        return torch.stack([log_mean, self.log_dispersion.expand_as(log_mean)], -1)

    def log_prob(self, predictions: Float[Tensor, "S B P 2"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        log_mean, log_dispersion = predictions.unbind(-1)
        return negative_binomial(log_mean, log_dispersion, x)


class Independent(Factorized):
    r"""\(p(x|z) = \prod_p p(x_p|z)\). A subclass gives the numbers from which each factor is made by `outputs`."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(
        self, x: Float[Tensor, "B ..."], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats. These decoders have no dropout."""
        del dropout
        return self.score(self.predictions(x, z), x)

    def predictions(self, x: Float[Tensor, "B ..."], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P K"]:
        """Give the parameters of the distribution of each symbol."""
        del x
        return self.likelihood.link(self.outputs(z))

    def score(self, predictions: Float[Tensor, "S B P K"], x: Float[Tensor, "B ..."]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return self.likelihood.log_prob(predictions, x.flatten(1))

    def symbols(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B P"]:
        """Give the symbols: all numbers of an example, in order."""
        return x.flatten(1)

    def outputs(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P O"]:
        """Give the numbers that the network gives for each symbol."""
        raise NotImplementedError
