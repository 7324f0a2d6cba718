"""Free bits: a KL below a floor costs no more than the floor, so that nothing is gained by less of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from collapsebench import Component, Family, Method, Need, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import LatentSample


class Per(StrEnum):
    """What has a floor of its own."""

    UNIT = "unit"
    EXAMPLE_UNIT = "example-unit"
    EXAMPLE = "example"
    BATCH = "batch"


class FreeBits(Method):
    r"""Free bits: a KL below a floor counts as the floor, and has no gradient.

    The floor is \(\lambda\). What has one of its own is the setting `per`:

    - unit: \(\sum_j \max(\lambda, \frac1B \sum_i KL_{ij})\), Kingma et al. (2016), as in pclucas14/iaf-vae
      (layers.py:129-132). The mean of the batch is inside, so that the result depends on the batch size.
    - example-unit: \(\frac1B \sum_{ij} \max(\lambda, KL_{ij})\), "fb 2" of Li et al. (2019).
    - example: \(\frac1B \sum_i \max(\lambda, KL_i)\) with \(KL_i = \sum_j KL_{ij}\), their "fb 1".
    - batch: \(\max(\lambda, \frac1B \sum_i KL_i)\), their "fb 3".

    Floor and KL are in nats. Where the KL has no closed form, only `per=batch` is left: floors per example of an
    estimate would be biased.

    - Default: 0.25 nats a unit. Li et al. take 8 nats over 32 units (bohanli/vae-pretraining-encoder: README).
    - The program of Li et al. masks: a KL below its floor counts 0 and not \(\lambda\). The gradient is the same, but
      its loss falls when the KL does. Here the maximum is computed, as the papers have it.
    - What is trained is no smaller than the negative ELBO. The board shows the ELBO.
    - Tuned: `nats` from 0.03 to 0.5, as floors of a unit go in Kingma et al.; floors of more than a unit are to be
      given.
    - Cost of a step: that of the plain VAE, and B·D comparisons.
    - Neutral: `nats=0`.
    """

    name: ClassVar[str] = "free-bits"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"nats": 0}
    citation: ClassVar[str] = (
        "Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016; "
        "Li et al., A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text, EMNLP 2019"
    )
    search: ClassVar[dict[str, SearchRange]] = {"nats": Range(0.03, 0.5, log=True)}

    nats: NonNegativeFloat = Field(0.25, description="the floor λ of each KL that `per` names, in nats")
    per: Per = Field(
        Per.UNIT, description="what has a floor: the batch mean of a unit, an example-unit, an example, or the batch"
    )

    def needs(self) -> frozenset[Need]:
        """Say which KL has a floor. The batch mean may be that of an estimate."""
        if self.per in {Per.UNIT, Per.EXAMPLE_UNIT}:
            return frozenset({Need.UNITS})
        return frozenset({Need.CLOSED_FORM} if self.per is Per.EXAMPLE else ())

    @hookimpl
    def kl_penalty(self, sample: LatentSample) -> Tensor:
        """Give the KL with its floor, (B,), in nats."""
        import torch

        kl = sample.kl if self.per in {Per.UNIT, Per.EXAMPLE_UNIT} else sample.kl.sum(-1, keepdim=True)
        known = kl.mean(0) if self.per in {Per.UNIT, Per.BATCH} else kl
        enough = known.clamp(min=0) >= self.nats  # a KL is below zero by rounding alone
        return torch.where(enough, kl, self.nats).sum(-1)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [FreeBits]
