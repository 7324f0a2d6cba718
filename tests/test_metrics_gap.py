"""The inference gap of linear models, whose best posterior is known."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from collapsebench.components.interfaces import Inference
from collapsebench.data.splits import Vectors
from collapsebench.estimates import Declined
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.gap import Gap
from collapsebench.model.distributions import LOG_2PI, DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks

ORTHOGONAL = torch.tensor([[1.5, 0.0], [0.0, 0.7], [0.0, 0.0]], dtype=torch.float64)
OBLIQUE = torch.tensor([[1.5, 0.9], [0.2, 0.7], [0.0, 0.8]], dtype=torch.float64)


class Linear(nn.Module):
    """x ~ N(W z, I)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, z: Tensor, dropout: object) -> Tensor:
        return -0.5 * ((x - z @ self.weight.T).square() + LOG_2PI).sum(-1)


class Head(nn.Module):
    """q(z|x) = N(x A + b, e^l)."""

    def __init__(self, matrix: Tensor, shift: float, logvar: Tensor) -> None:
        super().__init__()
        self.matrix, self.shift, self.logvar = nn.Parameter(matrix), shift, logvar

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mean = x.double() @ self.matrix + self.shift
        return DiagonalGaussian(mean, self.logvar.expand_as(mean))


class Given(Inference):
    """Posteriors of a test."""

    name: ClassVar[str] = "given"
    find: object

    def posterior(self, vae, x, noise):
        return self.find(vae, x, noise)

    def gradients(self, vae, x, objective):
        raise NotImplementedError


def best_posterior(weight):
    """The exact mean; of the variances the best that a diagonal can have, one over the exact precisions."""
    precision = torch.eye(weight.shape[1]).double() + weight.T @ weight
    return weight @ torch.linalg.inv(precision), -precision.diagonal().log()


def linear_vae(weight, shift=0.0, widen=0.0):
    matrix, logvar = best_posterior(weight)
    return VAE(Networks(nn.Identity(), Head(matrix, shift, logvar + widen), Linear(weight)), StandardNormal(2))


def examples(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Vectors(torch.randn(n, 3, generator=generator).numpy())


def evaluated(vae, split, inference=None, seed=0):
    return EvaluatedSplit(vae, inference or Amortized(), split, SeededNoise(seed), 50, torch.device("cpu"))


def amortization_gap(weight, vae, split):
    """KL between two diagonal posteriors with the exact precision in the quadratic form: L(φ) - L(λ*)."""
    x = torch.tensor(split.values).double()
    matrix, logvar = best_posterior(weight)
    precision = torch.eye(2).double() + weight.T @ weight
    with torch.no_grad():
        q = vae.encode(x)
    off = q.mean - x @ matrix
    excess = (precision.diagonal() * q.logvar.exp()).sum(-1) - 2 - (q.logvar - logvar).sum(-1)
    return float(0.5 * (torch.einsum("ni,ij,nj->n", off, precision, off) + excess).mean())


def approximation_gap(weight):
    """KL from the best diagonal posterior to the exact one."""
    precision = torch.eye(2).double() + weight.T @ weight
    return 0.5 * float(precision.diagonal().log().sum() - torch.logdet(precision))


@pytest.mark.slow
@pytest.mark.parametrize("weight", [ORTHOGONAL, OBLIQUE], ids=["orthogonal", "oblique"])
@pytest.mark.parametrize(("shift", "widen"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.9), (-0.6, -1.0)])
def test_both_gaps_of_a_linear_model_are_closed_forms(weight, shift, widen):
    split = examples(60)
    vae = linear_vae(weight, shift, widen)
    measured = Gap(steps=150, draws=32, samples=200).evaluate(evaluated(vae, split))
    amortization, approximation = measured["amortization_gap"], measured["approximation_gap"]
    exact = amortization_gap(weight, vae, split)
    assert amortization.value == pytest.approx(exact, abs=4 * amortization.standard_error + 0.01)
    assert approximation.value == pytest.approx(approximation_gap(weight), abs=4 * approximation.standard_error + 0.01)


def test_likelihood_refined_bound_and_encoders_bound_are_in_order():
    vae, split = linear_vae(OBLIQUE, 0.5, 0.5), examples(40)
    whole = evaluated(vae, split)
    measured = Gap(steps=30, samples=100).evaluate(whole)
    nll, refined, encoder = (measured[name] for name in ("iw_nll_refined", "neg_elbo_refined", "neg_elbo_encoder"))
    assert nll.value <= refined.value + 3 * math.hypot(nll.standard_error, refined.standard_error)
    assert refined.value <= encoder.value
    assert measured["neg_elbo_own"] == encoder
    assert measured["amortization_gap"].value == pytest.approx(encoder.value - refined.value, rel=1e-9)
    assert measured["approximation_gap"].value == pytest.approx(refined.value - nll.value, rel=1e-9)


@pytest.mark.parametrize("learning_rate", [1.0, 1e3, 1e30], ids=["worse", "infinite", "NaN"])
def test_where_steps_go_wrong_the_encoders_posterior_is_kept(learning_rate):
    vae = linear_vae(ORTHOGONAL)
    whole = evaluated(vae, examples(20))
    measured = Gap(steps=4, learning_rate=learning_rate, samples=2).evaluate(whole)
    assert measured["amortization_gap"] == (0, 0)
    assert measured["neg_elbo_refined"] == measured["neg_elbo_encoder"]


def test_the_contenders_own_posterior_is_among_the_candidates():
    matrix, logvar = best_posterior(ORTHOGONAL)

    def best(vae, x, noise):
        mean = x.double() @ matrix
        return DiagonalGaussian(mean, logvar.expand_as(mean))

    whole = evaluated(linear_vae(ORTHOGONAL, 0.8), examples(30), Given(find=best))
    measured = Gap(steps=1, learning_rate=1e-9).evaluate(whole)
    assert measured["neg_elbo_refined"] == measured["neg_elbo_own"]
    assert measured["amortization_gap"].value > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("draws", [2, 8])
@pytest.mark.parametrize("weight", [ORTHOGONAL, OBLIQUE], ids=["orthogonal", "oblique"])
def test_at_the_optimum_there_is_no_amortization_gap(weight, draws):
    """The encoder cannot be surpassed, and noise makes nothing else of it."""
    for seed in range(3):
        whole = evaluated(linear_vae(weight), examples(60), seed=seed)
        gap, error = Gap(draws=draws, samples=2).evaluate(whole)["amortization_gap"]
        assert abs(gap) <= 4 * error


def test_choosing_does_not_flatter():
    """At the best posterior every other is chosen by noise alone, and other noise shows it."""
    gaps = [
        Gap(steps=8, draws=2, samples=1).evaluate(evaluated(linear_vae(ORTHOGONAL), examples(40), seed=seed))
        for seed in range(20)
    ]
    assert sum(gap["amortization_gap"].value for gap in gaps) / 20 < 0.005


def test_without_an_encoder_the_amortization_gap_is_declined():
    vae = VAE(Networks(None, None, Linear(ORTHOGONAL)), StandardNormal(2))
    measured = Gap(steps=100, samples=100).evaluate(evaluated(vae, examples(20)))
    assert measured["amortization_gap"] == Declined("no encoder")
    assert measured["neg_elbo_refined"].value < measured["neg_elbo_own"].value


def test_without_units_there_is_no_gap():
    vae = VAE(Networks(None, None, Linear(torch.zeros(3, 0).double())), StandardNormal(0))
    assert set(Gap().evaluate(evaluated(vae, examples(5))).values()) == {(0.0, None)}


def test_the_parameters_are_left_alone():
    vae = linear_vae(ORTHOGONAL, 0.3).train()
    with torch.no_grad():
        Gap(steps=3, samples=2).evaluate(evaluated(vae, examples(10)))
    assert vae.training
    assert vae.decoder.weight.grad is None
