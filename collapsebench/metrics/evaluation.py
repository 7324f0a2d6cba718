"""One trained contender on one split. The metrics share its values, which are computed when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.components.interfaces import Decoder, Inference
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
from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution, on_processor
from collapsebench.model.kernels.blocks import block_of
from collapsebench.model.kernels.recurrent import differentiable_rnns
from collapsebench.model.modes import in_evaluation
from collapsebench.model.posterior import Draw, PosteriorDistribution
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE
from collapsebench.record import Point
from collapsebench.spec import Unit


class Provenance(NamedTuple):
    """The training of a contender. Some metrics learn from its training data, or compare it with no training.

    >>> import numpy as np
    >>> from torch import nn
    >>> from collapsebench import Networks, Provenance, StandardNormal, VAE
    >>> from collapsebench import Vectors
    >>> train = Vectors(np.zeros((5, 2), np.float32))
    >>> def untrained():
    ...     return VAE(Networks(None, None, nn.Linear(1, 2)), StandardNormal(1))
    >>> provenance = Provenance(train, seed=1, assemble=untrained)
    >>> len(provenance.train), provenance.assemble().prior.latent_dim, provenance.unit.value
    (5, 1, 'steps')
    """

    train: Split
    """The training split."""
    seed: int
    """The seed of the order in which `training_codes` reads the training split."""
    assemble: Callable[[], VAE]
    """The function that builds the model as it was before the first step."""
    points: tuple[Point, ...] = ()
    """The trajectory on the validation split."""
    unit: Unit = Unit.STEPS
    """The unit of the budget."""


class LabelledCodes(NamedTuple):
    """The codes of N examples with their classes: the input of a classifier.

    >>> import torch
    >>> from collapsebench import LabelledCodes
    >>> codes = LabelledCodes(mean=torch.tensor([[0.0], [2.0], [4.0]]), labels=torch.tensor([0, 1, 1]))
    >>> float(codes.mean[codes.labels == 1].mean())
    3.0
    """

    mean: Float[Tensor, "N D"]
    """The means of q(z|x)."""
    labels: Int[Tensor, " N"]
    """The classes."""


class EvaluatedBatch(NamedTuple):
    """B examples of a split, and their positions in it. `split.posterior[batch.rows]` are their posteriors.

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, EvaluatedBatch
    >>> posterior = DiagonalGaussian(mean=torch.tensor([[0.0], [1.0], [2.0]]), logvar=torch.zeros(3, 1))
    >>> batch = EvaluatedBatch(number=0, x=torch.zeros(2, 4), rows=torch.tensor([0, 2]))
    >>> posterior[batch.rows].mean.tolist()
    [[0.0], [2.0]]
    """

    number: int
    """The number of the batch in one pass through the split, from 0."""
    x: Tensor
    """The examples, (B, …), on the device."""
    rows: Tensor
    """The positions in the split, (B,), on the CPU."""


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set the model to evaluation mode, and restore each module's mode and each parameter's gradient at the end."""
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        with in_evaluation(model):
            yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


@contextmanager
def _gradients_if_needed(inference: Inference, vae: VAE) -> Iterator[None]:
    """Let a strategy compute gradients if it says that it needs them. Raises PluginError if another one tries."""
    if inference.needs_gradients:
        with torch.enable_grad(), differentiable_rnns(vae):
            yield
        return
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        if not any(word in str(error) for word in ("inference mode", "Inference tensor", "require grad")):
            raise
        raise PluginError(
            f"inference '{inference.name}' computes gradients in evaluation, where nothing is trained; a strategy that "
            "refines its posterior with them says so: needs_gradients = True"
        ) from error


def own_posterior(vae: VAE, inference: Inference, x: Tensor, noise: Noise) -> PosteriorDistribution:
    """Give the contender's own posterior of a batch, without its autograd graph. The model is in evaluation mode.

    Raises PluginError if the strategy returns something else than a posterior (B, D).
    """
    with _gradients_if_needed(inference, vae):
        found = inference.posterior(vae, x, noise)
    said = f"inference '{inference.name}' must return"
    if not isinstance(found, PosteriorDistribution):
        raise PluginError(f"{said} a PosteriorDistribution, got {type(found).__name__}")
    if isinstance(found, DiagonalGaussian) and type(found) is not DiagonalGaussian:
        raise PluginError(f"{said} a DiagonalGaussian itself, got {type(found).__name__}")
    wanted = (len(x), vae.latent_dim)
    if found.like.shape != wanted:
        raise PluginError(f"{said} a posterior {wanted}, got {tuple(found.like.shape)}")
    return _of_the_family(found.detach(), found)


def _of_the_family(made: PosteriorDistribution, given: PosteriorDistribution) -> PosteriorDistribution:
    """Give what was made of a posterior. Raises PluginError if it is of another class, about which nothing is known."""
    if type(made) is not type(given):
        raise PluginError(
            f"the posterior {type(given).__name__} becomes {type(made).__name__}: detach() and at() must give the same "
            "family"
        )
    return made


@dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """N examples, and the contender's own q(z|x) of each.

    Tensors are float64, on the CPU, in the order of the split. A draw of z depends on the noise, the batch and the
    number of the draw alone, and not on the metrics that are computed. Each value is computed once.

    The model has q(z|x) = N(x/2, 1). So the KL of x = 2 is 0.5 nats, and that of x = 4 is 2 nats:

    >>> import numpy as np
    >>> import torch
    >>> from collapsebench import Amortized, DiagonalGaussian, EvaluatedSplit, Networks
    >>> from collapsebench import SeededNoise, StandardNormal, VAE
    >>> from collapsebench import Vectors
    >>> class Head(torch.nn.Module):
    ...     def forward(self, features):
    ...         return DiagonalGaussian(features / 2, torch.zeros_like(features))
    >>> vae = VAE(Networks(torch.nn.Identity(), Head(), torch.nn.Linear(1, 1)), StandardNormal(1))
    >>> examples = Vectors(np.array([[2.0], [4.0]], np.float32))
    >>> device = torch.device("cpu")
    >>> split = EvaluatedSplit(vae, Amortized(), examples, SeededNoise(0), batch_size=1, device=device)
    >>> split.posterior.mean.tolist(), split.kl.tolist(), split.kl_mean
    ([[1.0], [2.0]], [[0.5], [2.0]], 1.25)
    """

    vae: VAE
    """The trained model."""
    inference: Inference
    """The strategy that gives the contender's own posterior."""
    split: Split
    """The examples."""
    noise: Noise
    """The source of all draws."""
    batch_size: int
    """The largest number of examples in a batch."""
    device: torch.device
    """The device of the model."""
    provenance: Provenance | None = None
    """The training of the contender. Without it, metrics that need it have no value."""
    rows: int = Decoder.rows
    """The most rows in a call of the decoder on a CPU, see `Decoder.rows`."""
    _bounds: dict[int, ImportanceBound] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.split)

    @property
    def latent_dim(self) -> int:
        """The number of latent units D. It is zero for the unconditional decoder."""
        return self.vae.latent_dim

    @cached_property
    def prior(self) -> PriorDistribution:
        """The model's p(z), on the CPU as the codes are."""
        with torch.no_grad(), evaluation_mode(self.vae):
            return on_processor(self.vae.prior)

    @cached_property
    def is_text(self) -> bool:
        """True if the examples are token ids."""
        return bool(next(self.split.batches(1)).x.dtype.kind == "i")

    @cached_property
    def predictions(self) -> Int[Tensor, " N"]:
        """The number of symbols that each example's likelihood predicts: tokens with EOS and without BOS, or pixels."""
        return torch.tensor(self.split.predictions)

    @cached_property
    def posterior(self) -> PosteriorDistribution:
        """The contender's own q(z|x), (N, D). It is refined if the inference refines.

        Raises PluginError if the inference returns another shape.
        """
        found: list[PosteriorDistribution] = []

        def parameters(batch: EvaluatedBatch) -> Tensor:
            found.append(self._own(batch, self.noise))
            return _by_example(found[-1])

        with evaluation_mode(self.vae):
            whole = self._for_all_batches(parameters)
        return _of_the_family(found[0].at(whole.movedim(1, 0)), found[0])

    @cached_property
    def closed_kl(self) -> Float[Tensor, "N U"] | None:
        """KL(q || p) in nats: per unit (U = D), or of all units together (U = 1). None if it has no closed form."""
        with torch.no_grad():
            return self.prior.kl(self.posterior)

    @property
    def has_unit_kl(self) -> bool:
        """True if there is a KL per unit."""
        return self.closed_kl is not None and self.closed_kl.shape[1] == self.latent_dim

    @property
    def family(self) -> str:
        """What makes this contender's distributions: the last head behind the encoder, or the class of the prior."""
        heads = list(self.vae.heads)
        return type(self.prior).__name__ if isinstance(self.posterior, DiagonalGaussian) or not heads else heads[-1]

    @cached_property
    def kl(self) -> Float[Tensor, "N U"]:
        """KL(q || p) in nats: `closed_kl`, or the estimate log q(z|x) - log p(z) at `z`, (N, 1)."""
        return self._log_ratio(0)[:, None] if self.closed_kl is None else self.closed_kl

    def rate(self, number: int) -> Float[Tensor, " N"]:
        """Give KL(q || p) in nats: in closed form, or log q(z|x) - log p(z) at draw number `number`."""
        return self._log_ratio(number) if self.closed_kl is None else self.closed_kl.sum(-1)

    @cached_property
    def z(self) -> Float[Tensor, "N D"]:
        """One sample of z for each example, draw number 0."""
        return self.sample(0)

    @cached_property
    def density(self) -> AggregateDensity:
        """The log-densities of the posteriors and of their mixtures at `z`, in nats. The model's GPU computes them."""
        if self.device.type != "cuda":  # not every other device has float64
            return aggregate_density(self.z, self.posterior)
        posterior = self.posterior.at(self.posterior.parameters.to(self.device))
        found = aggregate_density(self.z.to(self.device), posterior)
        return AggregateDensity(*(each.cpu() for each in found))

    @cached_property
    def reconstruction(self) -> Float[Tensor, " N"]:
        """-log p(x|z) at `z`, in nats."""
        return self.reconstruct(self.z)

    @property
    def kl_mean(self) -> float:
        """The mean of KL(q || p) over the examples, in nats. Without a closed form it is an estimate from `z`."""
        return float(self.kl.sum(-1).mean())

    @property
    def neg_elbo(self) -> float:
        """The mean of the negative ELBO over the examples, in nats. It uses one sample of z and weight 1 on the KL."""
        return float(self.reconstruction.mean()) + self.kl_mean

    def posterior_of(self, batch: EvaluatedBatch) -> PosteriorDistribution:
        """Give the contender's own q(z|x) of one batch, (B, D), in the type and on the device of the model."""
        with evaluation_mode(self.vae):
            return self._own(batch, self.noise)

    def batches(self) -> Iterator[EvaluatedBatch]:
        """Go through the split in its fixed order."""
        return self._on_device(self.split.batches(self.batch_size))

    def sample(self, number: int) -> Float[Tensor, "N D"]:
        """Give draw number `number` of z for every example."""
        return self._for_all_batches(lambda batch: self._draws(batch, range(number, number + 1)).z[0])

    def _log_ratio(self, number: int) -> Float[Tensor, " N"]:
        """Give log q(z|x) - log p(z) at draw number `number` of z."""

        def ratio(batch: EvaluatedBatch) -> Tensor:
            drawn = self._draws(batch, range(number, number + 1))
            with torch.no_grad():
                return (drawn.log_q() - self.prior.log_prob(drawn.z))[0]

        return self._for_all_batches(ratio)

    def reconstruct(self, z: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Give -log p(x|z) in nats for one code z of each example, in one pass of the decoder."""
        return self._for_all_batches(lambda batch: -self.log_likelihood(batch.x, z[batch.rows][None])[0])

    def log_likelihood(self, x: Tensor, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats, without gradients, for at most `rows` of the S·B rows at a time."""
        z, step = z.to(self.device, next(self.vae.parameters()).dtype), max(1, self._block // len(x))
        with torch.no_grad(), evaluation_mode(self.vae):
            blocks = [self.vae.log_likelihood(x, z[start : start + step]) for start in range(0, len(z), step)]
        return torch.cat(blocks).to("cpu").double()

    def importance_bound(self, samples: int) -> ImportanceBound:
        """Give the bound on log p(x) in nats from draws 0 … K-1 of z. It is computed once for each number K."""
        if samples not in self._bounds:
            stacked = self._for_all_batches(lambda batch: self._stacked_bound(self._log_weights(batch, samples)))
            log_p, ess = stacked.permute(1, 2, 0)
            self._bounds[samples] = ImportanceBound(curve_sizes(samples), log_p, ess)
        return self._bounds[samples]

    def codes(self) -> LabelledCodes | None:
        """Give the codes of the split with their labels, or None without labels."""
        labels = self.split.labels
        return None if labels is None else LabelledCodes(self.posterior.mean, torch.tensor(labels))

    def training_codes(self, examples: int) -> LabelledCodes | None:
        """Give the codes of at most `examples` training examples, or None without provenance or labels.

        The examples are drawn with the seed of the provenance. Data with dynamic binarization are binarized anew.
        """
        if self.provenance is None or self.provenance.train.labels is None:
            return None
        batches = _first_batches(examples, self.provenance.train.batches(self.batch_size, self.provenance.seed))
        noise = self.noise.child("train")
        with torch.no_grad(), evaluation_mode(self.vae):
            means = [(self._own(batch, noise).mean.cpu(), batch.rows) for batch in self._on_device(batches)]
        mean, rows = (torch.cat(parts)[:examples] for parts in zip(*means, strict=True))
        return LabelledCodes(mean.double(), torch.tensor(self.provenance.train.labels)[rows])

    def with_inference(self, inference: Inference) -> EvaluatedSplit:
        """Give the same split with another strategy. The noise is the same: draws differ by the posterior alone."""
        return replace(self, inference=inference)

    def untrained(self) -> EvaluatedSplit | None:
        """Give the same split with the encoder as it was before the first step, or None without provenance."""
        if self.provenance is None:
            return None
        return replace(self, vae=self.provenance.assemble(), inference=Amortized())

    @property
    def _block(self) -> int:
        """The most rows in a call of the decoder. On a GPU one layer of PixelCNN takes 0.4 GB for their activations."""
        return block_of(self.rows, self.device, times=8)

    def _on_device(self, batches: Iterable[Batch]) -> Iterator[EvaluatedBatch]:
        for number, batch in enumerate(batches):
            yield EvaluatedBatch(number, torch.tensor(batch.x, device=self.device), torch.tensor(batch.index))

    def _own(self, batch: EvaluatedBatch, noise: Noise) -> PosteriorDistribution:
        return own_posterior(self.vae, self.inference, batch.x, noise.child("inference", batch.number))

    def _draws(self, batch: EvaluatedBatch, numbers: range) -> Draw:
        noise = self.noise.child("z", batch.number)
        with torch.no_grad():
            return self.posterior[batch.rows].draws([noise.child(number) for number in numbers])

    def _log_weights(self, batch: EvaluatedBatch, samples: int) -> Float[Tensor, "K B"]:
        """Give log p(x, z) - log q(z|x) in nats for draws 0 … K-1. Without units all draws are equal: one is enough.

        The results go into one tensor. Small results between large temporaries would fragment the heap.
        """
        drawn = range(samples if self.latent_dim else 1)
        step = max(1, self._block // len(batch.rows))
        log_weights = torch.empty(len(drawn), len(batch.rows), dtype=torch.float64)
        for start in drawn[::step]:
            z, log_q = self._draws(batch, drawn[start : start + step])
            with torch.no_grad():
                log_weights[start : start + step] = self.log_likelihood(batch.x, z) + self.prior.log_prob(z) - log_q()
        return log_weights.expand(samples, -1)

    @staticmethod
    def _stacked_bound(log_weights: Float[Tensor, "K B"]) -> Float[Tensor, "B 2 P"]:
        bound = importance_bound(log_weights)
        return torch.stack((bound.log_p, bound.ess)).permute(2, 0, 1)

    def _for_all_batches(self, compute: Callable[[EvaluatedBatch], Tensor]) -> Tensor:
        """Give compute(batch), (B, …), of all batches: (N, …) in the order of the split, float64 on the CPU."""
        values, rows = zip(*((compute(batch), batch.rows) for batch in self.batches()), strict=True)
        return torch.cat(values).to("cpu").double()[torch.cat(rows).argsort()]


def _by_example(posterior: PosteriorDistribution) -> Float[Tensor, "B P D"]:
    """Give the variational parameters by example, in memory of their own, as those of the inference mode allow less."""
    return posterior.parameters.movedim(0, 1).clone()


def _first_batches(examples: int, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Give the first batches, until they have `examples` examples."""
    for batch in batches:
        yield batch
        examples -= len(batch)
        if examples <= 0:
            return
