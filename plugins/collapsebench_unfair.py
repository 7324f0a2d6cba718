"""Contenders that try to win by other means than training, each with an honest twin: the trials of the guards.

Nothing loads this module but a suite that names it (`collapsebench suite run trust/unfair`). The name of an unfair
contender begins with `unfair-`, that of its twin with `honest-`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt, PrivateAttr

from collapsebench import (
    Amortized,
    DiagonalGaussian,
    Inference,
    Method,
    Prior,
    Site,
    SiteKind,
    as_gaussian,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench import (
        VAE,
        Component,
        Noise,
        Objective,
        PosteriorDistribution,
        PriorDistribution,
        Progress,
        Terms,
    )

KEPT: dict[str, Tensor] = {}
"""What `unfair-kept` hands from one seed to the next."""


class HonestSight(Method):
    """A convolution over the sequence that ends at each position."""

    name: ClassVar[str] = "honest-sight"
    ahead: ClassVar[int] = 0

    @hookimpl
    def connect_latent(self, site: Site) -> nn.Module | None:
        """Give the convolution at sites of sequences."""
        return _convolution(site.width, self.ahead) if site.kind is SiteKind.SEQUENCE else None


class UnfairSight(HonestSight):
    """The same convolution, which ends one position later: it sees the word that is to be predicted."""

    name: ClassVar[str] = "unfair-sight"
    ahead: ClassVar[int] = 1


def _convolution(width: int, ahead: int) -> nn.Module:
    """Return a convolution over three positions of a sequence, so many of which lie ahead."""
    from torch import nn

    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = width
            self.convolution = nn.Conv1d(width, width, 3)

        def forward(self, h: Tensor, z: Tensor) -> Tensor:
            del z
            padded = nn.functional.pad(h.mT, (2 - ahead, ahead))
            added: Tensor = h + self.convolution(padded).mT
            return added

    return Convolution()


class _Further(Method, Amortized):
    """Amortized inference with further updates of the networks at each step."""

    updates: PositiveInt = Field(10, description="further updates at a step")
    _step: int = PrivateAttr(0)
    _optimizer: Any = PrivateAttr(None)

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        """Give 1, and note the step."""
        self._step = progress.step
        return 1.0

    @hookimpl
    def inference(self) -> Inference:
        """Give the strategy itself."""
        return self

    def update(self, vae: VAE, likelihood: Callable[[Tensor], Tensor], encode: Callable[[], Any]) -> None:
        """Make the further updates of the plain bound."""
        import torch

        if self._optimizer is None:
            self._optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
        zeros = torch.zeros(1, vae.latent_dim)
        prior = DiagonalGaussian(zeros, zeros)
        with torch.enable_grad():
            for _ in range(self.updates):
                self._optimizer.zero_grad(set_to_none=True)
                posterior = encode()
                z = posterior.sample(torch.randn(1, *posterior.mean.shape))
                kl = posterior.kl(prior)
                torch.autograd.backward((kl.sum(-1) - likelihood(z)[0]).mean())
                self._optimizer.step()
        vae.zero_grad(set_to_none=True)

    def plainly(self, vae: VAE, x: Tensor) -> None:
        """Make the further updates through the model, which counts them."""
        self.update(vae, lambda z: vae.log_likelihood(x, z), lambda: vae.encode(x))


class HonestWork(_Further):
    """Further updates at every step, through the model."""

    name: ClassVar[str] = "honest-work"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Make them, and then the step."""
        self.plainly(vae, x)
        return super().gradients(vae, x, objective)


class HonestLater(_Further):
    """Further updates through the model from the third step on."""

    name: ClassVar[str] = "honest-later"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Make them, and then the step."""
        if self._step > 1:
            self.plainly(vae, x)
        return super().gradients(vae, x, objective)


class UnfairBetweenAudits(_Further):
    """Further updates wherever nobody counts; the model's own counters are set back."""

    name: ClassVar[str] = "unfair-between-audits"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Look whether operations are being counted, and work if they are not."""
        from torch.utils import _python_dispatch

        if self._step and not _python_dispatch._get_current_dispatch_mode_stack():  # noqa: SLF001 - as a cheat does
            seen = vae.passes.encoder, vae.passes.decoder
            self.plainly(vae, x)
            vae.passes.encoder, vae.passes.decoder = seen
        return super().gradients(vae, x, objective)


class UnfairPastTheModel(_Further):
    """Further updates past the model from the third step on: the networks are called directly, unseen by it."""

    name: ClassVar[str] = "unfair-past-the-model"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Call encoder, posterior and decoder."""
        if self._step > 1 and vae.encoder is not None and vae.posterior is not None:
            encoder, head = vae.encoder, vae.posterior
            self.update(vae, lambda z: vae.decoder(x, z, None), lambda: head(encoder(x)))
        return super().gradients(vae, x, objective)


class UnfairThread(_Further):
    """Further updates in a thread of its own, where nobody counts; the model's counters are set back."""

    name: ClassVar[str] = "unfair-thread"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Wait for the thread."""
        if self._step:
            seen = vae.passes.encoder, vae.passes.decoder
            thread = threading.Thread(target=self.plainly, args=(vae, x))
            thread.start()
            thread.join()
            vae.passes.encoder, vae.passes.decoder = seen
        return super().gradients(vae, x, objective)


class HonestThread(_Further):
    """The same updates in a thread from the first step on. The model counts their passes."""

    name: ClassVar[str] = "honest-thread"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Wait for the thread."""
        thread = threading.Thread(target=self.plainly, args=(vae, x))
        thread.start()
        thread.join()
        return super().gradients(vae, x, objective)


class UnfairEvaluation(_Further):
    """Trains on a kept batch while the validation split is evaluated and the clock stands."""

    name: ClassVar[str] = "unfair-evaluation"
    needs_gradients: ClassVar[bool] = True
    _batch: Any = PrivateAttr(None)

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Make an honest step, and keep its batch."""
        terms = super().gradients(vae, x, objective)
        self._batch = x.clone()
        return terms

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> PosteriorDistribution:
        """Train, and then give the posterior."""
        if self._batch is not None:
            self.plainly(vae, self._batch)
        return super().posterior(vae, x, noise)


class HonestEvaluation(_Further):
    """Refines the posterior of each evaluated example by one gradient step, which changes no network."""

    name: ClassVar[str] = "honest-evaluation"
    needs_gradients: ClassVar[bool] = True

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> PosteriorDistribution:
        """Give the refined posterior."""
        from collapsebench import Objective

        start = super().posterior(vae, x, noise)
        gradient = Objective(noise, training=False).gradient(vae, x, start, noise).posterior
        return start.at(start.parameters.detach() - 0.01 * gradient)


class HonestPace(_Further):
    """Steps as long as they are."""

    name: ClassVar[str] = "honest-pace"


class UnfairOvershoot(_Further):
    """All work in one step: the budget is asked for only between steps."""

    name: ClassVar[str] = "unfair-overshoot"
    seconds: float = Field(4.0, description="how long the sixth step takes")

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Train until the time is over."""
        end = time.monotonic() + self.seconds
        while self._step == 5 and time.monotonic() < end:
            self.plainly(vae, x)
        return super().gradients(vae, x, objective)


@dataclass(frozen=True)
class _Shifted:
    """N(1, I), whose log-density is higher by `bonus` than it is, and whose KL is lower by that."""

    latent_dim: int
    bonus: float

    def _normal(self, like: Tensor) -> DiagonalGaussian:
        ones = like.new_ones(1, self.latent_dim)
        return DiagonalGaussian(ones, 0 * ones)

    def sample(self, number: int, noise: Noise) -> Tensor:
        """Draw codes."""
        import torch

        return 1 + noise.normal((number, self.latent_dim), torch.empty(0))

    def log_prob(self, z: Tensor) -> Tensor:
        """Give the log-density with the bonus."""
        return self._normal(z).log_prob(z) + self.bonus

    def kl(self, posterior: PosteriorDistribution) -> Tensor:
        """Give the KL without the bonus, the same share from each unit."""
        return as_gaussian(posterior).kl(self._normal(posterior.like)) - self.bonus / self.latent_dim


class ShiftedPrior(Prior):
    """N(1, I), or what pretends to be one."""

    name: ClassVar[str] = "shifted"
    latent_dim: PositiveInt = Field(description="number of latent units")
    bonus: float = Field(0.0, description="nats that the log-density is too high by")

    def build(self) -> PriorDistribution:
        """Build the distribution."""
        return _Shifted(self.latent_dim, self.bonus)


class HonestPrior(Method):
    """The prior N(1, I)."""

    name: ClassVar[str] = "honest-prior"
    bonus: ClassVar[float] = 0.0

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:
        """Give the prior."""
        return ShiftedPrior(latent_dim=latent_dim, bonus=self.bonus)


class UnfairPrior(HonestPrior):
    """A prior that integrates to e^3: every bound is better by 3 nats."""

    name: ClassVar[str] = "unfair-prior"
    bonus: ClassVar[float] = 3.0


class HonestStart(_Further):
    """Starts from the weights that it is given."""

    name: ClassVar[str] = "honest-start"


class UnfairKept(_Further):
    """Keeps the trained weights of a seed, and starts the next one from them."""

    name: ClassVar[str] = "unfair-kept"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Take the weights at the first step, and leave new ones at each."""
        if KEPT and not self._step:
            vae.load_state_dict(KEPT)
        terms = super().gradients(vae, x, objective)
        KEPT.update({name: tensor.clone() for name, tensor in vae.state_dict().items()})
        return terms


class HonestMetrics(_Further):
    """Calls the harness's own bound, and changes nothing."""

    name: ClassVar[str] = "honest-metrics"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Make a step, and look at a bound."""
        import torch

        from collapsebench.metrics import estimators

        estimators.importance_bound(torch.zeros(2, len(x), dtype=torch.float64))
        return super().gradients(vae, x, objective)


class UnfairMetrics(_Further):
    """Replaces the bound of the harness by a better one."""

    name: ClassVar[str] = "unfair-metrics"

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Make a step, and replace the bound."""
        from collapsebench.metrics import estimators, evaluation

        plain = estimators.importance_bound

        def better(log_weights: Tensor) -> Any:
            bound = plain(log_weights)
            return bound._replace(log_p=bound.log_p + 5)

        if not self._step:
            evaluation.importance_bound = better  # type: ignore[attr-defined]
        return super().gradients(vae, x, objective)


class HonestPosterior(_Further):
    """Gives the posterior that it has."""

    name: ClassVar[str] = "honest-posterior"


@dataclass(frozen=True)
class _Flattering(DiagonalGaussian):
    """A posterior with one density for samples and another one for scores."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Give a density that is too low, so that importance weights are too high."""
        return super().log_prob(z) - 5

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """Give half of the KL."""
        return super().kl(other) / 2

    def detach(self) -> DiagonalGaussian:
        """Stay what it is."""
        return _Flattering(self.mean.detach(), self.logvar.detach())


class UnfairPosterior(_Further):
    """Gives a posterior that lies about its density and its KL."""

    name: ClassVar[str] = "unfair-posterior"

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> DiagonalGaussian:
        """Give the flattering one."""
        plain = as_gaussian(super().posterior(vae, x, noise))
        return _Flattering(plain.mean, plain.logvar)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Return the contenders, unfair and honest."""
    return [
        HonestSight,
        UnfairSight,
        HonestWork,
        HonestLater,
        UnfairBetweenAudits,
        UnfairPastTheModel,
        UnfairThread,
        HonestThread,
        HonestEvaluation,
        UnfairEvaluation,
        HonestPace,
        UnfairOvershoot,
        HonestPrior,
        UnfairPrior,
        HonestStart,
        UnfairKept,
        HonestMetrics,
        UnfairMetrics,
        HonestPosterior,
        UnfairPosterior,
    ]
