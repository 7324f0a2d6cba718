"""MAE: posteriors of one batch are driven apart, and all pairs of them equally far."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from collapsebench import Component, Family, Method, Need, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import LatentSample
    from collapsebench.model.distributions import DiagonalGaussian


class MAE(Method):
    r"""MAE: the posteriors of a batch are driven apart, and all pairs of them equally far.

    The extra loss is \(E = -\eta \sum_j \log \mathrm{sigmoid}(m_j) + \gamma\, s\), in nats per example. \(m_j\) is the
    mean of \(KL(q_{ij} \| q_{kj})\) over the B(B-1) pairs of two different examples, for each unit j, and s the
    unbiased standard deviation of \(KL(q_i \| q_k)\) over them, both in nats (Ma, Zhou and Hovy 2019, XuezheMax/mae:
    mae/modules/mae.py:100-140).

    - `eta`, `gamma`: 0 in the program, which means off; each experiment gives its own. Here \(\eta\) is 1 by default,
      and \(\gamma\) 0.
    - The program adds 1e-12 to variances, which is left out here. Its floor under the mean KL is
      `free-bits[per=batch]`. Its autoregressive prior and its averaged parameters are not a part of this method.
    - What is trained is no bound. The board shows the ELBO. A batch of one example has no pairs.
    - Tuned: `eta`, which the authors choose for each data set, from half to twice its default.
    - Cost of a step: that of the plain VAE, and about \(6 B^2 D\) elementwise operations, which FLOPs do not count.
    - Neutral: `eta=0,gamma=0`.
    """

    name: ClassVar[str] = "mae"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"eta": 0, "gamma": 0}
    citation: ClassVar[str] = "Ma, Zhou, Hovy, MAE: Mutual Posterior-Divergence Regularization for VAEs, ICLR 2019"
    search: ClassVar[dict[str, SearchRange]] = {"eta": Range(0.5, 2, log=True)}

    eta: NonNegativeFloat = Field(1.0, description="weight η of the mean divergence of each unit")
    gamma: NonNegativeFloat = Field(0.0, description="weight γ of the deviation of divergences")

    def needs(self) -> frozenset[Need]:
        """Say that the KL of two posteriors needs Gaussians."""
        return frozenset({Need.GAUSSIAN})

    @hookimpl
    def extra_loss(self, sample: LatentSample) -> Tensor | None:
        """Give the regularizer of the batch, a scalar, in nats per example."""
        from collapsebench import as_gaussian

        if len(sample.posterior) < 2:
            return None
        divergence = pairwise(as_gaussian(sample.posterior))
        spread = divergence.sum(-1).std()
        return self.gamma * spread - self.eta * divergence.mean(0).sigmoid().log().sum()


def pairwise(posterior: DiagonalGaussian) -> Tensor:
    """Give KL(q_i || q_k) for all pairs of two different examples, (B(B-1), D), in nats."""
    import torch

    number = len(posterior)
    first = torch.arange(number, device=posterior.mean.device).repeat(number - 1)
    further = torch.arange(1, number, device=posterior.mean.device).repeat_interleave(number)
    return posterior[first].kl(posterior[(first + further) % number])


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [MAE]
