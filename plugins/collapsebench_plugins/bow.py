"""Bag of words: z alone has to predict the words of a document, whatever their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from collapsebench import Component, Family, Method, TextSpec, UsageError, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench import DataSpec, LatentSample


class BagOfWords(Method):
    r"""Bag of words: a perceptron of z predicts the words of the document, whatever their order.

    The extra loss is \(E = \frac wB \sum_i \sum_t -\log \mathrm{softmax}(f(z_i))_{x_{it}}\), in nats per example, over
    all tokens but BOS and padding; f has one tanh layer (Zhao, Zhao and Eskenazi 2017).

    - `weight` 1 and `hidden` 400 are those of the released program (snakeztc/NeuralDialog-CVAE:
      models/cvae.py:269-384). There the perceptron sees the condition of a dialog, too. Its estimate of the likelihood
      keeps the term by mistake.
    - The form of zhangjf-nlp/DG-VAEs (a sigmoid layer of the size of z, a mean over tokens, padding counted) is another
      one, and not shipped.
    - What is trained is no bound. The metrics do not see the term.
    - Cost of a step: that of the plain VAE, and \(6 B (DH + HV)\) FLOPs, with H hidden units and V words.
    - Neutral: `weight=0`.
    """

    name: ClassVar[str] = "bow"
    family: ClassVar[Family] = Family.NETWORKS
    neutral: ClassVar[dict[str, float]] = {"weight": 0}
    citation: ClassVar[str] = (
        "Zhao, Zhao, Eskenazi, Learning Discourse-level Diversity for Neural Dialog Models using Conditional "
        "Variational Autoencoders, ACL 2017"
    )

    weight: NonNegativeFloat = Field(1.0, description="weight w of the loss")
    hidden: PositiveInt = Field(400, description="units of the tanh layer")

    @hookimpl
    def check_fit(self, data: DataSpec) -> None:
        """Raise UsageError for other data than text."""
        if not isinstance(data, TextSpec):
            raise UsageError(f"method '{self.name}' predicts words: it needs a dataset of text, got {data}")

    @hookimpl
    def auxiliary_module(self, latent_dim: int, data: TextSpec) -> nn.Module:
        """Build the perceptron from codes (B, D) to the logits of words (B, V)."""
        from torch import nn

        return nn.Sequential(nn.Linear(latent_dim, self.hidden), nn.Tanh(), nn.Linear(self.hidden, data.vocabulary))

    @hookimpl
    def extra_loss(self, sample: LatentSample) -> Tensor | None:
        """Give the weighted loss, a scalar, in nats per example. Without weight the perceptron is not trained."""
        if not self.weight:
            return None
        return self.weight * bag_loss(sample.vae.auxiliary[self.name](sample.z), sample.x[:, 1:]).mean()


def bag_loss(logits: Tensor, words: Tensor) -> Tensor:
    """Give the sum of -log p of all words (B, T) but padding, under logits (B, V): (B,), in nats."""
    log_p = logits.log_softmax(-1).gather(1, words)
    return -(log_p * (words != 0)).sum(1)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [BagOfWords]
