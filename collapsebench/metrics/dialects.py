"""The scores of other papers for the same posteriors, so that their tables can be read beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.metric import NO_ENCODER, NO_UNITS, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench.metrics.evaluation import EvaluatedSplit

TEXT_BATCH = 32
"""The documents in a batch of the released programs. All have one length."""
IMAGE_BATCH = 50
"""The images in a batch of the released programs. Their order is random."""

COLUMNS = (
    Column("kl", "nats", Direction.NONE, "KL"),
    Column("mi", "nats", Direction.NONE, "MI"),
    Column("au", "units", Direction.NONE, "AU"),
)
"""The columns of every dialect. They have no direction, as they are for reading old tables and not for ranking."""


class Dialect(NamedTuple):
    """The way in which one paper, or the program released with it, computes its columns."""

    name: str
    source: str
    estimators: Mapping[str, str]
    """The description of each column's estimator."""
    score: Callable[[EvaluatedSplit], Mapping[str, Estimate | Declined]]
    """The function that computes the columns, or says why the source has no such number."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns under the names that are stored, such as `he2019.mi`."""
        return tuple(column._replace(name=f"{self.name}.{column.name}") for column in COLUMNS)


def _dieng2019(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    return _scores(split, _kl_minus_aggregate_kl(split), _active_count(split.posterior.mean, 0.01))


def _skip_vae_released(split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
    if not split.inference.uses_encoder:
        return {column.name: NO_ENCODER for column in COLUMNS}
    if split.is_text:
        *_, last = split.split.batches(TEXT_BATCH)
        return _scores(split, _kl_minus_aggregate_kl(split), _active_count(split.posterior.mean[last.index], 0.02))
    encoder = _amortized(split)
    return _scores(encoder, _kl_minus_aggregate_kl(encoder), _active_count(encoder.posterior.mean, 0.02))


def _he2019(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    import torch

    from collapsebench.metrics.estimators import entropy_information, grouped_aggregate
    from collapsebench.model.distributions import as_gaussian

    batches = split.split.batches(TEXT_BATCH) if split.is_text else split.split.batches(IMAGE_BATCH, seed=0)
    log_q = grouped_aggregate(split.z, split.posterior, [torch.tensor(batch.index) for batch in batches])
    return _scores(
        split, entropy_information(as_gaussian(split.posterior), log_q), _active_count(split.posterior.mean, 0.01)
    )


def _li2019(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    from collapsebench.metrics.estimators import entropy_information
    from collapsebench.model.distributions import as_gaussian

    information = entropy_information(as_gaussian(split.posterior), split.density.aggregate)
    return _scores(split, information, _active_count(split.posterior.mean, 0.01))


def _scores(split: EvaluatedSplit, information: Estimate, units: float) -> Mapping[str, Estimate]:
    return {"kl": Estimate(split.kl_mean), "mi": information, "au": Estimate(units)}


def _kl_minus_aggregate_kl(split: EvaluatedSplit) -> Estimate:
    """Give KL minus the Monte Carlo estimate of KL(q_agg || p)."""
    from collapsebench.metrics.estimators import bracket_from_densities

    return bracket_from_densities(split.z, split.posterior, split.prior, split.density).lower


def _active_count(mean: Tensor, threshold: float) -> float:
    """Count the units above the threshold. As in the sources, NaN, the variance of a batch of one, is not above."""
    from collapsebench.metrics.estimators import mean_variance

    return float((mean_variance(mean) > threshold).sum())


def _amortized(split: EvaluatedSplit) -> EvaluatedSplit:
    """Give the split with the encoder's posteriors, without refinement."""
    return split if isinstance(split.inference, Amortized) else replace(split, inference=Amortized())


DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "dieng2019",
        "Dieng et al., Avoiding Latent Variable Collapse with Generative Skip Models, AISTATS 2019, the paper",
        {
            "kl": "analytic",
            "mi": "KL minus Monte Carlo KL(q_agg || p), all examples in the mixture, the own among them: at most log N",
            "au": "variance of the posterior mean above 0.01, all examples",
        },
        _dieng2019,
    ),
    Dialect(
        "skip-vae-released",
        "the program released with it (yoonkim/skip-vae)",
        {
            "kl": "analytic; on images of the encoder's posterior even where it is refined",
            "mi": "as dieng2019; on images of the encoder's posterior even where it is refined",
            "au": "variance of the posterior mean above 0.02; on images the encoder's, all examples; on text the last "
            f"batch of up to {TEXT_BATCH} documents alone",
        },
        _skip_vae_released,
    ),
    Dialect(
        "he2019",
        "He et al., Lagging Inference Networks and Posterior Collapse, ICLR 2019 (jxhe/vae-lagging-encoder)",
        {
            "kl": "analytic",
            "mi": f"batch by batch, {TEXT_BATCH} documents of one length or {IMAGE_BATCH} images in a mixture, the own "
            f"among them: at most log {TEXT_BATCH} = 3.47 or log {IMAGE_BATCH} = 3.91, but for its Monte Carlo error",
            "au": "variance of the posterior mean above 0.01, all examples",
        },
        _he2019,
    ),
    Dialect(
        "li2019",
        "Li et al., A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text, EMNLP 2019 "
        "(bohanli/vae-pretraining-encoder)",
        {
            "kl": "analytic",
            "mi": "analytic entropy minus log q_agg, all examples in the mixture, the own among them: at most log N",
            "au": "variance of the posterior mean above 0.01, all examples",
        },
        _li2019,
    ),
)


class Dialects(Metric):
    r"""KL, mutual information and active units of the same posteriors, as four sources compute them.

    Formula: `dieng2019.mi` \(= KL - \frac1N \sum_i [\log \frac1N \sum_k q_k(z_i) - \log p(z_i)]\); `li2019.mi`
    \(= -\frac1N \sum_i [H(q_i) + \log \frac1N \sum_k q_k(z_i)]\); `he2019.mi` is the latter with the mean over the k in
    the batch of \(x_i\) alone. `au` is \(\#\{j : \mathrm{Var}_x\, E_q[z_j|x] > \delta\}\), with δ and examples of the
    source.
    Unit: nats; units. Direction: none.
    Estimator: one sample of z per example. The standard errors are \(s/\sqrt N\) over the examples. Batches have the
    sizes of the released programs, not of the track. The numbers are entries of the run, which
    `leaderboard --dialect NAME` shows. There are none without latent units, or if the posteriors are no diagonal
    Gaussians. There is no `skip-vae-released` without an encoder, as those programs print none.
    Trap: the numbers are for reading beside published tables, not for ranking. `he2019.mi` cannot pass the logarithm of
    the batch size, at which a strong and a weak model look equal.
    """

    name: ClassVar[str] = "dialects"
    citation: ClassVar[str] = "; ".join(dialect.source for dialect in DIALECTS)
    columns: ClassVar[tuple[Column, ...]] = ()

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give every column of every dialect, with names such as `he2019.mi`."""
        from collapsebench.model.distributions import DiagonalGaussian

        declined = None
        if split.latent_dim == 0:
            declined = NO_UNITS
        elif not isinstance(split.posterior, DiagonalGaussian) or split.closed_kl is None:
            declined = Declined(f"no Gaussian with a KL in closed form: {split.family}")
        if declined is not None:
            return {column.name: declined for dialect in DIALECTS for column in dialect.columns}
        return {
            f"{dialect.name}.{column}": estimate
            for dialect in DIALECTS
            for column, estimate in dialect.score(split).items()
        }
