"""Decoders whose symbols are independent, given z, and the distributions of one symbol."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.likelihoods import CLAMP, bernoulli, discretized_logistic, gaussian, negative_binomial
from collapsebench.model.sampling import Sampling

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

    def mean(self, predictions: Float[Tensor, "S B P K"]) -> Float[Tensor, "S B P"]:
        """Give the mean of each symbol, or what stands for it where symbols have bounds."""
        raise NotImplementedError

    def draw(self, predictions: Float[Tensor, "S B P K"], noise: Noise) -> Float[Tensor, "S B P"]:
        """Draw each symbol."""
        raise NotImplementedError


class Bernoulli(Likelihood):
    """A binary symbol. Its parameter is the probability of a one, which is not clamped yet."""

    def link(self, outputs: Float[Tensor, "S B P 1"]) -> Float[Tensor, "S B P 1"]:
        """Give the sigmoid."""
        return outputs.sigmoid()

    def log_prob(self, predictions: Float[Tensor, "S B P 1"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return bernoulli(predictions.squeeze(-1), x)

    def mean(self, predictions: Float[Tensor, "S B P 1"]) -> Float[Tensor, "S B P"]:
        """Give the probability of a one."""
        return predictions.squeeze(-1)

    def draw(self, predictions: Float[Tensor, "S B P 1"], noise: Noise) -> Float[Tensor, "S B P"]:
        """Draw zeros and ones."""
        return drawn_bits(predictions.squeeze(-1), noise)


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
        return gaussian(predictions.squeeze(-1), self._log_variance(x), x)

    def mean(self, predictions: Float[Tensor, "S B P 1"]) -> Float[Tensor, "S B P"]:
        """Give the means."""
        return predictions.squeeze(-1)

    def draw(self, predictions: Float[Tensor, "S B P 1"], noise: Noise) -> Float[Tensor, "S B P"]:
        """Draw real numbers, which may lie outside of the levels of an image."""
        return drawn_normal(predictions.squeeze(-1), self._log_variance(predictions), noise)

    def _log_variance(self, like: Tensor) -> Float[Tensor, ""]:
        return like.new_full((), self.first_log_variance) if self.log_variance is None else self.log_variance


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

    def mean(self, predictions: Float[Tensor, "S B P 2"]) -> Float[Tensor, "S B P"]:
        """Give the locations, from 0 to 1."""
        return predictions[..., 0].clamp(0, 1)

    def draw(self, predictions: Float[Tensor, "S B P 2"], noise: Noise) -> Float[Tensor, "S B P"]:
        """Draw levels: the one that is nearest to a draw from the logistic distribution."""
        location, log_scale = predictions.unbind(-1)
        drawn = location + log_scale.exp() * noise.uniform(tuple(location.shape), location).logit()
        return (drawn.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)


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

    def mean(self, predictions: Float[Tensor, "S B P 2"]) -> Float[Tensor, "S B P"]:
        """Give the means."""
        return predictions[..., 0].exp()

    def draw(self, predictions: Float[Tensor, "S B P 2"], noise: Noise) -> Float[Tensor, "S B P"]:
        """Draw counts, by the inverse of the distribution function, on the CPU."""
        from scipy.stats import nbinom

        mean, dispersion = predictions.detach().double().exp().cpu().unbind(-1)
        share = noise.uniform(tuple(mean.shape), mean)
        counts = nbinom.ppf(share.numpy(), dispersion.numpy(), (dispersion / (dispersion + mean)).numpy())
        return torch.from_numpy(counts).clamp(min=0).to(predictions)


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

    def sample(
        self, z: Float[Tensor, "S B D"], shape: tuple[int, ...], noise: Noise, sampling: Sampling = Sampling.RANDOM
    ) -> Float[Tensor, "S B ..."]:
        """Give one example for each z, (S, B, *shape): all symbols in one pass (see `SamplingDecoder`)."""
        predictions = self.likelihood.link(self.outputs(z))
        mean = sampling is Sampling.EXPECTED
        x = self.likelihood.mean(predictions) if mean else self.likelihood.draw(predictions, noise)
        return x.reshape(*z.shape[:2], *shape)

    def symbols(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B P"]:
        """Give the symbols: all numbers of an example, in order."""
        return x.flatten(1)

    def outputs(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P O"]:
        """Give the numbers that the network gives for each symbol."""
        raise NotImplementedError


def drawn_bits(probability: Float[Tensor, "*N"], noise: Noise) -> Float[Tensor, "*N"]:
    """Draw ones with these probabilities, clamped as the likelihood of a Bernoulli clamps them."""
    return (noise.uniform(tuple(probability.shape), probability) < probability.clamp(CLAMP, 1 - CLAMP)).to(probability)


def drawn_normal(mean: Float[Tensor, "*N"], log_variance: Float[Tensor, ""], noise: Noise) -> Float[Tensor, "*N"]:
    """Draw from normal distributions of these means and one log-variance."""
    return mean + (0.5 * log_variance).exp() * noise.normal(tuple(mean.shape), mean)
