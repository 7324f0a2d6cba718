"""IAF: a posterior of dependent units, by steps of an inverse autoregressive flow."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from collapsebench import Component, Family, IntegerRange, Method, Need, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import nn


class Form(StrEnum):
    """The map of one step, by m and s of the network."""

    GATED = "gated"
    r"""\(z' = \sigma z + (1 - \sigma) m\), \(\sigma = \mathrm{sigmoid}(s)\)."""
    AFFINE = "affine"
    r"""\(z' = e^s z + m\)."""


class IAF(Method):
    r"""IAF: a posterior of dependent units, by steps of an inverse autoregressive flow.

    A code of the encoder's Gaussian, \(z_0 \sim N(\mu, \sigma_0^2)\), goes through T steps. In each the order of the
    units is reversed, a masked network gives m and s of each unit from the units before it and from a context h of the
    encoder, and \(z_t = \sigma_t z_{t-1} + (1 - \sigma_t) m_t\), \(\sigma_t = \mathrm{sigmoid}(s_t)\). So \(\log
    q(z_T|x) = \log q(z_0|x) - \sum_{tj} \log \sigma_{tj}\) in nats (Kingma et al. 2016, eq. 11 and 14). The KL is
    estimated by \(\log q - \log p\) at the sample.

    - `steps` T, `layers` and `width`: 2, 2 and 128, those of Pythae (clementchadebec/benchmark_VAE:
      models/vae_iaf/vae_iaf_config.py), which counts the output as a third layer. The paper tries 2 to 16 steps.
    - `form`: gated, as above; the gates start open, at sigmoid(2), as the paper advises. affine is Pythae's
      \(z_t = e^{s_t} z_{t-1} + m_t\).
    - `context`: true in the paper. Pythae has none: then all examples share one map, which a prior could undo. The
      context has D numbers for each example, a linear map of the features.
    - What is trained and shown is the ELBO. The mean of a code, by which active units are counted, is over 32 draws of
      noise that all examples share. There is no KL per unit. With a context the mutual information is bounded on a part
      of the examples, as each pair takes an inversion, one unit after the other.
    - Tuned: `steps` from 2 to 16, as in the paper.
    - Cost of a step: that of the plain VAE, and 6 T W FLOPs per example, where W is the number of weights of one
      masked network, counted as if nothing were masked.
    - Neutral: `steps=0`.
    """

    name: ClassVar[str] = "iaf"
    family: ClassVar[Family] = Family.DISTRIBUTIONS
    neutral: ClassVar[dict[str, float]] = {"steps": 0}
    citation: ClassVar[str] = (
        "Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016"
    )
    search: ClassVar[dict[str, SearchRange]] = {"steps": IntegerRange(2, 16, log=True)}

    steps: NonNegativeInt = Field(2, description="number T of steps")
    layers: PositiveInt = Field(2, description="hidden layers of each masked network")
    width: PositiveInt = Field(128, description="units of each hidden layer")
    form: Form = Field(Form.GATED, description="map of a step: gated, as in the paper; affine, as in Pythae")
    context: bool = Field(True, description="whether each step sees the encoder's features")

    def takes(self) -> frozenset[Need]:
        """Say that a flow has no KL in closed form."""
        return frozenset(Need if self.steps else ())

    @hookimpl
    def posterior_head(self, latent_dim: int, width: int) -> nn.Module:
        """Build the flow."""
        from collapsebench_plugins.autoregressive import MADE, Flow, FlowHead

        networks = [MADE(latent_dim, self.width, self.layers, context=self.context) for _ in range(self.steps)]
        return FlowHead(Flow(networks, self.form), latent_dim, width if self.context and self.steps else None)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [IAF]
