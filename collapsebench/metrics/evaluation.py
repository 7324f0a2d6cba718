"""One trained contender on one split: what the metrics share, computed when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.components.interfaces import Inference
from collapsebench.errors import PluginError
from collapsebench.examples import Batch, Split
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.estimators import (
    AggregateDensity,
    ImportanceBound,
    aggregate_density,
    curve_sizes,
    importance_bound,
)
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE
from collapsebench.record import Point
from collapsebench.spec import Unit

ROWS = 256
"""Rows (samples times examples) that a call of the decoder gets at most, unless a batch alone has more: enough for
large matrix products, and few enough for the activations of an image decoder."""


class Origin(NamedTuple):
    """Where a contender comes from: for metrics that learn from its training data, or compare with no training."""

    train: Split
    """What it was trained on."""
    seed: int
    """Of the order in which `training_codes` goes through it."""
    assemble: Callable[[], VAE]
    """Builds its model as it was before the first step."""
    points: tuple[Point, ...] = ()
    """Its trajectory on the validation split."""
    unit: Unit = Unit.STEPS
    """What its budget is counted in."""


class Labelled(NamedTuple):
    """Examples as a classifier sees them."""

    mean: Float[Tensor, "N D"]
    """The mean of q(z|x)."""
    labels: Int[Tensor, " N"]
    """Their classes."""


class EvaluatedBatch(NamedTuple):
    """Some examples of the split; `split.posterior[batch.rows]` are their posteriors."""

    number: int
    x: Tensor
    """(B, …), on the device."""
    rows: Tensor
    """Positions in the split, (B,), on the CPU."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode. In the end every module's mode and every parameter's gradient are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient


@dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """N examples, and the contender's own q(z|x) of each: float64 on the CPU, in the order of the split.

    Draws depend on the noise, the batch and their number alone, never on which metrics are asked.
    """

    vae: VAE
    inference: Inference
    split: Split
    noise: Noise
    batch_size: int
    """Examples in a batch."""
    device: torch.device
    origin: Origin | None = None
    """Metrics that need it are left out where it is not known."""
    _bounds: dict[int, ImportanceBound] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.split)

    @property
    def latent_dim(self) -> int:
        """The number of latent units D; zero for the unconditional decoder."""
        return self.vae.prior.latent_dim

    @cached_property
    def is_text(self) -> bool:
        """Whether the examples are token ids."""
        return bool(next(self.split.batches(1)).x.dtype.kind == "i")

    @cached_property
    def predictions(self) -> Int[Tensor, " N"]:
        """How many symbols the likelihood of each example predicts: tokens with EOS and without BOS, or pixels."""
        return torch.tensor(self.split.predictions)

    @cached_property
    def posterior(self) -> DiagonalGaussian:
        """The contender's own q(z|x), (N, D); refined where its inference refines.

        Raises PluginError if the inference returns another shape.
        """
        with torch.enable_grad(), evaluating(self.vae):
            parameters = self._join(lambda batch: self._infer(batch, self.noise))
        return DiagonalGaussian.of(parameters.movedim(1, 0))

    @cached_property
    def kl(self) -> Float[Tensor, "N D"]:
        """KL(q || p) per unit in nats."""
        with torch.no_grad():
            return self.vae.prior.kl(self.posterior)

    @cached_property
    def z(self) -> Float[Tensor, "N D"]:
        """One sample of z for each example: draw number 0."""
        return self.sample(0)

    @cached_property
    def density(self) -> AggregateDensity:
        """Log densities of the posteriors and of their mixtures at `z`."""
        return aggregate_density(self.z, self.posterior)

    @cached_property
    def reconstruction(self) -> Float[Tensor, " N"]:
        """-log p(x|z) in nats, at `z`."""
        return self.reconstruct(self.z)

    @property
    def kl_mean(self) -> float:
        """KL(q || p) in nats, the mean over the examples."""
        return float(self.kl.sum(-1).mean())

    @property
    def neg_elbo(self) -> float:
        """The negative ELBO in nats, the mean over the examples: one sample of z, weight 1 on the KL."""
        return float(self.reconstruction.mean()) + self.kl_mean

    def batches(self) -> Iterator[EvaluatedBatch]:
        """Go through the split in its fixed order."""
        return self._moved(self.split.batches(self.batch_size))

    def sample(self, number: int) -> Float[Tensor, "N D"]:
        """Draw `number` of z for every example."""
        return self._join(lambda batch: self._draws(batch, range(number, number + 1))[0])

    def reconstruct(self, z: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """-log p(x|z) in nats for any code of each example: one pass of the decoder."""
        return self._join(lambda batch: -self.log_likelihood(batch.x, z[batch.rows][None])[0])

    def log_likelihood(self, x: Tensor, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        """log p(x|z) in nats, without gradients, for at most `ROWS` rows S·B at a time."""
        z, step = z.to(self.device, next(self.vae.parameters()).dtype), max(1, ROWS // len(x))
        with torch.no_grad(), evaluating(self.vae):
            blocks = [self.vae.log_likelihood(x, z[start : start + step]) for start in range(0, len(z), step)]
        return torch.cat(blocks).to("cpu").double()

    def importance_bound(self, samples: int) -> ImportanceBound:
        """The bound on log p(x) from draws 0 … K-1 of z, computed once for each number of samples."""
        if samples not in self._bounds:
            log_p, ess = self._join(lambda batch: self._reduce(self._log_weights(batch, samples))).permute(1, 2, 0)
            self._bounds[samples] = ImportanceBound(curve_sizes(samples), log_p, ess)
        return self._bounds[samples]

    def codes(self) -> Labelled | None:
        """The codes of the split; None without labels."""
        labels = self.split.labels
        return None if labels is None else Labelled(self.posterior.mean, torch.tensor(labels))

    def training_codes(self, examples: int) -> Labelled | None:
        """The codes of at most so many training examples, drawn with the seed of the origin; None without labels.

        Where the training data are binarized anew in every pass, they are in this one.
        """
        if self.origin is None or self.origin.train.labels is None:
            return None
        batches = _holding(examples, self.origin.train.batches(self.batch_size, self.origin.seed))
        noise = self.noise.child("train")
        with torch.enable_grad(), evaluating(self.vae):
            found = [(self._infer(batch, noise)[:, 0].cpu(), batch.rows) for batch in self._moved(batches)]
        mean, rows = (torch.cat(parts)[:examples] for parts in zip(*found, strict=True))
        return Labelled(mean.double(), torch.tensor(self.origin.train.labels)[rows])

    def under(self, inference: Inference) -> EvaluatedSplit:
        """The same examples and noise under another strategy: draws differ by the posterior alone."""
        return replace(self, inference=inference)

    def untrained(self) -> EvaluatedSplit | None:
        """The same examples under the encoder as it was before the first step; None without an origin."""
        if self.origin is None:
            return None
        return replace(self, vae=self.origin.assemble(), inference=Amortized())

    def _moved(self, batches: Iterable[Batch]) -> Iterator[EvaluatedBatch]:
        for number, batch in enumerate(batches):
            yield EvaluatedBatch(number, torch.tensor(batch.x, device=self.device), torch.tensor(batch.index))

    def _infer(self, batch: EvaluatedBatch, noise: Noise) -> Float[Tensor, "B 2 D"]:
        found = self.inference.posterior(self.vae, batch.x, noise.child("inference", batch.number)).detach()
        if found.mean.shape != (len(batch.rows), self.latent_dim):
            raise PluginError(
                f"inference '{self.inference.name}' must return a posterior ({len(batch.rows)}, {self.latent_dim}), "
                f"got {tuple(found.mean.shape)}"
            )
        return found.parameters.movedim(0, 1)

    def _draws(self, batch: EvaluatedBatch, numbers: range) -> Float[Tensor, "S B D"]:
        posterior = self.posterior[batch.rows]
        noise = self.noise.child("z", batch.number)
        draws = posterior.mean.new_empty(len(numbers), *posterior.mean.shape)
        for draw, number in zip(draws, numbers, strict=True):
            draw.copy_(noise.child(number).normal(posterior.mean.shape, posterior.mean))
        return posterior.sample(draws)

    def _log_weights(self, batch: EvaluatedBatch, samples: int) -> Float[Tensor, "K B"]:
        """log p(x, z) - log q(z|x) for draws 0 … K-1; without units all draws are equal, so one is enough.

        One tensor is filled: small results that stay between large temporaries would break up the heap.
        """
        posterior, drawn = self.posterior[batch.rows], range(samples if self.latent_dim else 1)
        step = max(1, ROWS // len(batch.rows))
        log_weights = torch.empty(len(drawn), len(batch.rows), dtype=torch.float64)
        for start in drawn[::step]:
            z = self._draws(batch, drawn[start : start + step])
            with torch.no_grad():
                log_p = self.vae.prior.log_prob(z)
            log_weights[start : start + step] = self.log_likelihood(batch.x, z) + log_p - posterior.log_prob(z)
        return log_weights.expand(samples, -1)

    @staticmethod
    def _reduce(log_weights: Float[Tensor, "K B"]) -> Float[Tensor, "B 2 P"]:
        bound = importance_bound(log_weights)
        return torch.stack((bound.log_p, bound.ess)).permute(2, 0, 1)

    def _join(self, compute: Callable[[EvaluatedBatch], Tensor]) -> Tensor:
        """compute(batch), (B, …), for every batch: (N, …) in the order of the split, float64 on the CPU."""
        values, rows = zip(*((compute(batch), batch.rows) for batch in self.batches()), strict=True)
        return torch.cat(values).to("cpu").double()[torch.cat(rows).argsort()]


def _holding(examples: int, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The first batches, until they hold so many examples."""
    for batch in batches:
        yield batch
        examples -= len(batch)
        if examples <= 0:
            return
