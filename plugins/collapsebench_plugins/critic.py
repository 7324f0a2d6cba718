"""Contrastive critics: a critic has to tell from which example of the batch a code was drawn."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench import DataSpec, LatentSample

IMAGES, TEXT = 20.0, 40.0
"""The weights of the authors."""


class Critic(StrEnum):
    """What judges a code and an example."""

    SELF = "self"
    NETWORKS = "networks"


class ContrastiveCritic(Method):
    r"""Contrastive critic: a critic has to tell from which example of the batch a code was drawn.

    The extra loss is \(E = \frac{\lambda}{B} \sum_i -\log \frac{e^{s(z_i, x_i)}}{\sum_k e^{s(z_i, x_k)}}\), the
    cross-entropy over the B examples of the batch, in nats per example (Menon, Blei and Vondrick 2022).

    - `critic=self`: \(s = \log q(z_i|x_k)\). The cross-entropy is \(\ln B\) minus the lower bound on the mutual
      information of the batch that `mi_lower` is of a split. So this method trains a column of the board, up to
      \(\ln B\). Judge it by the others.
    - `critic=networks`: \(s = e^\tau \cos(f(z_i), g(x_k))\) with two perceptrons and a learned temperature, where
      \(\tau\) starts at \(\ln(1/0.07)\). Each has one hidden layer of `width` rectified units and `width` outputs.
      g reads x itself: an image or a vector with all its entries, log(1 + x) of counts, and the mean of the word
      embeddings, of size `width`, of a document without padding. Whatever g reads, the loss bounds the information.
    - `weight` is \(\lambda\). Without a value it is 20, and 40 on text, the authors' values for images and text. The
      re-implementation has 10.
    - No program of the authors was found, and of the paper only parts were read. The rule is that of a
      re-implementation (abhijithasokan/forget-me-not-vae: training/train_beta_vae.py, models/vae_base.py). What the
      networks of the paper read, and how wide they are, could not be established. Those of the re-implementation have
      hidden layers of 256 (x) and 64 (z) units, and read x by a second encoder. It averages the cross-entropies over
      examples and over codes, and has \(\tau\) in the place of \(e^\tau\). Here the factor is that of CLIP, from which
      the start value is.
    - What is trained is no bound. The metrics do not see the term. In a batch of one example it is 0.
    - Tuned: `weight` from 10 to 40, which are all that are known.
    - Cost of a step: that of the plain VAE, and about \(4 B^2 D\) elementwise operations, which FLOPs do not count; or
      with `networks` at most \(6 B W (D + P + 2W + B)\) FLOPs, with W the width, and P the entries of x, or W on text.
    - Neutral: `weight=0`.
    """

    name: ClassVar[str] = "critic"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"weight": 0}
    citation: ClassVar[str] = (
        "Menon, Blei, Vondrick, Forget-me-not! Contrastive Critics for Mitigating Posterior Collapse, UAI 2022"
    )
    search: ClassVar[dict[str, SearchRange]] = {"weight": Range(10, 40, log=True)}

    critic: Critic = Field(Critic.SELF, description="what judges: self, the posterior; networks, two perceptrons")
    weight: NonNegativeFloat | None = Field(None, description="weight λ of the loss; by default 20, and 40 on text")
    width: PositiveInt = Field(128, description="units of the hidden and the output layer of both networks")

    @hookimpl
    def auxiliary_module(self, latent_dim: int, data: DataSpec) -> nn.Module:
        """Build the networks from codes (B, D) and examples (B, …) to s, (B, B). The self-critic has none."""
        from torch.nn import Identity

        from collapsebench_plugins.cosine import Cosine

        return Cosine(latent_dim, data, self.width) if self.critic is Critic.NETWORKS else Identity()

    @hookimpl
    def extra_loss(self, sample: LatentSample) -> Tensor | None:
        """Give the weighted cross-entropy, a scalar, in nats per example. Without weight no network is trained."""
        weight = self._weight(sample.x)
        return weight * cross_entropy(self._scores(sample)) if weight else None

    def _weight(self, x: Tensor) -> float:
        if self.weight is not None:
            return self.weight
        return IMAGES if x.is_floating_point() else TEXT

    def _scores(self, sample: LatentSample) -> Tensor:
        """Give s of code i (row) and example k (column), (B, B)."""
        if self.critic is Critic.SELF:
            number = len(sample.z)
            return sample.posterior.log_prob(sample.z[:, None].expand(-1, number, -1))
        found: Tensor = sample.vae.auxiliary[self.name](sample.z, sample.x)
        return found


def cross_entropy(scores: Tensor) -> Tensor:
    """Give the mean of -log softmax of the diagonal over the rows of scores (B, B), a scalar, in nats."""
    return -scores.log_softmax(1).diagonal().mean()


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [ContrastiveCritic]
