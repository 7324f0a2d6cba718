"""InfoVAE: a maximum mean discrepancy between codes and prior beside, or in place of, the KL. WAE-MMD is a setting."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import LatentSample


class Kernel(StrEnum):
    """The kernels of the discrepancy."""

    IMQ = "imq"
    RBF = "rbf"


class InfoVAE(Method):
    r"""InfoVAE: a maximum mean discrepancy of codes and prior, beside the KL or in its place.

    \(L = -\log p(x|z) + (1-\alpha)\, KL + (\alpha + \lambda - 1)\, MMD\), in nats per example (Zhao, Song and Ermon
    2019).

    The MMD, a maximum mean discrepancy, is between the B codes z of a batch and B draws \(\tilde z\) of the prior, as
    in Pythae (`info_vae_model.py:88-153`): \(\frac{1}{B(B-1)} \sum_{i \ne k} [k(z_i, z_k) + k(\tilde z_i,
    \tilde z_k)] - \frac{2}{B^2} \sum_{ik} k(z_i, \tilde z_k)\). It has no bias, and so may be negative. With
    \(C = 2 D h^2\) the kernel is

    - imq: \(\sum_s sC / (sC + \|z - z'\|^2)\) over the scales s;
    - rbf: \(\exp(-\|z - z'\|^2 / C)\), without scales.

    Settings:

    - `alpha=1` leaves the MMD alone, with weight \(\lambda\): the objective of WAE-MMD (Tolstikhin et al., Wasserstein
      Auto-Encoders, ICLR 2018) with a Gaussian encoder, whose likelihood can be bounded. This is the default, with
      their weight 10. There is no KL then that another method could weigh. Pythae's WAE-MMD encodes to a point.
    - Pythae's InfoVAE has \(\alpha = 0\) and \(\lambda = 0.001\) in its code, 0.5 and 0.03 in its docstring. Both make
      the weight of the MMD negative, which drives the codes away from the prior.
    - `bandwidth` h = 1 and the scales are Pythae's.

    What is trained is no bound. The board shows the ELBO. A batch of one example has no MMD.

    - Tuned: `weight` from half to twice the 10 of Tolstikhin et al.
    - Cost of a step: that of the plain VAE, and \(3 B^2 D\) elementwise operations, which FLOPs do not count.
    - Neutral: `alpha=0,weight=1`.
    """

    name: ClassVar[str] = "info-vae"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"alpha": 0, "weight": 1}
    citation: ClassVar[str] = "Zhao, Song, Ermon, InfoVAE, AAAI 2019 (arXiv:1706.02262)"
    search: ClassVar[dict[str, SearchRange]] = {"weight": Range(5, 20, log=True)}

    alpha: float = Field(1.0, description="share α of the KL that is left out")
    weight: float = Field(10.0, description="λ; the MMD has the weight α + λ - 1")
    kernel: Kernel = Field(Kernel.IMQ, description="kernel of the MMD: imq or rbf")
    bandwidth: PositiveFloat = Field(1.0, description="bandwidth h of the kernel")
    scales: tuple[PositiveFloat, ...] = Field(
        (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0), description="scales s of the imq kernel"
    )

    @hookimpl
    def kl_penalty(self, sample: LatentSample) -> Tensor:
        """Give the KL that is left, (B,), in nats."""
        return (1 - self.alpha) * sample.kl.sum(-1)

    @hookimpl
    def extra_loss(self, sample: LatentSample) -> Tensor | None:
        """Give the weighted MMD, a scalar."""
        if len(sample.z) < 2:
            return None
        drawn = sample.vae.prior.sample(len(sample.z), sample.noise.child(self.name)).to(sample.z)
        return (self.alpha + self.weight - 1) * self.discrepancy(sample.z, drawn)

    def discrepancy(self, z: Tensor, drawn: Tensor) -> Tensor:
        """Give the MMD of codes (B, D) and draws of the prior (B, D), a scalar without unit."""
        among = _among(self.similarity(z, z)) + _among(self.similarity(drawn, drawn))
        return among - 2 * self.similarity(z, drawn).mean()

    def similarity(self, one: Tensor, other: Tensor) -> Tensor:
        """Give the kernel of all pairs, (B, B)."""
        import torch

        squares = (one[:, None] - other[None]).square().sum(-1)
        size = 2 * one.shape[1] * self.bandwidth**2
        match self.kernel:
            case Kernel.IMQ:
                return torch.stack([scale * size / (scale * size + squares) for scale in self.scales]).sum(0)
            case Kernel.RBF:
                return (-squares / size).exp()


def _among(similarity: Tensor) -> Tensor:
    """Give the mean over the pairs of two different codes."""
    number = len(similarity)
    return (similarity.sum() - similarity.diagonal().sum()) / (number * (number - 1))


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [InfoVAE]
