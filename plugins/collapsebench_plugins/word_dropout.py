"""Word dropout: the decoder does not see all words before the one that it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from collapsebench import Component, Family, Method, Range, SearchRange, TextSpec, UsageError, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import DataSpec, Noise

PADDING, UNKNOWN, BOS = 0, 1, 2
"""Ids that all text has (see `TextSpec`)."""


class WordDropout(Method):
    r"""Word dropout: in training, the decoder reads the unknown word in place of some words.

    The decoder still predicts every word: \(-\log p(x|z, \tilde x)\) in nats per example, where \(\tilde x_t\) is
    `<unk>` with probability p, and \(x_t\) otherwise (Bowman et al. 2016). BOS and padding stay.

    - `rate` is p. The default 0.25 is one of the two values of Kim et al. (2018), 0.25 and 0.5.
    - timbmg/Sentence-VAE (model.py:91-96) is followed. tom-pelsmaeker/deep-generative-lm also drops BOS and padding.
    - What is trained is no bound of p(x). In evaluation the decoder reads all words.
    - Tuned: `rate` between the two values of Kim et al.
    - Cost of a step: that of the plain VAE.
    - Neutral: `rate=0`.
    """

    name: ClassVar[str] = "word-dropout"
    family: ClassVar[Family] = Family.NETWORKS
    neutral: ClassVar[dict[str, float]] = {"rate": 0}
    citation: ClassVar[str] = "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016"
    search: ClassVar[dict[str, SearchRange]] = {"rate": Range(0.25, 0.5)}

    rate: Annotated[float, Field(ge=0, le=1)] = Field(0.25, description="probability p that a word is not seen")

    @hookimpl
    def check_fit(self, data: DataSpec) -> None:
        """Raise UsageError for other data than text."""
        if not isinstance(data, TextSpec):
            raise UsageError(f"method '{self.name}' drops words: it needs a dataset of text, got {data}")

    @hookimpl
    def corrupt_decoder_input(self, x: Tensor, noise: Noise) -> Tensor:
        """Give the words that the decoder reads, (B, T)."""
        import torch

        dropped = noise.uniform(tuple(x.shape), torch.empty(0, device=x.device)) < self.rate
        return x.masked_fill(dropped & (x != PADDING) & (x != BOS), UNKNOWN)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [WordDropout]
