"""VampPrior: a prior that is the mixture of the posteriors of learned pseudo-inputs."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt

from collapsebench import (
    Component,
    CountSpec,
    Family,
    ImageSpec,
    IntegerRange,
    LevelImageSpec,
    Method,
    Need,
    Prior,
    SearchRange,
    UsageError,
    VectorSpec,
    hookimpl,
)

if TYPE_CHECKING:
    from collapsebench import DataSpec, Encoder
    from collapsebench_plugins.mixtures import PseudoInputs


class Pseudo(StrEnum):
    """What is learned."""

    INPUTS = "inputs"
    """Inputs of the encoder, as in the paper."""
    FEATURES = "features"
    """Inputs of the layer behind the encoder, which neither the paper nor a released program has."""


class PosteriorMixture(Prior):
    """The mixture of the posteriors of learned pseudo-inputs."""

    name: ClassVar[str] = "posterior-mixture"
    model_config = ConfigDict(allow_inf_nan=True)  # bounds

    latent_dim: PositiveInt = Field(description="latent units")
    shape: tuple[PositiveInt, ...] = Field(description="shape of all pseudo-inputs, their number first")
    bounds: tuple[float, float] = Field(description="the least and the largest value of a pseudo-input")
    mean: float = Field(description="mean of the first values")
    std: NonNegativeFloat = Field(description="standard deviation of the first values")
    pseudo: Pseudo = Field(description="what is learned")

    def build(self) -> PseudoInputs:
        """Build the module that gives the mixture for the networks as they are."""
        import torch

        from collapsebench_plugins.mixtures import PseudoFeatures, PseudoInputs

        kind = PseudoInputs if self.pseudo is Pseudo.INPUTS else PseudoFeatures
        return kind(self.mean + self.std * torch.randn(self.shape), self.latent_dim, self.bounds)


class VampPrior(Method):
    r"""VampPrior: the prior is the mixture of the posteriors of K learned pseudo-inputs.

    \(p(z) = \frac1K \sum_c q(z|u_c)\), where the \(u_c\) are trained with the networks (Tomczak and Welling 2018). The
    KL has no closed form: \(\log q(z|x) - \log p(z)\) in nats at the sample takes its place, as in the authors' program
    (jmtomczak/vae_vampprior: models/VAE.py:59-89, 192-220). With K = 1 it is that of two Gaussians, per unit.

    - `components` K: 500 in that program (experiment.py), 50 in Pythae.
    - `mean` 0.05 and `std` 0.01 of the first values: what it takes for MNIST and Omniglot (utils/load_data.py). Caltech
      and Frey faces have 0.8 there, grey histopathology 0.4 and 0.05. The -0.05 of its command line is never used:
      behind the clamp it would have no gradient. That program can also start from training examples, here none is seen.
    - Pseudo-inputs are images clamped to [0, 1], vectors, or counts clamped from below at 0. A pixel outside gets no
      gradient. In Pythae they share a bias (models/vamp/vamp_model.py:102-164), which changes how they are trained, and
      not which priors there are. Both programs leave \(\frac D2 \log 2\pi\) out of log-densities: it cancels in the KL.
    - Token ids cannot be learned. `pseudo=features` learns inputs of the layer behind the encoder, of the width of its
      features, in their place: \(p(z) = \frac1K \sum_c q(z|h_c)\). This fits all data. Neither the paper nor a released
      program has it, so name it where you report it.
    - The authors clamp the log-variance of q to [-6, 2], and train by AdamNormGrad with a KL that is annealed for 100
      epochs. Here the posterior is that of the track and not clamped; `kl-annealing` can be added.
    - \(q(z|u_c)\) is that of evaluation: batch normalization, as of `bn-vae`, uses its running statistics for
      pseudo-inputs, and they do not enter them. Behind `iaf` the components are posteriors of the flow, so that each
      code is inverted for each component.
    - What is trained and shown is the ELBO. There is no KL per unit but with K = 1.
    - Tuned: `components` between these two.
    - Cost of a step: that of the plain VAE and \(3 K E + 12 K B D\) FLOPs, where a pass of encoder and posterior has E:
      K forward and backward passes, and the densities of B codes. Each inner step of `sa-vae` takes them, too. With
      `pseudo=features` E is that of the layer alone.
    - Neutral: none.
    """

    name: ClassVar[str] = "vamp-prior"
    family: ClassVar[Family] = Family.DISTRIBUTIONS
    citation: ClassVar[str] = "Tomczak, Welling, VAE with a VampPrior, AISTATS 2018"
    search: ClassVar[dict[str, SearchRange]] = {"components": IntegerRange(50, 500, log=True)}

    components: PositiveInt = Field(500, description="number K of pseudo-inputs")
    mean: float = Field(0.05, description="mean of the first values of pseudo-inputs")
    std: NonNegativeFloat = Field(0.01, description="standard deviation of the first values of pseudo-inputs")
    pseudo: Pseudo = Field(Pseudo.INPUTS, description="what is learned: inputs of the encoder, or features of it")

    def takes(self) -> frozenset[Need]:
        """Say that the KL to a mixture has no closed form."""
        return frozenset({Need.UNITS, Need.CLOSED_FORM} if self.components > 1 else ())

    @hookimpl
    def check_fit(self, data: DataSpec, encoder: Encoder | None) -> None:
        """Raise UsageError without an encoder, and for pseudo-inputs of text."""
        if encoder is None:
            raise UsageError(f"method '{self.name}' needs an encoder, through which its pseudo-inputs pass")
        if self.pseudo is Pseudo.INPUTS:
            self._inputs(data)

    @hookimpl
    def prior(self, latent_dim: int, data: DataSpec, width: int) -> Prior:
        """Give the mixture."""
        shape, bounds = self._inputs(data) if self.pseudo is Pseudo.INPUTS else ((width,), (-math.inf, math.inf))
        return PosteriorMixture(
            latent_dim=latent_dim,
            shape=(self.components, *shape),
            bounds=bounds,
            mean=self.mean,
            std=self.std,
            pseudo=self.pseudo,
        )

    def _inputs(self, data: DataSpec) -> tuple[tuple[int, ...], tuple[float, float]]:
        """Give the shape of one pseudo-input, and the least and the largest of its values."""
        match data:
            case ImageSpec() | LevelImageSpec():
                return data.shape, (0.0, 1.0)
            case VectorSpec():
                return (data.dimension,), (-math.inf, math.inf)
            case CountSpec():
                return (data.dimension,), (0.0, math.inf)
        raise UsageError(
            f"method '{self.name}' learns inputs, which token ids cannot be: write {self.name}[pseudo=features]"
        )


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin and its prior."""
    return [VampPrior, PosteriorMixture]
