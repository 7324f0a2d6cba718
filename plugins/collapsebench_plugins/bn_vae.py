"""BN-VAE: batch normalization of the posterior means with a fixed scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import nn


class BNVAE(Method):
    r"""BN-VAE: the means of a batch are normalized to a fixed scale, so that the KL has a floor.

    \(\mu'_{ij} = \gamma\, (\mu_{ij} - m_j) / \sqrt{s^2_j + 10^{-5}} + b_j\), where m and \(s^2\) are mean and (biased)
    variance of the batch, \(\gamma\) is fixed and b learned (Zhu et al. 2020). So the mean KL of a training batch, in
    nats, is at least \(D \gamma^2/2\), up to the \(10^{-5}\). The log-variance stays. In evaluation, and in a batch of
    one example, m and \(s^2\) are running means with momentum 0.1, of the unbiased variance.

    - `gamma`: 0.6 by default, one of the paper's 0.5, 0.6 and 0.7 (valdersoul/bn-vae:
      modules/encoders/enc_lstm.py:146-217).
    - That program leaves out batches of one example, and starts its encoder unlike that of its baseline. Here neither
      is so.
    - With SA-VAE the floor holds for the start of the steps alone. A KL above the floor does not say that z is used.
    - What is trained and shown is the ELBO.
    - Tuned: `gamma` from 0.5 to 0.7, as in the paper.
    - Cost of a step: that of the plain VAE, and \(B D\) elementwise operations.
    - Neutral: none.
    """

    name: ClassVar[str] = "bn-vae"
    family: ClassVar[Family] = Family.NETWORKS
    citation: ClassVar[str] = "Zhu et al., A Batch Normalized Inference Network Keeps the KL Vanishing Away, ACL 2020"
    search: ClassVar[dict[str, SearchRange]] = {"gamma": Range(0.5, 0.7)}

    gamma: PositiveFloat = Field(0.6, description="the fixed scale γ of the normalized means")

    @hookimpl
    def posterior_head(self, latent_dim: int) -> nn.Module:
        """Build the normalization."""
        from collapsebench_plugins.normalization import NormalizedMeans

        return NormalizedMeans(latent_dim, self.gamma)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [BNVAE]
