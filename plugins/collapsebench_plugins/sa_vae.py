"""Stochastic variational inference (SVI): SA-VAE, and the methods that it is compared with, VAE+SVI and SVI alone."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from collapsebench import Component, Family, Inference, Method, Need, OneOf, SearchRange, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from collapsebench.model.posterior import PosteriorDistribution
    from collapsebench.model.seeding import Noise
    from collapsebench.model.vae import VAE, Objective, Terms

KIM = "Kim, Wiseman, Miller, Sontag, Rush, Semi-Amortized Variational Autoencoders, ICML 2018"


class StepSize(StrEnum):
    """The gradient that an SVI step follows."""

    BATCH_MEAN = "batch-mean"
    """The gradient of the batch mean, as in the released code. The step of one example shrinks with the batch size."""
    PER_EXAMPLE = "per-example"
    """The gradient of each example. It does not depend on the batch size."""


class Clip(StrEnum):
    """The clipping of gradients in the inner loop."""

    OFF = "off"
    STEP = "step"
    """Clip the gradient of each example, mean and log-variance together. SA-VAE differentiates through it."""
    AS_RELEASED = "as-released"
    """Clip by the norms of whole tensors, as in the released code. This destroys the second-order information."""


class HVP(StrEnum):
    """The ways to compute Hessian-vector products."""

    EXACT = "exact"
    FINITE_DIFFERENCE = "finite-difference"


class EncoderLoss(StrEnum):
    """The losses of an encoder through which the steps are not differentiated."""

    ELBO = "elbo"
    KL = "kl"


class _Inner(NamedTuple):
    """One inner step: its start, its noise and its gradients."""

    posterior: PosteriorDistribution
    noise: Noise
    gradient: Tensor  # (P, B, D), the one that finite differences start from
    decoder: tuple[Tensor, ...]  # by the decoder's parameters, never clipped


class SVI(Method, Inference):
    r"""SVI: K momentum steps on the variational parameters of each example, without an encoder.

    With \(\lambda = (\mu, \ell)\), mean and log-variance, a step is

    \(v_{k+1} = \gamma v_k - \nabla L_k(\lambda_k)\), \(\lambda_{k+1} = \lambda_k + \alpha v_{k+1}\), \(v_0 = 0\).

    \(L_k\) is the training objective, or in evaluation the plain negative ELBO, at one fresh sample of z (Kim et al.
    2018, Algorithm 1). There is no encoder: the start is \(\lambda_0 = 0\), and only the decoder is trained.

    - `steps` K is 10 or 20 in the paper, and 20 in the program (yoonkim/skip-vae: train_img_skip.py:48).
      \(\alpha\) 1 and \(\gamma\) 0.5 are those of both (harvardnlp/sa-vae: optim_n2n.py:41-115).
    - There L is the mean of a batch, so that the step of one example shrinks with the batch size (`step_size`), and
      norms are clipped over whole tensors (`clip`). On text its evaluation starts from noise of 0.1; here all start
      from 0. It seeds torch anew at each step from few values, which is left out.
    - What is trained and shown is the ELBO of the refined posterior.
    - Tuned: `steps` 10 or 20, as in the paper.
    - Cost of a step: K + 1 passes of the decoder, forward and backward.
    - Neutral: none, as there is no encoder.
    """

    name: ClassVar[str] = "svi"
    family: ClassVar[Family] = Family.INFERENCE
    citation: ClassVar[str] = "Hoffman, Blei, Wang, Paisley, Stochastic Variational Inference, JMLR 2013"
    uses_encoder: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = True
    search: ClassVar[dict[str, SearchRange]] = {"steps": OneOf(10, 20)}

    steps: NonNegativeInt = Field(10, description="number K of SVI steps, in training and in evaluation")
    learning_rate: PositiveFloat = Field(1.0, description="step size of the means (and of the log-variances)")
    learning_rate_logvar: PositiveFloat | None = Field(
        None, description="step size of the log-variances; by default that of the means"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="momentum of the steps")
    step_size: StepSize = Field(
        StepSize.BATCH_MEAN, description="batch-mean: follow the gradient of the batch mean, as released; per-example"
    )
    clip: Clip = Field(
        Clip.STEP,
        description="step: clip the gradient that the step of each example follows; as-released: clip by norms over "
        "whole tensors, with the whole batch; off",
    )
    clip_norm: PositiveFloat = Field(5.0, description="the largest norm, in nats per unit of the parameters")

    @hookimpl
    def inference(self) -> Inference:
        """Give the strategy, which is the method itself."""
        return self

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> PosteriorDistribution:
        """Give the posterior after K steps on the plain ELBO."""
        from collapsebench.model.vae import Objective

        return self.refine(vae, x, vae.encode(x).detach(), Objective(noise, training=False))

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the decoder's gradient at the refined posterior, which is held fixed, and give the terms."""
        return self._decoder_gradients(vae, x, self.refine(vae, x, vae.encode(x).detach(), objective), objective)

    def _decoder_gradients(self, vae: VAE, x: Tensor, refined: PosteriorDistribution, objective: Objective) -> Terms:
        return objective(vae, x, refined, objective.noise.child("final")).backward()

    def refine(self, vae: VAE, x: Tensor, start: PosteriorDistribution, objective: Objective) -> PosteriorDistribution:
        """Give λ_K, the posterior after K steps on the objective, without its autograd graph."""
        posterior, velocity = start, _still(start)
        for noise in self._noises(objective):
            gradient = self._clipped(objective.gradient(vae, x, posterior, noise).posterior)
            posterior, velocity = self._advance(posterior, velocity, gradient)
        return posterior

    def _noises(self, objective: Objective) -> Iterable[Noise]:
        return (objective.noise.child("svi", step) for step in range(self.steps))

    def _advance(
        self, posterior: PosteriorDistribution, velocity: Tensor, gradient: Tensor
    ) -> tuple[PosteriorDistribution, Tensor]:
        velocity = self.momentum * velocity - gradient
        return _moved(posterior, self._rate(velocity) * velocity), velocity

    def _rate(self, like: Tensor) -> Tensor:
        """Give the step size α for means and log-variances, (P, 1, 1). It is filled where it is used, not copied.

        In a family with other parameters the first ones take the place of the means.
        """
        logvar = self.learning_rate if self.learning_rate_logvar is None else self.learning_rate_logvar
        scale = self._scale(like)
        rate = like.new_full((len(like), 1, 1), self.learning_rate * scale)
        rate[1:] = logvar * scale
        return rate

    def _scale(self, gradient: Tensor) -> int:
        """Give the factor from the gradient of the batch mean to that of a step: 1, or the batch size."""
        return gradient.shape[1] if self.step_size is StepSize.PER_EXAMPLE else 1

    def _clipped(self, gradient: Tensor) -> Tensor:
        r"""Give the clipped gradient: \(g_i \min(1, c/\|s g_i\|)\) per example, or that of the released code.

        The step of example i follows \(s g_i\), with s = 1 or s = B.
        """
        match self.clip:
            case Clip.OFF:
                return gradient
            case Clip.STEP:
                norm: Tensor = self._scale(gradient) * gradient.movedim(1, 0).flatten(1).norm(dim=1)
                return gradient * (self.clip_norm / norm.clamp(min=self.clip_norm))[:, None]
            case Clip.AS_RELEASED:
                return gradient * self._factor(gradient.flatten(1).norm(dim=1))[:, None, None]

    def _factor(self, norm: Tensor) -> Tensor:
        """Give the released code's factor for tensors of these norms. It is 1 for other ways of clipping."""
        if self.clip is not Clip.AS_RELEASED:
            return norm.new_ones(norm.shape)
        return (self.clip_norm / (norm + 1e-6)).clamp(max=1)


class VAESVI(SVI):
    r"""VAE+SVI: SVI steps from the encoder's output, through which no gradient flows.

    It is described in section 5 of Kim et al. 2018. The decoder follows the objective at the refined posterior. The
    encoder follows its own negative ELBO (`elbo`), or \(KL(q_0 \| q_K)\) with the refined posterior \(q_K\) held fixed
    (`kl`, VAE+SVI+KL).

    - The settings are those of `svi`. `encoder_loss` is `elbo` by default, the program's `--train_kl 0`.
    - What is trained is the ELBO of the refined posterior for the decoder, and the encoder's loss for the encoder. What
      is shown is the ELBO of the refined posterior.
    - Cost of a step: a pass of the encoder, and K + 2 of the decoder, or K + 1 with `kl`, forward and backward.
    - Neutral: `steps=0`, but for the noise.
    """

    name: ClassVar[str] = "vae-svi"
    citation: ClassVar[str] = KIM
    uses_encoder: ClassVar[bool] = True

    encoder_loss: EncoderLoss = Field(
        EncoderLoss.ELBO, description="loss of the encoder: elbo, its own ELBO; kl, the KL to the refined posterior"
    )

    def needs(self) -> frozenset[Need]:
        """Say that the KL of two posteriors needs Gaussians."""
        return frozenset({Need.GAUSSIAN} if self.encoder_loss is EncoderLoss.KL else ())

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the gradients of decoder and encoder, and give the terms at the refined posterior."""
        from torch import autograd

        from collapsebench import as_gaussian

        start = vae.encode(x)
        refined = self.refine(vae, x, start.detach(), objective)
        terms = self._decoder_gradients(vae, x, refined, objective)
        if self.encoder_loss is EncoderLoss.KL:
            divergence = as_gaussian(start).kl(as_gaussian(refined)).sum(-1).mean()
            autograd.backward(divergence)
        else:
            initial = objective.gradient(vae, x, start.detach(), objective.noise.child("initial"))
            autograd.backward(start.parameters, initial.posterior)
        return terms


class SAVAE(SVI):
    r"""SA-VAE: K SVI steps from the encoder's output, through which gradients flow.

    `hvp=exact` keeps the K steps in one graph (double backward). `hvp=finite-difference` is Algorithm 2 of the paper:
    \(H u \approx [\nabla L(\lambda + \epsilon u) - \nabla L(\lambda)]/\epsilon\), with the noise of the step. The ELBO
    at \(\lambda_0\) is no part of the objective (Kim et al. 2018).

    - The settings are those of `svi`, which names their places. The program computes finite differences with a step of
      1e-5, clips in three places, and differentiates through none of these clips (optim_n2n.py:117-). That is
      `hvp=finite-difference,clip=as-released`.
    - What is trained and shown is the ELBO of the refined posterior.
    - Cost of a step: a pass of the encoder, and about 2 K + 2 of the decoder, forward and backward.
    - Neutral: `steps=0`, but for the noise.
    """

    name: ClassVar[str] = "sa-vae"
    citation: ClassVar[str] = KIM
    uses_encoder: ClassVar[bool] = True

    hvp: HVP = Field(HVP.EXACT, description="Hessian-vector products: exact by double backward, or finite-difference")
    epsilon: PositiveFloat = Field(
        1e-3, description="step of the finite difference; 1e-5, as released, is below what float32 resolves"
    )

    @model_validator(mode="after")
    def _clip_needs_differences(self) -> Self:
        if self.clip is Clip.AS_RELEASED and self.hvp is HVP.EXACT:
            raise ValueError("clip=as-released clips finite differences: it needs hvp=finite-difference")
        return self

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the gradients of the objective at the refined posterior, through all K steps, and give its terms."""
        from torch import autograd

        start = vae.encode(x)
        if self.hvp is HVP.EXACT:
            return self.exact(vae, x, start, objective)
        terms, adjoint = self.finite_difference(vae, x, start.detach(), objective, tuple(vae.decoder.parameters()))
        autograd.backward(start.parameters, adjoint)
        return terms

    def exact(self, vae: VAE, x: Tensor, start: PosteriorDistribution, objective: Objective) -> Terms:
        """Differentiate through the graph of all steps, by the decoder's parameters and by those behind `start`."""
        posterior, velocity = start, _still(start)
        for noise in self._noises(objective):
            gradient = objective.gradient(vae, x, posterior, noise, create_graph=True).posterior
            posterior, velocity = self._advance(posterior, velocity, self._clipped(gradient))
        return objective(vae, x, posterior, objective.noise.child("final")).backward()

    def finite_difference(
        self, vae: VAE, x: Tensor, start: PosteriorDistribution, objective: Objective, decoder: tuple[nn.Parameter, ...]
    ) -> tuple[Terms, Tensor]:
        """Give the terms at the refined posterior, and the adjoint of the start, (P, B, D).

        The gradients of the decoder stay in its parameters. `decoder` are the parameters that the steps correct.
        """
        import torch

        tape: list[_Inner] = []
        posterior, velocity = start, _still(start)
        for noise in self._noises(objective):
            found = objective.gradient(vae, x, posterior, noise, parameters=decoder)
            clipped = self._clipped(found.posterior)
            differenced = clipped if self.clip is Clip.AS_RELEASED else found.posterior
            tape.append(_Inner(posterior, noise, differenced, found.parameters))
            posterior, velocity = self._advance(posterior, velocity, clipped)
        point = posterior.parameters.detach().requires_grad_()
        terms = objective(vae, x, posterior.at(point), objective.noise.child("final")).backward()
        adjoint = torch.zeros_like(point) if point.grad is None else point.grad
        backward_velocity = _still(start)
        for step in reversed(tape):
            backward_velocity = backward_velocity + self._rate(adjoint) * adjoint
            adjoint = self._adjoint(vae, x, objective, step, _Seed(adjoint, backward_velocity, decoder))
            backward_velocity = self.momentum * backward_velocity
        return terms, adjoint

    def _adjoint(self, vae: VAE, x: Tensor, objective: Objective, step: _Inner, seed: _Seed) -> Tensor:
        """Give the adjoint before one step, and add the step's correction to the decoder's gradients."""
        moved = _moved(step.posterior, self.epsilon * self._before_clipping(step.gradient, seed.velocity))
        found = objective.gradient(vae, x, moved, step.noise, parameters=seed.decoder)
        factor = self._factor(_joint_norm((found.posterior, *found.parameters)))
        quotients = [(f * factor - g) / self.epsilon for f, g in zip(found.parameters, step.decoder, strict=True)]
        shrink = self._factor(_joint_norm(quotients))
        for parameter, quotient in zip(seed.decoder, quotients, strict=True):
            correction = quotient * -shrink
            parameter.grad = correction if parameter.grad is None else parameter.grad + correction
        adjoint = seed.adjoint - (found.posterior * factor - step.gradient) / self.epsilon
        return adjoint * self._factor(adjoint.norm())

    def _before_clipping(self, gradient: Tensor, adjoint: Tensor) -> Tensor:
        """Give the adjoint of a gradient from that of the clipped gradient. The released code leaves this out."""
        from torch import autograd, enable_grad

        if self.clip is not Clip.STEP:
            return adjoint
        with enable_grad():
            point = gradient.detach().requires_grad_()
            return autograd.grad(self._clipped(point), point, adjoint)[0]


class _Seed(NamedTuple):
    """The input of the backward pass to one inner step."""

    adjoint: Tensor  # (P, B, D)
    velocity: Tensor  # (P, B, D), the direction u of the Hessian-vector product
    decoder: tuple[nn.Parameter, ...]


def _still(start: PosteriorDistribution) -> Tensor:
    """Give the first velocity v_0 = 0, (P, B, D)."""
    parameters = start.parameters
    return parameters.new_zeros(parameters.shape)


def _moved(posterior: PosteriorDistribution, step: Tensor) -> PosteriorDistribution:
    return posterior.at(posterior.parameters + step)


def _joint_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Give the L2 norm of all entries together, a scalar."""
    first, *others = (tensor.square().sum() for tensor in tensors)
    return sum(others, start=first).sqrt()


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the three methods of this plugin."""
    return [SVI, VAESVI, SAVAE]
