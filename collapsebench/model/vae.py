"""The model of a contender, and its training objective: encoder, posterior, prior and decoder as one module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from collapsebench.errors import PluginError, place_in_module, unexpected
from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution
from collapsebench.model.kernels.recurrent import twice_differentiable
from collapsebench.model.posterior import Draw, PosteriorDistribution
from collapsebench.model.progress import Progress
from collapsebench.model.sampling import Sampling, SamplingDecoder
from collapsebench.model.seeding import Noise


@dataclass
class Passes:
    """The forward passes through encoder and decoder, counted per example and sample. The numbers only grow.

    Somebody who sets one back leaves a trace, and the run is marked:

    >>> from collapsebench.model.vae import Passes
    >>> passes = Passes(encoder=3)
    >>> passes.encoder = 1
    >>> passes.set_back
    True
    """

    encoder: int = 0
    decoder: int = 0
    set_back: bool = field(default=False, repr=False)

    def __setattr__(self, name: str, value: int) -> None:
        """Note if a number becomes smaller. Once it is noted, it stays."""
        if value < self.__dict__.get(name, value):
            name, value = "set_back", True
        super().__setattr__(name, value)


class VAE(nn.Module):
    """The generative model p(z) p(x|z), with an encoder for q(z|x).

    Call the networks through `encode`, `encode_states` and `log_likelihood` alone. These count the forward passes in
    `passes`, by which the meter recognizes a step of known cost. The meter also sees the work of a method that calls
    the networks directly, but counts it more slowly.

    This model has x ~ N(z, 1) and q(z|x) = N(x/2, 1):

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, Networks, StandardNormal, VAE
    >>> class Head(torch.nn.Module):
    ...     def forward(self, features):
    ...         return DiagonalGaussian(features / 2, torch.zeros_like(features))
    >>> class Decoder(torch.nn.Module):
    ...     def forward(self, x, z, dropout):
    ...         return torch.distributions.Normal(z, 1.0).log_prob(x).sum(-1)
    >>> vae = VAE(Networks(torch.nn.Identity(), Head(), Decoder()), StandardNormal(1))
    >>> x = torch.tensor([[2.0], [4.0]])
    >>> vae.encode(x).mean.tolist()
    [[1.0], [2.0]]
    >>> vae.log_likelihood(x, z=torch.zeros(5, 2, 1)).shape
    torch.Size([5, 2])
    >>> vae.passes
    Passes(encoder=2, decoder=10)
    """

    def __init__(self, networks: Networks, prior: PriorDistribution | DependentPrior) -> None:
        super().__init__()
        self.encoder = networks.encoder
        self.posterior = networks.posterior
        self.decoder = networks.decoder
        self.heads = nn.ModuleDict()
        self.own_prior = prior
        self.auxiliary = nn.ModuleDict()
        self.passes = Passes()

    @property
    def latent_dim(self) -> int:
        """The number of latent units D. With zero units the decoder is unconditional."""
        return self.own_prior.latent_dim

    @property
    def prior(self) -> PriorDistribution:
        """p(z). One that depends on the networks is made anew at each call, so ask once for each step."""
        own = self.own_prior
        return own.of(self) if isinstance(own, DependentPrior) else own

    def encode(self, x: Tensor) -> PosteriorDistribution:
        """Give q(z|x) by the encoder, or N(0, I) if the contender has no encoder.

        Raises PluginError if the posterior is no PosteriorDistribution of shape (B, D).
        """
        if self.encoder is None or self.posterior is None:
            zeros = next(self.decoder.parameters()).new_zeros(len(x), self.latent_dim)
            return DiagonalGaussian(zeros, zeros)
        self.passes.encoder += x.shape[0]
        posterior = self.posterior_at(self.encoder(x))
        _check_posterior(posterior, len(x), self)
        return posterior

    def posterior_at(self, features: Tensor) -> PosteriorDistribution:
        """Give the posterior that belongs to features (B, F) of the encoder. They need not be those of an example.

        Raises PluginError if there is no encoder, or if the posterior is no PosteriorDistribution of shape (B, D).
        """
        if self.posterior is None:
            raise PluginError("the model has no encoder, so no features have a posterior")
        posterior: PosteriorDistribution = self.posterior(features)
        _check_posterior(posterior, len(features), self, self.posterior)
        for head in self.heads.values():
            posterior = head(posterior, features)
            _check_posterior(posterior, len(features), self, head)
        return posterior

    def encode_states(self, x: Tensor) -> DiagonalGaussian:
        """Give the posteriors after each of T symbols, (T B, D), time by time: the last B are q(z|x) without heads.

        This is one forward pass, of an encoder that has `states`. Raises PluginError as `encode` does.
        """
        if self.encoder is None or self.posterior is None:
            raise PluginError("there is no encoder, so that there are no states")
        self.passes.encoder += x.shape[0]
        states: Tensor = self.encoder(x, True).transpose(0, 1)
        posterior: DiagonalGaussian = self.posterior(states.flatten(0, 1))
        _check_posterior(posterior, states.shape[0] * states.shape[1], self, self.posterior)
        return posterior

    def log_likelihood(
        self, x: Tensor, z: Float[Tensor, "S B D"], dropout: Noise | None = None, read: Tensor | None = None
    ) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats for S samples of z per example.

        Dropout masks are drawn from `dropout`. None means no dropout, as in evaluation. The decoder reads `read` in
        place of x if that is given. Raises PluginError if the decoder returns another shape than (S, B).
        """
        log_p: Tensor = self.decoder(x, z, dropout) if read is None else self.decoder(x, z, dropout, read)
        self.passes.decoder += log_p.numel()
        if log_p.shape != z.shape[:2]:
            got, wanted = f"a tensor of shape {tuple(log_p.shape)}", f"one of shape (S, B) = {tuple(z.shape[:2])}"
            raise unexpected(place_in_module(self.decoder), got, wanted)
        return log_p

    def sample(
        self, z: Float[Tensor, "S B D"], shape: tuple[int, ...], noise: Noise, sampling: Sampling = Sampling.RANDOM
    ) -> Shaped[Tensor, "S B ..."]:
        """Give an example of p(x|z) for each z, (S, B, *shape), where `shape` is that of one example.

        See `SamplingDecoder`. Raises PluginError if the decoder cannot be sampled, or gives another shape.
        """
        if not isinstance(self.decoder, SamplingDecoder):
            name = type(self.decoder).__name__
            raise PluginError(
                f"the decoder cannot be sampled: its module {name} has no `sample(z, shape, noise, sampling)`"
            )
        self.passes.decoder += z.shape[0] * z.shape[1]
        x = self.decoder.sample(z, shape, noise, sampling)
        if x.shape != (*z.shape[:2], *shape):
            raise PluginError(f"`sample` must return {(*z.shape[:2], *shape)}, got {tuple(x.shape)}")
        return x


@runtime_checkable
class DependentPrior(Protocol):
    """A prior that depends on the networks. The model asks for the density whenever it needs it.

    The prior of this model is centred where its encoder puts an example of zeros:

    >>> import torch
    >>> from collapsebench import DependentPrior, DiagonalGaussian, Networks, PriorDistribution, VAE
    >>> class Centred:
    ...     latent_dim = 1
    ...     def __init__(self, normal):
    ...         self.normal, self.log_prob = normal, normal.log_prob
    ...     def sample(self, number, noise):
    ...         return self.normal.mean + noise.normal((number, 1), self.normal.mean)
    ...     def kl(self, posterior):
    ...         return posterior.kl(self.normal)
    >>> class AtZero:
    ...     latent_dim = 1
    ...     def of(self, vae):
    ...         return Centred(vae.encode(torch.zeros(1, 1)))
    >>> class Head(torch.nn.Module):
    ...     def forward(self, features):
    ...         return DiagonalGaussian(features + 3, torch.zeros_like(features))
    >>> vae = VAE(Networks(torch.nn.Identity(), Head(), torch.nn.Linear(1, 1)), AtZero())
    >>> isinstance(vae.own_prior, DependentPrior), isinstance(vae.prior, PriorDistribution)
    (True, True)
    >>> vae.prior.normal.mean.tolist()
    [[3.0]]
    """

    @property
    def latent_dim(self) -> int:
        """The number of latent units D."""

    def of(self, vae: VAE) -> PriorDistribution:
        """Give p(z) for the networks as they are now. Gradients flow to them through it."""


def _check_posterior(posterior: object, examples: int, vae: VAE, giver: nn.Module | None = None) -> None:
    """Raise PluginError for another posterior than one of shape (B, D). `giver` is the module that returned it."""
    wanted = (examples, vae.latent_dim)
    if not isinstance(posterior, PosteriorDistribution):
        raise _no_posterior(giver, f"a PosteriorDistribution {wanted}", type(posterior).__name__)
    like = posterior.like
    if like.shape != wanted:
        raise _no_posterior(giver, str(wanted), str(tuple(like.shape)))
    dtype = next(vae.parameters(), like).dtype
    if like.dtype != dtype:
        raise _no_posterior(giver, *(str(each).removeprefix("torch.") for each in (dtype, like.dtype)))


def _no_posterior(giver: nn.Module | None, wanted: str, got: str) -> PluginError:
    """Return the error for a posterior that is none. That of a strategy names the place where it is used."""
    if giver is None:
        return PluginError(f"the posterior must be {wanted}, got {got}")
    return unexpected(place_in_module(giver), f"a posterior {got}", wanted)


def divergence(posterior: PosteriorDistribution, prior: PriorDistribution, drawn: Draw) -> Tensor:
    r"""Give KL(q || p) in nats: in closed form, or \(\log q(z|x) - \log p(z)\) at a draw z, (1, B, D), as (B, 1)."""
    kl = prior.kl(posterior)
    return (drawn.log_q() - prior.log_prob(drawn.z))[0, :, None] if kl is None else kl


class Networks(NamedTuple):
    """The modules of a VAE. A contender without an encoder has neither encoder nor posterior.

    >>> from torch import nn
    >>> from collapsebench import Networks
    >>> networks = Networks(encoder=None, posterior=None, decoder=nn.Linear(2, 3))
    >>> networks.decoder.out_features
    3
    """

    encoder: nn.Module | None
    posterior: nn.Module | None
    decoder: nn.Module


class Terms(NamedTuple):
    r"""The terms of the objective for one batch.

    `loss` is the mean over the batch of \(-\log p(x|z) + \beta \sum_j KL_j\), where \(\beta\) is `kl_weight`:

    >>> import torch
    >>> from collapsebench import Terms
    >>> reconstruction, kl = torch.tensor([10.0, 20.0]), torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    >>> loss = (reconstruction + 0.5 * kl.sum(1)).mean()
    >>> float(Terms(reconstruction, kl, kl_weight=0.5, loss=loss).loss)
    16.0
    """

    reconstruction: Tensor
    """-log p(x|z) at one sample of z, (B,), in nats."""
    kl: Tensor
    """KL(q || p) in nats: per unit, (B, D), or of all units together, (B, 1). See `LatentSample.kl`."""
    kl_weight: float
    """The weight of the KL term."""
    loss: Tensor
    """The mean over the batch of reconstruction + kl_weight * sum_j kl, a scalar, in nats per example.

    A contender may put a penalty in place of the KL, and add a loss of its own (see `Objective`)."""

    def backward(self) -> Terms:
        """Leave the gradients of the loss in the parameters, and give the same terms without their autograd graph."""
        torch.autograd.backward(self.loss)
        return self.detach()

    def detach(self) -> Terms:
        """Give the same terms without their autograd graph."""
        return Terms(self.reconstruction.detach(), self.kl.detach(), self.kl_weight, self.loss.detach())


class LatentSample(NamedTuple):
    """One sample of z for each example of a batch, and what the objective knows of it.

    A method that changes the objective computes its term of this. Here it is a penalty on the code itself:

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, LatentSample, Networks, Objective, SeededNoise, StandardNormal, VAE
    >>> def penalty(sample: LatentSample):
    ...     return sample.z.square().sum(1)
    >>> class Decoder(torch.nn.Module):
    ...     def forward(self, x, z, dropout):
    ...         return torch.zeros(z.shape[:2])
    >>> vae = VAE(Networks(None, None, Decoder()), StandardNormal(1))
    >>> q = DiagonalGaussian(mean=torch.tensor([[3.0]]), logvar=torch.tensor([[-100.0]]))
    >>> float(Objective(SeededNoise(0), kl_penalty=penalty)(vae, torch.zeros(1, 1), q).loss)
    9.0
    """

    vae: VAE
    x: Tensor
    """The examples, (B, …)."""
    posterior: PosteriorDistribution
    z: Tensor
    """The sample, (B, D)."""
    reconstruction: Tensor
    """-log p(x|z), (B,), in nats."""
    kl: Tensor
    """KL(q || p) in nats: per unit, (B, D), or of all units together, (B, 1).

    Where it has no closed form, it is the estimate log q(z|x) - log p(z) at the sample, (B, 1). A method says in
    `Method.needs` if it cannot do with that."""
    kl_weight: float
    """The product of the KL weights of all methods at this step."""
    noise: Noise
    """The noise of this sample. A method draws from a child with its own name."""
    progress: Progress


Change = Callable[[LatentSample], Tensor | None]
"""A change of the objective: a term for one sample, or None for no change."""


@dataclass(frozen=True)
class Objective:
    r"""The training objective \(L = \frac1B \sum_i [-\log p(x_i|z_i) + \beta\, KL(q_i \| p)]\), \(z_i \sim q_i\).

    The expectation over z is estimated by one sample. The unit is nats per example. A contender may change it to
    \(\frac1B \sum_i [-\log p(x_i|z_i) + \beta\, R_i] + E\), with a penalty R in place of the KL and an extra loss E.

    The posterior is N(1, 1) with the KL 0.5, and the weight is 0.1. So the loss is the reconstruction plus 0.05:

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, Networks, Objective, SeededNoise, StandardNormal, VAE
    >>> class Decoder(torch.nn.Module):
    ...     def forward(self, x, z, dropout):
    ...         return torch.distributions.Normal(z, 1.0).log_prob(x).sum(-1)
    >>> vae = VAE(Networks(None, None, Decoder()), StandardNormal(1))
    >>> q = DiagonalGaussian(mean=torch.tensor([[1.0]]), logvar=torch.tensor([[0.0]]))
    >>> terms = Objective(SeededNoise(0), kl_weight=0.1)(vae, torch.tensor([[1.0]]), q)
    >>> terms.kl.tolist()
    [[0.5]]
    >>> round(float(terms.loss - terms.reconstruction), 4)
    0.05
    """

    noise: Noise
    """The noise of this step. Different parts of the step draw from children of it."""
    kl_weight: float = 1.0
    r"""The weight \(\beta\) of the KL term."""
    training: bool = True
    """True draws dropout masks."""
    progress: Progress = field(default_factory=partial(Progress, 0.0, 0))
    """How far training is, for the two functions below."""
    kl_penalty: Change | None = None
    """Gives the penalty R, (B,) or a scalar, in nats per example. None, or a function that gives None, is the KL."""
    extra_loss: Change | None = None
    """Gives the extra loss E, a scalar in nats per example. None, or a function that gives None, is no such loss."""

    corrupt_decoder_input: Callable[[Tensor, Noise], Tensor] | None = None
    """Gives what the decoder reads in place of x in training. It still scores x."""

    def __call__(self, vae: VAE, x: Tensor, posterior: PosteriorDistribution, noise: Noise | None = None) -> Terms:
        """Give the terms at one posterior. The same noise gives the same sample of z and the same dropout masks.

        Raises PluginError if the posterior is none of shape (B, D) in the dtype of the networks.
        """
        _check_posterior(posterior, len(x), vae)
        noise = self.noise if noise is None else noise
        drawn = posterior.draws((noise.child("z"),))
        z = drawn.z
        reconstruction = -self.log_likelihood(vae, x, z, noise)[0]
        kl = divergence(posterior, vae.prior, drawn)
        if self.kl_penalty is None and self.extra_loss is None:
            loss = (reconstruction + self.kl_weight * kl.sum(-1)).mean()
        else:
            loss = self._changed(
                LatentSample(vae, x, posterior, z[0], reconstruction, kl, self.kl_weight, noise, self.progress)
            )
        return Terms(reconstruction, kl, self.kl_weight, loss)

    def log_likelihood(self, vae: VAE, x: Tensor, z: Float[Tensor, "S B D"], noise: Noise) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats as training has it: with dropout masks, and what methods let the decoder read."""
        dropout = noise.child("dropout") if self.training else None
        return vae.log_likelihood(x, z, dropout, self._read(x, noise))

    def _read(self, x: Tensor, noise: Noise) -> Tensor | None:
        """Give what the decoder reads; None means x."""
        if self.corrupt_decoder_input is None or not self.training:
            return None
        return self.corrupt_decoder_input(x, noise.child("corruption"))

    def _changed(self, sample: LatentSample) -> Tensor:
        """Give the loss with the penalty and the extra loss. Without both it is the plain one to the bit."""
        penalty = None if self.kl_penalty is None else self.kl_penalty(sample)
        penalty = sample.kl.sum(-1) if penalty is None else penalty
        loss = (sample.reconstruction + self.kl_weight * penalty).mean()
        extra = None if self.extra_loss is None else self.extra_loss(sample)
        return loss if extra is None else loss + extra

    def gradient(
        self,
        vae: VAE,
        x: Tensor,
        posterior: PosteriorDistribution,
        noise: Noise,
        *,
        parameters: tuple[nn.Parameter, ...] = (),
        create_graph: bool = False,
    ) -> Gradient:
        r"""Give \(\nabla_\lambda L\) at the variational parameters \(\lambda\), (P, B, D), and that by `parameters`.

        An inference strategy repeats this in its inner loop. `create_graph` keeps the graph for second derivatives.
        Parameters that do not enter the loss have gradient zero.
        """
        point = posterior.parameters if create_graph else posterior.parameters.detach().requires_grad_()
        with torch.enable_grad(), twice_differentiable(vae) if create_graph else nullcontext():
            loss = self(vae, x, posterior.at(point), noise).loss
            found = torch.autograd.grad(
                loss, (point, *parameters), create_graph=create_graph, allow_unused=True, materialize_grads=True
            )
        return Gradient(loss.detach(), found[0], found[1:])


class Gradient(NamedTuple):
    r"""The gradient of one inner step, by the posterior and by parameters of the networks.

    This decoder ignores z. So the gradient is that of the KL, \((\mu, \tfrac12(e^\ell - 1)) = (3, 0)\):

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, Networks, Objective, SeededNoise, StandardNormal, VAE
    >>> class Decoder(torch.nn.Module):
    ...     def forward(self, x, z, dropout):
    ...         return torch.zeros(z.shape[:2])
    >>> vae = VAE(Networks(None, None, Decoder()), StandardNormal(1))
    >>> q = DiagonalGaussian(mean=torch.tensor([[3.0]]), logvar=torch.tensor([[0.0]]))
    >>> gradient = Objective(SeededNoise(0)).gradient(vae, torch.zeros(1, 1), q, SeededNoise(1))
    >>> float(gradient.loss), gradient.posterior.flatten().tolist(), gradient.parameters
    (4.5, [3.0, 0.0], ())
    """

    loss: Tensor
    """The objective at the start of the step, a scalar, in nats per example."""
    posterior: Tensor
    """The gradient by the variational parameters, (P, B, D): (2, B, D) for means and log-variances."""
    parameters: tuple[Tensor, ...]
    """The gradients by the further parameters, one for each."""
