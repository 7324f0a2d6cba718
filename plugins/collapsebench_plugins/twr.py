"""TWR-VAE: the KL term is the mean over the posteriors of all states of a recurrent encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from collapsebench import Amortized, Component, Family, Inference, Method, Need, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import VAE, Objective, Terms
    from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution


class TWRVAE(Method, Amortized):
    r"""TWR-VAE: the KL term is the mean over the posteriors of all states of a recurrent encoder.

    \(L = -\log p(x|z) + \frac1T \sum_t KL(q_t \| p)\), \(z \sim q_T\), in nats per example. \(q_t\) is what the
    posterior layer makes of the state after word t, BOS and EOS included, and \(q_T = q(z|x)\) (Li et al. 2020;
    ruizheliUOA/TWR-VAE: lang_model/encoder.py). The name stands for time-step-wise regularization.

    - The encoder must be an LSTM or a GRU. A Transformer reads the whole document at every position, and images have no
      order in time.
    - The program can also take z as the sum or the mean of samples of all states, or leave out the first states. These
      options are not shipped.
    - Its published numbers are no bound: in evaluation it decodes the mean of q in place of a sample, and its KL is the
      mean over time. Here the metrics have \(q_T\), a sample, and \(KL(q_T \| p)\).
    - What is trained is no bound, as the mean over time may be below \(KL(q_T \| p)\).
    - Another penalty in place of the KL, and heads of the posterior, cannot be combined with it.
    - Cost of a step: that of the plain VAE, and that of the posterior layer on T - 1 further states. The encoder is
      passed once.
    - Neutral: none.
    """

    name: ClassVar[str] = "twr"
    family: ClassVar[Family] = Family.OBJECTIVE
    citation: ClassVar[str] = (
        "Li et al., Improving Variational Autoencoder for Text Modelling with Timestep-Wise Regularisation, COLING 2020"
    )
    needs_states: ClassVar[bool] = True
    excludes: ClassVar[tuple[str, ...]] = ("kl_penalty", "posterior_head")

    def needs(self) -> frozenset[Need]:
        """Say that the KL of all states is no estimate."""
        return frozenset({Need.CLOSED_FORM})

    @hookimpl
    def inference(self) -> Inference:
        """Give the strategy, which is the method itself."""
        return self

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the gradients of the objective with the mean KL of all states, and give its terms at the last one."""
        states = vae.encode_states(x)
        mean = mean_over_time(states, vae.prior, len(x))
        return replace(objective, kl_penalty=lambda _: mean)(vae, x, states[-len(x) :]).backward()


def mean_over_time(states: DiagonalGaussian, prior: PriorDistribution, examples: int) -> Tensor:
    """Give the mean over time of the KL of the posteriors (T B, D) of B examples: (B,), in nats."""
    from collapsebench import closed_kl

    return closed_kl(prior, states).sum(-1).view(-1, examples).mean(0)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [TWRVAE]
