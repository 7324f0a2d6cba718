"""The unconditional decoder as a contender: does z beat no z?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench import Component, Method, Prior, Site, hookimpl
from collapsebench.inference.amortized import Amortized

if TYPE_CHECKING:
    from collapsebench.model.distributions import StandardNormal


class EmptyPrior(Prior):
    """A prior over no units at all, so that z has shape (S, B, 0) and every KL is zero."""

    name: ClassVar[str] = "empty"

    def build(self) -> StandardNormal:
        """N(0, I) in zero dimensions."""
        from collapsebench.model.distributions import StandardNormal

        return StandardNormal(0)


class NoInference(Amortized):
    """There is nothing to infer, and no encoder."""

    name: ClassVar[str] = "none"
    uses_encoder: ClassVar[bool] = False


class NoLatent(Method):
    """The decoder without a latent variable: the language model, the plain PixelCNN.

    Gives every hook by which z could enter or be inferred, so that composing it with such a method is a conflict.
    """

    name: ClassVar[str] = "no-latent"
    citation: ClassVar[str] = (
        "the unconditional baseline, as in He et al., Lagging Inference Networks, ICLR 2019, Table 1"
    )

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:  # noqa: ARG002
        return EmptyPrior()

    @hookimpl
    def inference(self) -> NoInference:
        return NoInference()

    @hookimpl
    def connect_latent(self, site: Site) -> None:  # noqa: ARG002
        return None


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """The contender and what it is made of."""
    return [NoLatent, EmptyPrior, NoInference]
