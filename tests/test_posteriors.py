"""Posteriors of any family: what the harness asks of them, tried on a linear flow, whose answers are known."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import tiny
import torch
from test_plain_step import harness_steps
from torch import nn

from collapsebench import Declined, Draw, Method, Need, PosteriorDistribution, Prior, hookimpl
from collapsebench.data.splits import Vectors
from collapsebench.errors import PluginError, UsageError
from collapsebench.guards.posteriors import check_posterior
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.collapse import Collapse
from collapsebench.metrics.dialects import Dialects
from collapsebench.metrics.estimators import aggregate_density, mutual_information_bracket
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.gap import Gap
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.kl import KL
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal, normals
from collapsebench.model.seeding import SeededNoise

MIXING = torch.tensor([[2.0, 0.5], [-1.0, 0.25]], dtype=torch.float64)
"""z = MIXING z0: its determinant is one, so that densities move and do not change."""


class Mixed(PosteriorDistribution):
    """A Gaussian whose units are mixed. `shift` nats are missing in its density; it shares its map or hides that."""

    def __init__(self, start, *, shared=True, shift=0.0):
        self.start, self.shared, self.shift = start, shared, shift

    @property
    def parameters(self):
        return self.start.parameters

    @property
    def mean(self):
        return self.start.mean @ MIXING.T.to(self.start.mean)

    def at(self, parameters):
        return Mixed(DiagonalGaussian.of(parameters), shared=self.shared, shift=self.shift)

    def draw(self, noise):
        start = self.start.sample(normals((noise,), self.start.mean))
        return Draw((start @ MIXING.T.to(start))[0], lambda: self.start.log_prob(start)[0] - self.shift)

    def log_prob(self, z):
        return self.start.log_prob(z @ MIXING.inverse().T.to(z)) - self.shift

    def same_information(self, z):
        return (self.start, z @ MIXING.inverse().T.to(z)) if self.shared else (self, z)


class Mixing(nn.Module):
    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def forward(self, posterior, features):
        return Mixed(posterior, shift=self.shift)


class Mix(Method):
    name: ClassVar[str] = "mix"

    @hookimpl
    def posterior_head(self):
        return Mixing()


class Other(Mix):
    name: ClassVar[str] = "other"


class Still(nn.Module):
    def forward(self, posterior, features):
        return posterior


class Keep(Method):
    name: ClassVar[str] = "keep"

    @hookimpl
    def posterior_head(self):
        return Still()


def gaussian(seed, size=6, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = (scale * torch.randn(size, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    return DiagonalGaussian(mean, logvar)


def split(*methods, number=40, seed=1):
    model = tiny.vae("linear", methods, seed=seed).eval()
    examples = Vectors(tiny.examples("linear", number=number).numpy())
    return EvaluatedSplit(model, Amortized(), examples, SeededNoise(0), batch_size=7, device=torch.device("cpu"))


def exact_kl(mixed):
    """The KL of Gaussians with full covariances to N(0, I)."""
    covariance = MIXING @ torch.diag_embed(mixed.start.logvar.exp()) @ MIXING.T
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1)
    return 0.5 * (trace + mixed.mean.square().sum(1) - 2 - covariance.logdet())


def test_a_draw_has_the_density_that_it_states():
    q = Mixed(gaussian(0))
    drawn = q.draws([SeededNoise(seed) for seed in range(3)])
    assert torch.allclose(drawn.log_q(), q.log_prob(drawn.z))
    assert torch.equal(drawn.z[1], q.draw(SeededNoise(1)).z)
    assert torch.equal(q[2:4].parameters, q.parameters[:, 2:4])


def test_many_draws_of_a_gaussian_are_single_draws():
    q = gaussian(1)
    noises = [SeededNoise(seed) for seed in range(4)]
    many = q.draws(noises)
    for number, noise in enumerate(noises):
        assert torch.equal(many.z[number], q.draw(noise).z)
        assert torch.equal(many.log_q()[number], q.draw(noise).log_q())


def test_what_all_examples_share_changes_no_information():
    """The mixtures of the flow's start give the mixtures of the flow itself, and the bounds of the plain Gaussian."""
    start, noise = gaussian(2, size=30, scale=2.0), SeededNoise(3)
    q, z0 = Mixed(start), start.draw(noise).z
    z = q.draw(noise).z
    shared, dear = aggregate_density(z, q), aggregate_density(z, Mixed(start, shared=False))
    for ours, theirs in zip(shared, dear, strict=True):
        assert torch.allclose(ours, theirs)
    prior = StandardNormal(2)
    plain = aggregate_density(z0, start)
    lower = float((plain.own - plain.aggregate).mean())
    assert mutual_information_bracket(z, q, prior).lower.value == pytest.approx(lower)


def test_without_a_closed_form_the_kl_is_estimated_with_an_error():
    whole = split(Mix(), number=2000)
    assert whole.closed_kl is None
    found = KL().evaluate(whole)
    assert found["kl[j]"] == Declined("no KL per unit: mix")
    exact = float(exact_kl(whole.posterior).mean())
    assert abs(found["kl"].value - exact) < 5 * found["kl"].standard_error


def test_the_bound_is_made_of_the_same_codes_as_the_kl():
    whole = split(Mix())
    found = NegELBO(samples=3).evaluate(whole)
    bounds = torch.stack([whole.reconstruct(whole.sample(number)) + whole.rate(number) for number in range(3)])
    assert found["neg_elbo"].value == pytest.approx(float(bounds.mean()))
    assert whole.neg_elbo == pytest.approx(float(bounds[0].mean()))


def test_more_samples_tighten_the_bound_and_refinement_moves_the_parameters():
    whole = split(Mix())
    nll = IWNLL(samples=50).evaluate(whole)
    assert nll["iw_nll"].value < nll["iw_nll[1]"].value
    gaps = Gap(steps=20, draws=4, samples=20).evaluate(whole)
    assert gaps["neg_elbo_refined"].value < gaps["neg_elbo_encoder"].value
    assert Collapse().evaluate(whole) == {"collapse": Declined("no KL per unit: mix")}
    assert {type(each) for each in Dialects().evaluate(whole).values()} == {Declined}


@pytest.mark.parametrize("family", ["lstm", "mlp", "linear"])
def test_any_family_is_trained(family):
    _, found = harness_steps(family, (Mix(),))
    assert all(math.isfinite(float(each.loss)) and each.kl.shape[1] == 1 for each in found)


def test_only_the_last_head_may_leave_the_gaussians():
    tiny.vae("linear", [Keep(), Mix()])
    with pytest.raises(UsageError, match=r"'mix' leaves the diagonal Gaussians, .*: write keep before mix"):
        tiny.vae("linear", [Mix(), Keep()])
    with pytest.raises(UsageError, match="methods 'mix' and 'other' both leave the diagonal Gaussians"):
        tiny.vae("linear", [Mix(), Other()])


class Picky(Keep):
    name: ClassVar[str] = "picky"
    need: Need

    def needs(self):
        return frozenset({self.need})


@pytest.mark.parametrize("need", Need)
def test_a_method_that_does_not_get_what_it_needs_is_refused_by_name(need):
    tiny.vae("linear", [Picky(need=need)])
    with pytest.raises(UsageError, match=f"method 'picky' needs {need}, which 'mix' takes away"):
        tiny.vae("linear", [Picky(need=need), Mix()])


def test_a_density_that_is_none_is_found():
    prior, noise = StandardNormal(2), SeededNoise(8)
    near = gaussian(4, size=1, scale=0.3)
    check_posterior(Mixed(near), prior, noise)
    for shift in (3.0, 0.2, -0.2):
        with pytest.raises(PluginError, match="posterior Mixed integrates to"):
            check_posterior(Mixed(near, shift=shift), prior, noise)


class Disguised(Mixed):
    """A diagonal Gaussian of any number of units, which guards do not know as one."""

    @property
    def mean(self):
        return self.start.mean

    def at(self, parameters):
        return Disguised(DiagonalGaussian.of(parameters), shift=self.shift)

    def draw(self, noise):
        z = self.start.sample(normals((noise,), self.start.mean))[0]
        return Draw(z, lambda: self.log_prob(z[None])[0])

    def log_prob(self, z):
        return self.start.log_prob(z) - self.shift


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("units", [1, 8, 16, 32])
def test_a_density_of_many_units_is_compared_at_draws_to_which_nothing_was_fitted(units, seed):
    near = DiagonalGaussian(torch.zeros(4, units).double(), torch.zeros(4, units).double())
    check_posterior(Disguised(near), StandardNormal(units), SeededNoise(seed))
    for shift in (0.3, -0.3):
        with pytest.raises(PluginError, match="posterior Disguised integrates to"):
            check_posterior(Disguised(near, shift=shift), StandardNormal(units), SeededNoise(seed))


class TwoModes(StandardNormal):
    """(N(-9, I) + N(9, I)) / 2 without a KL."""

    def log_prob(self, z):
        return torch.logaddexp(super().log_prob(z - 9), super().log_prob(z + 9)) - math.log(2)

    def kl(self, posterior):
        return None


def test_a_posterior_in_one_mode_of_its_prior_is_a_density():
    near = DiagonalGaussian(torch.full((1, 2), 9.0).double() @ MIXING.inverse().T, torch.zeros(1, 2).double())
    check_posterior(Mixed(near), TwoModes(2), SeededNoise(8))
    for shift in (0.2, -0.2):
        with pytest.raises(PluginError, match="posterior Mixed integrates to"):
            check_posterior(Mixed(near, shift=shift), TwoModes(2), SeededNoise(8))


class TwoFaced(Mixed):
    def at(self, parameters):
        return TwoFaced(DiagonalGaussian.of(parameters))

    def log_prob(self, z):
        return super().log_prob(z) - 1


def test_a_draw_that_states_another_density_is_found():
    with pytest.raises(PluginError, match="TwoFaced states two log-densities of its draws, 1 nats apart"):
        check_posterior(TwoFaced(gaussian(4, size=1)), StandardNormal(2), SeededNoise(8))


class OfOneShape(Mixed):
    """Its mean is that of the whole batch, its density that of all samples, its draws or their densities are a row."""

    wrong: ClassVar[str]

    @property
    def mean(self):
        return super().mean.mean(0) if self.wrong == "mean" else super().mean

    def at(self, parameters):
        return type(self)(DiagonalGaussian.of(parameters))

    def draw(self, noise):
        z, log_q = super().draw(noise)
        if self.wrong == "codes":
            return Draw(z[None], log_q)
        return Draw(z, lambda: log_q()[None]) if self.wrong == "log-densities" else Draw(z, log_q)

    def log_prob(self, z):
        return super().log_prob(z).mean(0) if self.wrong == "log_prob" else super().log_prob(z)


@pytest.mark.parametrize("wrong", ["mean", "codes", "log-densities", "log_prob"])
def test_a_wrong_shape_is_named_before_training(wrong):
    family = type("Askew", (OfOneShape,), {"wrong": wrong})
    with pytest.raises(PluginError, match=f"the posterior Askew (has|draws|gives).* {wrong} of the shape"):
        check_posterior(family(gaussian(4, size=1)), StandardNormal(2), SeededNoise(8))


class Selective(Mixed):
    """States the density of one example too low by a nat."""

    def __init__(self, start, *, which=2.0):
        super().__init__(start)
        self.which = which

    def at(self, parameters):
        return Selective(DiagonalGaussian.of(parameters), which=self.which)

    def draw(self, noise):
        z = super().draw(noise).z
        return Draw(z, lambda: self.log_prob(z[None])[0])

    def log_prob(self, z):
        return super().log_prob(z) - (self.start.mean[:, 0] == self.which).double()


class Generous(Mixed):
    """States another density where many draws are asked for, as by the metrics."""

    def at(self, parameters):
        return Generous(DiagonalGaussian.of(parameters))

    def draws(self, noises):
        drawn = super().draws(noises)
        return Draw(drawn.z, lambda: drawn.log_q() - 1)


class Changing(Mixed):
    """Becomes another family when its parameters are moved."""

    def at(self, parameters):
        return DiagonalGaussian.of(parameters)


@pytest.mark.parametrize(
    ("family", "complaint"),
    [
        (Selective, "posterior Selective integrates to"),
        (Generous, "posterior Generous states two log-densities"),
        (Changing, "posterior Changing becomes DiagonalGaussian at other parameters"),
    ],
)
def test_a_density_is_asked_for_as_the_metrics_do(family, complaint):
    means = torch.tensor([[0.5, 0.0], [2.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    with pytest.raises(PluginError, match=complaint):
        check_posterior(family(DiagonalGaussian(means, torch.zeros_like(means))), StandardNormal(2), SeededNoise(8))


class Changed(Mixing):
    def forward(self, posterior, features):
        return Changing(posterior)


class Change(Mix):
    name: ClassVar[str] = "change"

    @hookimpl
    def posterior_head(self):
        return Changed()


def test_a_posterior_that_becomes_another_family_is_not_evaluated():
    with pytest.raises(PluginError, match="the posterior Changing becomes DiagonalGaussian: detach"):
        _ = split(Change()).posterior


class Boastful(Mixed):
    """Says that its codes tell more about x than they do."""

    def same_information(self, z):
        return self.start, 3 * (z @ MIXING.inverse().T)


def test_a_density_of_pairs_that_tells_more_is_found():
    q = Boastful(gaussian(2, size=30))
    with pytest.raises(PluginError, match=r"same_information\(\) of Boastful tells something else about x"):
        aggregate_density(q.draw(SeededNoise(3)).z, q)


class Leaned(nn.Module):
    """A prior of its own parameters, whose centre is where the encoder puts zeros."""

    latent_dim = 2

    def __init__(self, spread):
        super().__init__()
        self.logvar = nn.Parameter(torch.full((1, 2), spread))
        self.asked = 0

    def of(self, vae):
        self.asked += 1
        return Around(DiagonalGaussian(vae.encode(torch.zeros(1, 4).to(self.logvar)).mean, self.logvar))


class Around:
    latent_dim = 2

    def __init__(self, normal):
        self.normal, self.log_prob = normal, normal.log_prob

    def sample(self, number, noise):
        return self.normal.sample(noise.normal((number, 1, 2), self.normal.mean))[:, 0]

    def kl(self, posterior):
        return posterior.kl(self.normal)


class LeanedPrior(Prior):
    name: ClassVar[str] = "leaned"

    def build(self):
        return Leaned(-0.5)


class Lean(Method):
    name: ClassVar[str] = "lean"

    @hookimpl
    def prior(self, latent_dim, data, width):
        assert (latent_dim, data.dimension, width) == (2, 4, 4)
        return LeanedPrior()


def test_a_prior_of_the_networks_is_asked_once_in_a_step_and_is_trained():
    state, _ = harness_steps("linear", (Lean(),))
    own = state.vae.own_prior
    assert not torch.equal(own.logvar, torch.full((1, 2), -0.5).double())
    asked = own.asked
    assert asked <= state.meter.steps + 4  # and when the contender is assembled and looked at
    plain = tiny.vae("linear")
    leaned = tiny.vae("linear", [Lean()])
    assert all(torch.equal(each, leaned.get_parameter(name)) for name, each in plain.named_parameters())
    assert leaned.own_prior.logvar.unique().tolist() == [-0.5]


def test_the_prior_of_a_split_does_not_change_with_the_model():
    whole = split(Lean(), number=9)
    with torch.no_grad():
        found = whole.prior.kl(whole.posterior)
    assert np.isfinite(found.numpy()).all()
