"""Contrastive critics: the bound that the self-critic trains, closed forms, and what the networks read."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_plain_step import STEPS, harness_steps
from test_plugins_objective import alike, posteriors

from collapsebench.components.composition import compose
from collapsebench.experiment.assembly import objective_at
from collapsebench.metrics.estimators import aggregate_density, mutual_information_bracket
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench_plugins.critic import IMAGES, TEXT, ContrastiveCritic, Critic, cross_entropy
from collapsebench_plugins.mae import MAE
from collapsebench_plugins.sa_vae import SAVAE
from collapsebench_plugins.skip import Skip

FAMILIES = ("lstm", "mlp", "levels", "counts", "linear")
"""One of every kind of data."""


def trained(family, *methods):
    """A model of these methods, and the terms of one step."""
    vae, x = tiny.vae(family, methods), tiny.examples(family)
    objective = objective_at(compose(methods), Progress(0.0, 0), SeededNoise(0))
    return vae, objective(vae, x, vae.encode(x)).backward()


@pytest.mark.slow
@pytest.mark.parametrize("critic", Critic)
@pytest.mark.parametrize("family", ["lstm", "mlp"])
def test_a_neutral_setting_is_the_plain_vae_to_the_bit(family, critic):
    method, others = ContrastiveCritic(critic=critic, weight=0), (SAVAE(steps=2), Skip())
    alike(family, (method,), ())
    alike(family, (method, *others), others)


def loss_of(z, posterior):
    """The self-critic's loss of these codes, without weight."""
    return cross_entropy(posterior.log_prob(z[:, None].expand(-1, len(z), -1)))


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_the_loss_of_the_self_critic_is_what_the_lower_bound_on_information_lacks_to_its_limit(seed, size):
    """The metric has the analytic KL where the loss has its estimate, which is the only difference."""
    posterior, prior = posteriors(seed, size), StandardNormal(3)
    z = posterior.sample(SeededNoise(seed).normal((1, size, 3), posterior.mean))[0]
    density = aggregate_density(z, posterior)
    loss = float(loss_of(z, posterior))
    assert loss == pytest.approx(math.log(size) - float((density.own - density.aggregate).mean()), abs=1e-9)
    assert loss >= -1e-12
    if size > 1:
        estimated = float((density.own - prior.log_prob(z[None])[0]).mean())
        exact = float(prior.kl(posterior).sum(1).mean())
        bound = mutual_information_bracket(z, posterior, prior).lower.value
        assert loss == pytest.approx(math.log(size) - bound - estimated + exact, abs=1e-9)


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_the_term_is_the_weighted_loss_at_the_sample(weight):
    vae, plain = trained("mlp")
    _, found = trained("mlp", ContrastiveCritic(weight=weight))
    posterior = vae.encode(tiny.examples("mlp"))
    z = posterior.sample(SeededNoise(0).child("z").normal((1, 3, 2), posterior.mean))[0]
    assert float(found.loss - plain.loss) == pytest.approx(weight * float(loss_of(z, posterior).detach()))


def test_equal_posteriors_cost_the_logarithm_of_the_batch_and_separate_ones_nothing():
    mean = torch.zeros(7, 2, dtype=torch.float64)
    equal = DiagonalGaussian(mean, mean)
    assert float(loss_of(mean + 0.3, equal)) == pytest.approx(math.log(7))
    apart = DiagonalGaussian(mean + 100 * torch.arange(7)[:, None], mean)
    assert float(loss_of(apart.mean, apart)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weight_is_that_of_the_authors_for_the_kind_of_data(family):
    weight = TEXT if family == "lstm" else IMAGES
    assert float(trained(family, ContrastiveCritic())[1].loss) == pytest.approx(
        float(trained(family, ContrastiveCritic(weight=weight))[1].loss)
    )
    assert ContrastiveCritic()._weight(tiny.examples(family)) == weight


@pytest.mark.parametrize("family", FAMILIES)
def test_both_networks_and_the_temperature_are_trained(family):
    method = ContrastiveCritic(critic=Critic.NETWORKS, width=4)
    vae, found = trained(family, method)
    assert all(parameter.grad.any() for parameter in vae.auxiliary.parameters())
    assert all(parameter.grad is not None for parameter in vae.encoder.parameters())
    assert found.loss.isfinite()


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_cosines_of_one_code_and_one_example_and_begin_at_the_temperature_of_clip(family):
    """Another example changes its own column alone; no score is beyond 1/0.07 at the start."""
    networks = tiny.vae(family, [ContrastiveCritic(critic=Critic.NETWORKS)]).auxiliary["critic"]
    x, z = tiny.examples(family), torch.randn(3, 2, generator=torch.Generator().manual_seed(1)).double()
    scores = networks(z, x)
    assert scores.abs().max() <= 1 / 0.07 + 1e-5
    torch.testing.assert_close(networks(z[1:2], x), scores[1:2])
    other = tiny.examples(family, seed=3)
    changed = networks(z, torch.cat((x[:2], other[2:])))
    assert torch.allclose(changed[:, :2], scores[:, :2])
    assert not torch.allclose(changed[:, 2], scores[:, 2])


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_cost_what_the_card_says_and_the_self_critic_no_product(family):
    width, batch, latent = 6, 4, 2
    entries = width if family == "lstm" else tiny.examples(family)[0].numel()
    plain, alone, networks = (
        harness_steps(family, methods)[0].meter.counters()["flops"]
        for methods in ((), (ContrastiveCritic(),), (ContrastiveCritic(critic=Critic.NETWORKS, width=width),))
    )
    most = STEPS * 6 * batch * width * (latent + entries + 2 * width + batch)
    assert alone == plain
    assert 2 / 3 * most <= networks - plain <= most


def test_padding_is_not_read():
    networks = tiny.vae("lstm", [ContrastiveCritic(critic=Critic.NETWORKS)]).auxiliary["critic"]
    x, z = tiny.examples("lstm").clamp(min=1), torch.randn(3, 2, generator=torch.Generator().manual_seed(1)).double()
    padded = torch.nn.functional.pad(x, (0, 4))
    torch.testing.assert_close(networks(z, padded), networks(z, x))
    assert networks(z, torch.zeros_like(x)).isfinite().all()


def test_it_is_added_to_what_others_add():
    alone = [float(trained("mlp", method)[1].loss) for method in (ContrastiveCritic(), MAE())]
    plain = float(trained("mlp")[1].loss)
    together = float(trained("mlp", ContrastiveCritic(), MAE())[1].loss)
    assert together - plain == pytest.approx(sum(alone) - 2 * plain)
