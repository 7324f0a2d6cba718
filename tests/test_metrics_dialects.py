"""Dialects: what other papers would have said about the same posteriors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from collapsebench.components.interfaces import Inference
from collapsebench.data.splits import TextSplit, Vectors
from collapsebench.estimates import Declined
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.dialects import DIALECTS, IMAGE_BATCH, TEXT_BATCH, Dialects
from collapsebench.metrics.estimators import (
    AggregateDensity,
    aggregate_density,
    bracket_from_densities,
    entropy_information,
    grouped_aggregate,
)
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.mutual_information import MutualInformation
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "skip_vae_mnist_posteriors.npz"
D = 3


class Position(nn.Module):
    """An example's first number is its position in the split."""

    def forward(self, x):
        return x.flatten(1)[:, :1]


class Lookup(nn.Module):
    """Posteriors known by heart."""

    def __init__(self, posterior):
        super().__init__()
        self.posterior = posterior

    def forward(self, position):
        return self.posterior[position[:, 0].long()]


class Refined(Inference):
    """The encoder's means, doubled."""

    name = "refined"

    def posterior(self, vae, x, noise):
        found = vae.encode(x)
        return DiagonalGaussian(2 * found.mean, found.logvar)

    def gradients(self, vae, x, objective):
        raise NotImplementedError


class WithoutEncoder(Refined):
    """The same, but it says that it has no encoder."""

    name = "without-encoder"
    uses_encoder = False


def posteriors(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, D, generator=generator).double() * torch.tensor([1.0, 0.13, 0.02])
    return DiagonalGaussian(mean, 0.3 * torch.randn(n, D, generator=generator).double() - 1)


def documents(*lengths):
    tokens = [token for row, length in enumerate(lengths) for token in (row, *[0] * (length - 1))]
    return TextSplit(np.array(tokens, np.int32), np.array(lengths, np.int32))


def images(n):
    return Vectors(np.arange(n, dtype=np.float32)[:, None])


def evaluated(split, posterior, inference=None):
    vae = VAE(Networks(Position(), Lookup(posterior), nn.Module()), StandardNormal(posterior.mean.shape[1]))
    return EvaluatedSplit(vae, inference or Amortized(), split, SeededNoise(1), 7, torch.device("cpu"))


def values(split):
    return {name: estimate.value for name, estimate in Dialects().evaluate(split).items()}


def batch_information(z, posterior):
    """E log q, analytic, minus log of the mean density over the batch: by the definition, one example at a time."""
    density = torch.stack([posterior.log_prob(row.expand_as(z)[None])[0] for row in z])
    negative_entropy = -0.5 * (math.log(2 * math.pi) + 1 + posterior.logvar).sum(-1)
    return negative_entropy - density.logsumexp(1) + math.log(len(z))


def test_every_dialect_has_every_column():
    found = values(evaluated(images(60), posteriors(60)))
    assert list(found) == [column.name for dialect in DIALECTS for column in dialect.columns]
    for dialect in DIALECTS:
        assert [f"{dialect.name}.{column}" for column in dialect.estimators] == [c.name for c in dialect.columns]


def test_dieng_s_information_is_our_lower_bound():
    split = evaluated(images(60), posteriors(60))
    assert Dialects().evaluate(split)["dieng2019.mi"] == MutualInformation().evaluate(split)["mi_lower"]


def test_he_s_information_is_that_of_batches_and_li_s_that_of_all():
    lengths = [3] * 40 + [5] * 30 + [2]
    split = evaluated(documents(*lengths), posteriors(71))
    groups = [[70], list(range(32)), list(range(32, 40)), list(range(40, 70))]
    expected = torch.cat([batch_information(split.z[rows], split.posterior[torch.tensor(rows)]) for rows in groups])
    found = Dialects().evaluate(split)
    assert found["he2019.mi"].value == pytest.approx(float(expected.mean()), abs=1e-12)
    assert found["he2019.mi"].standard_error == pytest.approx(float(expected.std()) / math.sqrt(71), rel=1e-9)
    everything = batch_information(split.z, split.posterior)
    assert found["li2019.mi"].value == pytest.approx(float(everything.mean()), abs=1e-12)


def test_images_are_batched_in_random_order():
    """In the order of the file, equal neighbours would look like no information."""
    n = 200
    mean = torch.arange(n).double().div(IMAGE_BATCH, rounding_mode="floor")[:, None] * 10
    split = evaluated(images(n), DiagonalGaussian(mean, torch.full_like(mean, -2)))
    assert values(split)["he2019.mi"] == pytest.approx(math.log(4), abs=0.15)


@pytest.mark.parametrize("inference", [Amortized(), Refined()])
def test_the_released_image_program_scores_the_encoder(inference):
    q = posteriors(60)
    found, plain = values(evaluated(images(60), q, inference)), values(evaluated(images(60), q))
    for column in ("kl", "mi", "au"):
        assert found[f"skip-vae-released.{column}"] == plain[f"skip-vae-released.{column}"]
    refined = not isinstance(inference, Amortized)
    assert (found["dieng2019.kl"] != found["skip-vae-released.kl"]) == refined


def test_the_released_text_program_counts_units_of_the_last_batch():
    lengths = [3] * (TEXT_BATCH + 9) + [8] * (TEXT_BATCH + 4)
    q = posteriors(len(lengths))
    last = torch.arange(len(lengths) - 4, len(lengths))
    q.mean[last] = torch.tensor([[0.0, 0.0, 5.0], [0, 0, 6], [0, 0, 7], [0.2, 0, 8]], dtype=torch.float64)
    found = values(evaluated(documents(*lengths), q, Refined()))
    assert found["skip-vae-released.au"] == 2
    assert found["dieng2019.au"] == 3
    assert found["skip-vae-released.kl"] == found["dieng2019.kl"]
    alone = values(evaluated(documents(*lengths, 9), posteriors(len(lengths) + 1)))
    assert alone["skip-vae-released.au"] == 0


def test_thresholds_differ():
    n = 100
    spread = torch.linspace(-1, 1, n).double()
    mean = spread[:, None] * (torch.tensor([0.005, 0.015, 0.025]).double() / spread.var()).sqrt()
    found = values(evaluated(images(n), DiagonalGaussian(mean, torch.zeros_like(mean))))
    assert {name: found[f"{name}.au"] for name in ("dieng2019", "he2019", "li2019", "skip-vae-released")} == {
        "dieng2019": 2,
        "he2019": 2,
        "li2019": 2,
        "skip-vae-released": 1,
    }


def reasons(split):
    """The dialects that decline each of their columns, by the reason."""
    found = Dialects().evaluate(split).items()
    declined = {name: each.reason for name, each in found if isinstance(each, Declined)}
    dialects = {reason: {name for name in declined if declined[name] == reason} for reason in declined.values()}
    names = {dialect.name: {column.name for column in dialect.columns} for dialect in DIALECTS}
    return {reason: {name for name, own in names.items() if own <= columns} for reason, columns in dialects.items()}


def test_what_the_programs_cannot_score_is_declined():
    empty = torch.zeros(5, 0).double()
    every = {dialect.name for dialect in DIALECTS}
    assert reasons(evaluated(images(5), DiagonalGaussian(empty, empty))) == {"no latent units": every}
    split = evaluated(images(60), posteriors(60), WithoutEncoder())
    assert reasons(split) == {"no encoder": {"skip-vae-released"}}
    assert set(Dialects().evaluate(split)) == {column.name for dialect in DIALECTS for column in dialect.columns}


# ---------------------------------------------------------------------------------------------- the paper's posteriors

SIZES = (32, 50, 100, 500, 1000, 2000, 5000, 10_000)
MIXTURES = {
    "vae": (3.40, 3.80, 4.39, 5.53, 5.89, 6.17, 6.43, 6.55),
    "skip": (3.46, 3.89, 4.54, 5.94, 6.47, 6.94, 7.47, 7.79),
}
"""KL minus Monte Carlo KL(q_agg || p) with N posteriors in the mixture, to two decimals; how the 10,000 examples were
grouped is not known, and another grouping moves a value by 0.003 to 0.005 (one standard deviation)."""
LEAVE_ONE_OUT = {"vae": 7.00, "skip": 9.49}
"""Analytic entropy minus the log density of the other 9,999 posteriors."""
GROUPING = 0.010
ROUNDING = 0.005


@pytest.fixture(scope="module", params=MIXTURES)
def stored(request):
    if not FIXTURE.is_file():
        pytest.skip(f"the paper's posteriors are not here: {FIXTURE.name} belongs into shared/fixtures")
    with np.load(FIXTURE, allow_pickle=False) as file:
        z, mean, logvar = (torch.tensor(file[f"{request.param}/{name}"]).double() for name in ("z", "mean", "logvar"))
    return request.param, z, DiagonalGaussian(mean, logvar)


@pytest.mark.parametrize("size", SIZES)
def test_information_over_the_size_of_the_mixture(stored, size):
    model, z, posterior = stored
    log_q = grouped_aggregate(z, posterior, torch.arange(len(z)).split(size))
    found = bracket_from_densities(z, posterior, StandardNormal(20), AggregateDensity(log_q, log_q, log_q)).lower.value
    exact = size == len(z)
    assert found == pytest.approx(MIXTURES[model][SIZES.index(size)], abs=ROUNDING + (0 if exact else GROUPING))
    assert found < math.log(size)


def test_leave_one_out(stored):
    model, z, posterior = stored
    others = aggregate_density(z, posterior).others
    assert entropy_information(posterior, others).value == pytest.approx(LEAVE_ONE_OUT[model], abs=ROUNDING)
