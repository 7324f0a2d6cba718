"""Diagonal Gaussians against torch's own distributions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from collapsebench.model.distributions import DiagonalGaussian, StandardNormal, on_processor
from collapsebench.model.seeding import SeededNoise

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 5), st.integers(0, 1000))


def draw(B, D, seed):
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = torch.randn(2, B, D, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, 3 * logvar)


def reference(q):
    return Normal(q.mean, (0.5 * q.logvar).exp())


@given(sizes)
def test_density_and_divergences_equal_torchs(size):
    S, B, D, seed = size
    q, other = draw(B, D, seed), draw(B, D, seed + 1)
    z = q.sample(torch.randn(S, B, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    torch.testing.assert_close(q.log_prob(z), Independent(reference(q), 1).log_prob(z))
    torch.testing.assert_close(q.kl(other), kl_divergence(reference(q), reference(other)))
    prior = StandardNormal(D)
    standard = Normal(torch.zeros(B, D, dtype=torch.float64), 1.0)
    torch.testing.assert_close(prior.kl(q), kl_divergence(reference(q), standard))
    torch.testing.assert_close(prior.log_prob(z), Independent(standard, 1).log_prob(z))


def test_codes_from_the_prior_are_standard_normal_and_the_same_again():
    drawn = StandardNormal(3).sample(20_000, SeededNoise(1))
    assert drawn.mean(0).abs().max() < 0.03
    assert (torch.cov(drawn.T) - torch.eye(3)).abs().max() < 0.05
    assert torch.equal(drawn, StandardNormal(3).sample(20_000, SeededNoise(1)))
    assert StandardNormal(0).sample(5, SeededNoise(1)).shape == (5, 0)


def test_a_divergence_to_itself_is_zero():
    q = draw(3, 4, 0)
    assert q.kl(q).abs().max() < 1e-15


def test_parameters_and_parts_go_back_together():
    q = draw(5, 2, 3)
    again = DiagonalGaussian.of(q.parameters)
    assert torch.equal(again.mean, q.mean)
    assert torch.equal(q[2:].logvar, q.logvar[2:])
    assert len(q[2:]) == 3


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"must both be \(B, D\)"):
        DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 4))


class Learned(nn.Module):
    """A prior that is trained with the model."""

    latent_dim = 1

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, 1))

    def sample(self, number, noise):
        return self.mean + noise.normal((number, 1), self.mean)

    def log_prob(self, z):
        return DiagonalGaussian(self.mean, torch.zeros_like(self.mean)).log_prob(z)

    def kl(self, posterior):
        return posterior.kl(DiagonalGaussian(self.mean, torch.zeros_like(self.mean)))


def test_a_prior_on_another_device_has_a_copy_for_codes_on_the_cpu(monkeypatch):
    """What is on the CPU, or has no parameters, is itself."""
    monkeypatch.setattr(nn.Module, "cpu", lambda module: module.to_empty(device="cpu"))  # meta has no numbers to copy
    learned, plain = Learned(), StandardNormal(2)
    assert on_processor(learned) is learned
    assert on_processor(plain) is plain
    learned.to("meta")
    assert on_processor(learned).mean.device.type == "cpu"
    assert learned.mean.device.type == "meta"
