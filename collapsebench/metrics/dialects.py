"""The same posteriors as other papers would have scored them, so that their tables can be read beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench.metrics.evaluation import EvaluatedSplit

TEXT_BATCH = 32
"""Documents in a batch of the released programs, all of one length."""
IMAGE_BATCH = 50
"""Images in a batch of the released programs, in random order."""

COLUMNS = (
    Column("kl", "nats", Direction.NONE, "KL"),
    Column("mi", "nats", Direction.NONE, "MI"),
    Column("au", "units", Direction.NONE, "AU"),
)
"""What every dialect reports. No direction: these numbers are for reading old tables, not for ranking."""


class Dialect(NamedTuple):
    """How one paper, or the program released with it, arrives at its columns."""

    name: str
    source: str
    estimators: Mapping[str, str]
    """How each of the columns is estimated, by column."""
    score: Callable[[EvaluatedSplit], Mapping[str, Estimate]]
    """The columns; none where the source has no number."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns under the names that are stored, `he2019.mi`."""
        return tuple(column._replace(name=f"{self.name}.{column.name}") for column in COLUMNS)


def _dieng2019(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    return _columns(split, _information(split), _active(split.posterior.mean, 0.01))


def _skip_vae_released(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    if not split.inference.uses_encoder:
        return {}
    if split.is_text:
        *_, last = split.split.batches(TEXT_BATCH)
        return _columns(split, _information(split), _active(split.posterior.mean[last.index], 0.02))
    encoder = _with_encoder(split)
    return _columns(encoder, _information(encoder), _active(encoder.posterior.mean, 0.02))


def _he2019(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    import torch

    from collapsebench.metrics.estimators import entropy_information, grouped_aggregate

    batches = split.split.batches(TEXT_BATCH) if split.is_text else split.split.batches(IMAGE_BATCH, seed=0)
    log_q = grouped_aggregate(split.z, split.posterior, [torch.tensor(batch.index) for batch in batches])
    return _columns(split, entropy_information(split.posterior, log_q), _active(split.posterior.mean, 0.01))


def _li2019(split: EvaluatedSplit) -> Mapping[str, Estimate]:
    from collapsebench.metrics.estimators import entropy_information

    information = entropy_information(split.posterior, split.density.aggregate)
    return _columns(split, information, _active(split.posterior.mean, 0.01))


def _columns(split: EvaluatedSplit, information: Estimate, units: float) -> Mapping[str, Estimate]:
    return {"kl": Estimate(split.kl_mean), "mi": information, "au": Estimate(units)}


def _information(split: EvaluatedSplit) -> Estimate:
    """KL minus the Monte Carlo KL(q_agg || p)."""
    from collapsebench.metrics.estimators import bracket

    return bracket(split.z, split.posterior, split.vae.prior, split.density).lower


def _active(mean: Tensor, threshold: float) -> float:
    """Units above the threshold; a variance that is NaN, as that of a batch of one, is not above, as in the sources."""
    from collapsebench.metrics.estimators import mean_variance

    return float((mean_variance(mean) > threshold).sum())


def _with_encoder(split: EvaluatedSplit) -> EvaluatedSplit:
    """The split with the encoder's posteriors, before any refinement."""
    from dataclasses import replace

    from collapsebench.inference.amortized import Amortized

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
    r"""KL, mutual information and active units, each as four sources would have computed them for the same posteriors.

    Formula: `dieng2019.mi` \(= KL - \frac1N \sum_i [\log \frac1N \sum_k q_k(z_i) - \log p(z_i)]\); `li2019.mi`
    \(= -\frac1N \sum_i [H(q_i) + \log \frac1N \sum_k q_k(z_i)]\); `he2019.mi` is the latter with the mean over k in the
    batch of \(x_i\) alone. `au` is \(\#\{j : \mathrm{Var}_x\, E_q[z_j|x] > \delta\}\) with the source's δ and examples.
    Unit: nats; units. Direction: none.
    Estimator: one sample of z per example; standard errors \(s/\sqrt N\) over the examples. Batches have the sizes of
    the released programs, whatever the track's. The numbers are entries of the run, shown by
    `leaderboard --dialect NAME`. None without latent units, and none of `skip-vae-released` without an encoder: those
    programs print none.
    Trap: made to be read beside published tables, not for ranking: `he2019.mi` cannot pass the logarithm of the batch
    size, where a strong and a weak model look equal.
    """

    name: ClassVar[str] = "dialects"
    citation: ClassVar[str] = "; ".join(dialect.source for dialect in DIALECTS)
    columns: ClassVar[tuple[Column, ...]] = ()

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Every column of every dialect, as `he2019.mi`."""
        if split.latent_dim == 0:
            return {}
        return {
            f"{dialect.name}.{column}": estimate
            for dialect in DIALECTS
            for column, estimate in dialect.score(split).items()
        }
