"""The decoder without z as a contender. It answers whether a model with z is better than one without."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench import Component, Family, Method, Prior, Site, hookimpl
from collapsebench.inference.amortized import Amortized

if TYPE_CHECKING:
    from collapsebench.model.distributions import StandardNormal


class EmptyPrior(Prior):
    """A prior over zero units: z has the shape (S, B, 0), and every KL is zero."""

    name: ClassVar[str] = "empty"

    def build(self) -> StandardNormal:
        """Build N(0, I) in zero dimensions."""
        from collapsebench.model.distributions import StandardNormal

        return StandardNormal(0)


class NoInference(Amortized):
    """No inference, as there is no z. No encoder is built."""

    name: ClassVar[str] = "none"
    uses_encoder: ClassVar[bool] = False
    excludes: ClassVar[tuple[str, ...]] = ("kl_weight", "kl_penalty", "extra_loss")


class NoLatent(Method):
    r"""The decoder without a latent variable: the language model, or the plain PixelCNN.

    \(L = -\log p(x)\) in nats per example, where p is the decoder whose z is nothing.

    It gives every hook that adds or infers z. So a composition with another method that does so is a conflict, and so
    is one with a method that weighs the KL or adds a loss.

    - There is no hyperparameter. The KL is 0, and the bound is the likelihood itself.
    - What is trained and shown is the likelihood.
    - Cost of a step: one pass of the decoder.
    - Neutral: none.
    """

    name: ClassVar[str] = "no-latent"
    family: ClassVar[Family] = Family.DECODER
    citation: ClassVar[str] = (
        "the unconditional baseline, as in He et al., Lagging Inference Networks, ICLR 2019, Table 1"
    )

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:  # noqa: ARG002
        """Give the prior over zero units."""
        return EmptyPrior()

    @hookimpl
    def inference(self) -> NoInference:
        """Give the strategy without an encoder."""
        return NoInference()

    @hookimpl
    def connect_latent(self, site: Site) -> None:
        """Leave every site as it is."""


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method and the components that it uses."""
    return [NoLatent, EmptyPrior, NoInference]
