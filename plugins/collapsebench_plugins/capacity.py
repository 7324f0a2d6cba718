"""A capacity for the KL that grows during training."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, NonNegativeFloat

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import LatentSample


class Per(StrEnum):
    """What is held at the capacity."""

    BATCH = "batch"
    EXAMPLE = "example"


class Capacity(Method):
    r"""The KL is drawn to a capacity, which grows during training.

    \(L = -\log p(x|z) + \gamma\, |KL - C_t|\), in nats per example. This is the objective of Burgess et al. (2018).
    \(C_t = C \min(1, s/w)\) grows linearly with the share s of the budget that is spent. The KL is that of the batch
    mean, as the equation has it; `per=example` takes the absolute value of each example, as Pythae does, which has
    another optimum.

    - `nats` is C. It has no default that holds for all data. Pythae's is 50 (`DisentangledBetaVAEConfig`).
    - `gamma`: 10, as there ("beta").
    - `warmup` is w, a share of the budget. Pythae has 25 epochs. The default is that of `kl-annealing`.
    - Pythae's capacity ends at C·w/(w+1) if it is not told the epoch. Here it ends at C.
    - What is trained is no bound while the KL is below \(C_t\). The board shows the ELBO, and selects by it. So the
      chosen parameters can be those of an early point with a smaller KL than C.
    - Tuned: `nats` from 1 to the 25 of Burgess et al.; the authors choose it for each data set.
    - Cost of a step: that of the plain VAE.
    - Neutral: `nats=0,gamma=1`.
    """

    name: ClassVar[str] = "capacity"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"nats": 0, "gamma": 1}
    citation: ClassVar[str] = "Burgess et al., Understanding disentangling in beta-VAE, 2018 (arXiv:1804.03599)"
    search: ClassVar[dict[str, SearchRange]] = {"nats": Range(1, 25, log=True)}

    nats: NonNegativeFloat = Field(description="the capacity C at the end, in nats", examples=[3])
    gamma: NonNegativeFloat = Field(10.0, description="weight γ of the distance between KL and capacity")
    warmup: Annotated[float, Field(gt=0, le=1)] = Field(0.4, description="share of the budget in which C grows")
    per: Per = Field(Per.BATCH, description="what is held at the capacity: the mean of the batch, or each example")

    @hookimpl
    def kl_penalty(self, sample: LatentSample) -> Tensor:
        """Give γ times the distance of the KL from the capacity, (B,), in nats. Its mean is that of the equation."""
        import torch

        capacity = self.nats * min(1.0, sample.progress.fraction / self.warmup)
        kl = sample.kl.sum(-1)
        known = kl.mean() if self.per is Per.BATCH else kl
        below = known.clamp(min=0) < capacity  # a KL is below zero by rounding alone
        return self.gamma * torch.where(below, capacity - kl, kl - capacity)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [Capacity]
