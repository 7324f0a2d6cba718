"""δ-VAE with independent units: a posterior whose KL cannot fall below δ."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import nn


class DeltaVAE(Method):
    r"""δ-VAE: every unit has a KL of at least δ, by the form of the posterior.

    With \(l < u\), the square roots of the two solutions s of \(\ln s - s + 2\delta + 1 = 0\), and the encoder's own
    mean h and log-variance k, \(\sigma = l + (u - l) \max(\mathrm{sigmoid}(k), 1/50)\) and \(\mu = \sqrt{2\delta + 1 +
    \ln \sigma^2 - \sigma^2 + \max(h, 0) + 10^{-6}}\). So \(KL_j = \delta + \max(h_j, 0)/2 + 5 \cdot 10^{-7}\) in nats,
    whatever \(\sigma\) is (Razavi et al. 2019, in the form of valdersoul/bn-vae: modules/encoders/enc_lstm.py:72-144).

    - `delta` is in nats per unit: 0.15 there.
    - The floor 1/50 and the \(10^{-6}\) are those of that program, not of the paper. The main model of the paper has a
      sequence of units with a correlated prior, which is not shipped.
    - The mean is always positive. A KL above δ does not say that z is used: with h below 0 the mean does not depend on
      x but through σ.
    - What is trained and shown is the ELBO. The prior must be N(0, I).
    - Tuned: `delta` from half of the 0.1 that Zhu et al. (BN-VAE) report to twice the 0.15 of their program.
    - Cost of a step: that of the plain VAE, and about \(10 B D\) elementwise operations.
    - Neutral: none.
    """

    name: ClassVar[str] = "delta-vae"
    family: ClassVar[Family] = Family.NETWORKS
    citation: ClassVar[str] = "Razavi et al., Preventing Posterior Collapse with delta-VAEs, ICLR 2019"
    search: ClassVar[dict[str, SearchRange]] = {"delta": Range(0.05, 0.3, log=True)}

    delta: PositiveFloat = Field(0.15, description="the least KL δ of a unit, in nats")

    @hookimpl
    def posterior_head(self) -> nn.Module:
        """Build the committed posterior."""
        from collapsebench_plugins.committed import Committed

        return Committed(self.delta)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [DeltaVAE]
