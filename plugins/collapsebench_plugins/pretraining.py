"""Autoencoder pretraining: a phase without a KL term, after which the decoder begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PrivateAttr

from collapsebench import Component, Family, Method, Progress, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from collapsebench import VAE


class Pretraining(Method):
    r"""Autoencoder pretraining: a first phase has no KL term, and then the decoder begins anew.

    \(L = -\log p(x|z)\) while the spent share of the budget is below s, in nats per example, and the negative ELBO
    afterwards. The encoder is kept, the decoder is drawn again as before the first step, without its moments (Li et al.
    2019; bohanli/vae-pretraining-encoder: text_beta.py, text_anneal_fb.py). `pretraining+free-bits[per=example-unit]`
    is their method.

    - `share` is s. In the paper the first phase ends when it has converged, and has a budget of its own. Here both
      phases share one budget, so the default 0.3 is a choice of this program.
    - The authors anneal the KL weight in the second phase: `kl-annealing` counts from the start of the first one.
    - A decay of the learning rate can begin in the first phase, where the bound does not improve.
    - What is trained in the end is the ELBO. The chosen parameters can be those of the first phase.
    - Cost of a step: that of the plain VAE.
    - Neutral: `share=0`.
    """

    name: ClassVar[str] = "pretraining"
    family: ClassVar[Family] = Family.PROCEDURE
    neutral: ClassVar[dict[str, float]] = {"share": 0}
    citation: ClassVar[str] = (
        "Li et al., A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text, EMNLP 2019"
    )

    share: Annotated[float, Field(ge=0, lt=1)] = Field(0.3, description="share s of the budget without a KL term")
    _begun: bool = PrivateAttr(False)
    """True when the decoder has begun anew."""

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        """Give 0 in the first phase, then 1."""
        return float(progress.fraction >= self.share)

    @hookimpl
    def modules_to_reset(self, vae: VAE, progress: Progress) -> list[nn.Module]:
        """Give the decoder before the first step of the second phase."""
        return [vae.decoder] if self._second(progress) and not self._begun else []

    @hookimpl
    def after_step(self, progress: Progress) -> None:
        """Take note that the decoder has begun anew."""
        self._begun = self._begun or self._second(progress)

    def _second(self, progress: Progress) -> bool:
        return 0 < self.share <= progress.fraction


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [Pretraining]
