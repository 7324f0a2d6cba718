"""Metrics of small models with known answers, and what an evaluated split promises."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from collapsebench.components.interfaces import Inference
from collapsebench.data.splits import TextSplit, Vectors
from collapsebench.errors import PluginError
from collapsebench.examples import ImageSpec, TextSpec, VectorSpec
from collapsebench.facts import dataset_facts, dataset_names
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics import COSTLY, METRICS, collapsebench_components, default_metrics
from collapsebench.metrics.active_units import CURVE, ActiveUnits
from collapsebench.metrics.collapse import CURVE as COLLAPSE_CURVE
from collapsebench.metrics.collapse import Collapse
from collapsebench.metrics.dialects import Dialects
from collapsebench.metrics.estimators import aggregate_density, mutual_information_bracket
from collapsebench.metrics.evaluation import EvaluatedSplit, evaluation_mode
from collapsebench.metrics.gap import Gap
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.kl import KL
from collapsebench.metrics.latent_use import LatentUse
from collapsebench.metrics.metric import NO_UNITS
from collapsebench.metrics.mlp_probe import MLPProbe
from collapsebench.metrics.mutual_information import MutualInformation, TrackedInformation
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.metrics.perplexity import Perplexity
from collapsebench.metrics.probe import Probe
from collapsebench.metrics.time_to_collapse import TimeToCollapse
from collapsebench.model.distributions import LOG_2PI, DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks
from collapsebench.record import Number, NumberKind

CPU = torch.device("cpu")
SAMPLES = 7
ALL = [
    NegELBO(),
    IWNLL(samples=SAMPLES),
    Perplexity(samples=SAMPLES),
    KL(),
    MutualInformation(),
    ActiveUnits(),
    Collapse(),
    TimeToCollapse(),
    LatentUse(),
    Gap(steps=2, draws=2, samples=SAMPLES),
    Probe(),
    MLPProbe(epochs=1),
    Dialects(),
]

NEED_PROVENANCE = {TimeToCollapse, Probe, MLPProbe}
"""Left out where nothing is known of the training; tests of their own give them one."""


class Decoder(nn.Module):
    """Counts the rows it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: Tensor, z: Tensor, dropout: object) -> Tensor:
        assert not self.training
        assert dropout is None
        self.calls.append(z.shape[0] * z.shape[1])
        return self.log_p(x, z)


class Linear(Decoder):
    """x ~ N(W z, σ² I): the decoder of the linear VAE."""

    def __init__(self, weight: Tensor, sigma: float) -> None:
        super().__init__()
        self.weight, self.sigma = nn.Parameter(weight), sigma

    def log_p(self, x: Tensor, z: Tensor) -> Tensor:
        squares = ((x - z @ self.weight.T) / self.sigma).square() + LOG_2PI + 2 * math.log(self.sigma)
        return -0.5 * squares.sum(-1)


class Words(Decoder):
    """Each token of a document independently, with probabilities from softmax(bias + W z)."""

    def __init__(self, vocabulary: int, latent_dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(scale * normal(vocabulary, seed=5))
        self.weight = nn.Parameter(scale * normal(vocabulary, latent_dim, seed=6))

    def log_p(self, x: Tensor, z: Tensor) -> Tensor:
        log_p = (self.bias + z @ self.weight.T).log_softmax(-1)
        return log_p.gather(-1, x[:, 1:].expand(len(z), -1, -1)).sum(-1)


class Head(nn.Module):
    """q(z|x) = N(x A + b, e^l), for vectors x."""

    def __init__(self, matrix: Tensor, shift: float, logvar: Tensor) -> None:
        super().__init__()
        self.matrix, self.shift, self.logvar = nn.Parameter(matrix), shift, logvar

    def forward(self, features: Tensor) -> DiagonalGaussian:
        mean = features.double() @ self.matrix + self.shift
        return DiagonalGaussian(mean, self.logvar.expand_as(mean))


class Document(nn.Module):
    """A document's features: how often its words occur."""

    width = 2

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(((x == 4).double().mean(1), (x == 5).double().mean(1)), 1)


class Given(Inference):
    """A strategy of its own, made for one test."""

    name: ClassVar[str] = "given"
    needs_gradients: ClassVar[bool] = True
    find: object

    def posterior(self, vae, x, noise):
        return self.find(vae, x, noise)

    def gradients(self, vae, x, objective):
        raise NotImplementedError


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(n=12, dimension=3, seed=0):
    return Vectors(normal(n, dimension, seed=seed).float().numpy())


def documents(n=14, vocabulary=9, seed=0):
    """Documents of two to five tokens after BOS, which no batch has in the order of the split."""
    rng = np.random.default_rng(seed)
    rows = [[2, *rng.integers(4, vocabulary, rng.integers(1, 5)), 3] for _ in range(n)]
    return TextSplit(np.concatenate(rows).astype(np.int32), np.array([len(row) for row in rows], np.int32))


def examples(split):
    """All x of a split of vectors, as the model sees them."""
    return torch.tensor(next(split.batches(len(split))).x).double()


def linear_vae(weight, sigma=1.0, shift=0.0, widen=0.0):
    """The linear VAE with its exact posterior (for orthogonal columns), or with one shifted and widened."""
    covariance = torch.linalg.inv(torch.eye(weight.shape[1]).double() + weight.T @ weight / sigma**2)
    posterior = Head(weight @ covariance / sigma**2, shift, covariance.diagonal().log() + widen)
    return VAE(Networks(nn.Identity(), posterior, Linear(weight, sigma)), StandardNormal(weight.shape[1]))


def text_vae(latent_dim=2, scale=1.0):
    posterior = Head(3 * normal(2, latent_dim, seed=7), 0.1, torch.full((latent_dim,), -1.0, dtype=torch.float64))
    return VAE(Networks(Document(), posterior, Words(9, latent_dim, scale)), StandardNormal(latent_dim))


def no_latent(decoder):
    return VAE(Networks(None, None, decoder), StandardNormal(0))


def evaluated(vae, split, seed=0, batch_size=5, inference=None):
    return EvaluatedSplit(vae, inference or Amortized(), split, SeededNoise(seed), batch_size, CPU)


def exact_nll(split, weight, sigma):
    """-log N(x; 0, W Wᵀ + σ² I), the mean over the split."""
    covariance = weight @ weight.T + sigma**2 * torch.eye(len(weight)).double()
    x = examples(split)
    return -torch.distributions.MultivariateNormal(torch.zeros(len(weight)).double(), covariance).log_prob(x).mean()


ORTHOGONAL = torch.tensor([[1.5, 0.0], [0.0, 0.5], [0.0, 0.0]], dtype=torch.float64)


def test_the_exact_posterior_gives_the_exact_likelihood_with_every_sample():
    split = vectors()
    measured = IWNLL(samples=9).evaluate(evaluated(linear_vae(ORTHOGONAL, 0.7), split))
    exact = exact_nll(split, ORTHOGONAL, 0.7)
    assert measured["iw_nll"].value == pytest.approx(float(exact), rel=1e-12)
    assert measured["iw_nll[1]"].value == pytest.approx(float(exact), rel=1e-12)
    assert measured["ess"].value == pytest.approx(9, rel=1e-9)
    assert measured["iw_nll"].standard_error == pytest.approx(0, abs=1e-6)


def test_a_wrong_posterior_converges_to_the_exact_likelihood():
    split, weight = vectors(n=8, dimension=1), torch.tensor([[1.2]], dtype=torch.float64)
    evaluation = evaluated(linear_vae(weight, 0.8, shift=0.4, widen=0.5), split, batch_size=800)
    measured = IWNLL(samples=4096).evaluate(evaluation)
    exact = float(exact_nll(split, weight, 0.8))
    nll, error = measured["iw_nll"]
    assert nll == pytest.approx(exact, abs=4 * error)
    assert 0 < error < 0.01
    assert 1000 < measured["ess"].value < 4000
    curve = [measured[f"iw_nll[{2**power}]"].value for power in range(13)]
    assert curve[-1] == nll
    assert abs(curve[0] - exact) > 10 * error


def test_the_bound_falls_with_the_number_of_samples_on_average():
    split, weight = vectors(n=20, dimension=1), torch.tensor([[1.2]], dtype=torch.float64)
    vae = linear_vae(weight, 0.8, shift=0.5)
    bounds = [IWNLL(samples=16).evaluate(evaluated(vae, split, seed=seed, batch_size=400)) for seed in range(40)]
    curve = [sum(bound[f"iw_nll[{size}]"].value for bound in bounds) / 40 for size in (1, 2, 4, 8, 16)]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] > float(exact_nll(split, weight, 0.8))


def test_the_elbo_misses_the_likelihood_by_the_kl_to_the_exact_posterior():
    split, weight = vectors(n=50, dimension=2), ORTHOGONAL[:2]
    vae = linear_vae(weight, 0.9, shift=0.3, widen=-0.4)
    exact, evaluation = linear_vae(weight, 0.9), evaluated(vae, split)
    x = examples(split)
    with torch.no_grad():
        gap = vae.encode(x).kl(exact.encode(x)).sum(-1).mean()
    value, error = NegELBO(samples=40).evaluate(evaluation)["neg_elbo"]
    assert value == pytest.approx(float(exact_nll(split, weight, 0.9) + gap), abs=4 * error)


def test_kl_is_analytic_per_unit_and_sums_up():
    split = vectors()
    evaluation = evaluated(linear_vae(ORTHOGONAL, 0.7, shift=0.2), split)
    measured = KL().evaluate(evaluation)
    normal_ = torch.distributions.Normal
    mean, scale = evaluation.posterior.mean, (0.5 * evaluation.posterior.logvar).exp()
    expected = torch.distributions.kl_divergence(normal_(mean, scale), normal_(torch.zeros_like(mean), 1.0)).mean(0)
    assert [measured["kl[0]"].value, measured["kl[1]"].value] == pytest.approx(expected.tolist())
    assert measured["kl"].value == pytest.approx(measured["kl[0]"].value + measured["kl[1]"].value, rel=1e-14)
    assert measured["kl"].standard_error is None


def test_active_units_spectrum_and_curve():
    weight = torch.diag(torch.tensor([3.0, 0.3, 0.0], dtype=torch.float64))
    evaluation = evaluated(linear_vae(weight, 1.0), vectors(n=60))
    measured = ActiveUnits().evaluate(evaluation)
    variance = torch.tensor(evaluation.posterior.mean.numpy().var(0, ddof=1))
    spectrum = [measured[f"mean_variance[{rank}]"].value for rank in range(3)]
    assert spectrum == pytest.approx(variance.sort(descending=True).values.tolist())
    assert measured["active_units"].value == 2
    assert [measured[f"active_units[{t:g}]"].value for t in CURVE] == [float((variance > t).sum()) for t in CURVE]
    assert ActiveUnits(threshold=0.1).evaluate(evaluation)["active_units"].value == 1


def test_a_trajectory_knows_the_information_in_a_part_of_a_large_split(monkeypatch):
    """The larger mixture weighs the own posterior less, by the ratio of sizes at most."""
    split = evaluated(linear_vae(torch.eye(2).double()), vectors(12, 2))
    assert TrackedInformation().evaluate(split) == MutualInformation().evaluate(split)
    monkeypatch.setattr(TrackedInformation, "LARGEST", 6)
    part, rows = TrackedInformation().evaluate(split), torch.arange(0, 12, 2)
    posterior, z = split.posterior[rows], split.z[rows]
    expected = mutual_information_bracket(z, posterior, split.vae.prior)
    assert (part["mi_lower"], part["mi_upper"], part["mi_examples"].value) == (expected.lower, expected.upper, 6)
    assert part["mi_lower"].value <= math.log(6)
    in_part, in_whole = aggregate_density(z, posterior).aggregate, split.density.aggregate[rows]
    assert (in_whole >= in_part - math.log(2)).all()


def test_latent_use_is_what_another_code_costs():
    """One wide unit, one example per code: log p of the wrong code is known from the codes themselves."""
    split, weight = vectors(n=30, dimension=1), torch.tensor([[2.0]], dtype=torch.float64)
    evaluation = evaluated(linear_vae(weight, 0.5), split)
    z, x = evaluation.z[:, 0], examples(split)[:, 0]
    costs = (x[:, None] - 2 * z).square() / (2 * 0.25)  # what code k costs example i, up to a constant
    increase = costs - costs.diagonal()[:, None]
    value, error = LatentUse().evaluate(evaluation)["delta_shuffle"]
    others = increase.sum() / (30 * 29)
    assert value == pytest.approx(float(others), abs=4 * error)
    assert value > 4 * error


def test_a_decoder_that_ignores_z_loses_nothing():
    vae = linear_vae(torch.zeros(3, 2).double())
    unused = {"delta_shuffle": (0.0, 0.0), "delta_prior": (0.0, 0.0)}
    assert LatentUse().evaluate(evaluated(vae, vectors())) == unused


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_code_from_the_prior_costs_what_its_moments_say(shift):
    """One unit: E(x - Wz)²/2σ² with z ~ N(0, 1), less that with z ~ q(z|x), both in closed form."""
    split, weight = vectors(n=2000, dimension=1), torch.tensor([[2.0]], dtype=torch.float64)
    evaluation = evaluated(linear_vae(weight, 0.5, shift=shift), split, batch_size=500)
    x, q = examples(split)[:, 0], evaluation.posterior
    own = (x - 2 * q.mean[:, 0]).square() + 4 * q.logvar[:, 0].exp()
    exact = float((x.square() + 4 - own).mean() / (2 * 0.25))
    value, error = LatentUse().evaluate(evaluation)["delta_prior"]
    assert value == pytest.approx(exact, abs=4 * error)
    assert value > 10 * error


def test_posteriors_that_are_all_the_same_are_no_use_whatever_the_prior_costs():
    weight = torch.tensor([[2.0]], dtype=torch.float64)
    constant = Head(torch.zeros(1, 1).double(), 3.0, torch.tensor([-4.0]).double())
    vae = VAE(Networks(nn.Identity(), constant, Linear(weight, 1.0)), StandardNormal(1))
    measured = LatentUse().evaluate(evaluated(vae, vectors(n=400, dimension=1), batch_size=100))
    assert measured["delta_shuffle"].value == pytest.approx(0, abs=4 * measured["delta_shuffle"].standard_error)
    assert abs(measured["delta_prior"].value) > 4 * measured["delta_prior"].standard_error


def test_collapsed_units_are_those_of_the_linear_model_that_are_right_to():
    """A column of zeros has the prior as its exact posterior, for every example; the others never do."""
    weight = torch.diag(torch.tensor([3.0, 0.0, 0.3, 0.0], dtype=torch.float64))
    evaluation = evaluated(linear_vae(weight), vectors(n=60, dimension=4), batch_size=20)
    measured = Collapse().evaluate(evaluation)
    assert measured["collapse"] == (50.0, None)
    assert measured["collapse[1]"].value == 75.0
    shares = [measured[f"collapse[{epsilon:g}]"].value for epsilon in COLLAPSE_CURVE]
    assert shares == sorted(shares)
    assert Collapse(epsilon=0.5).evaluate(evaluation)["collapse"] == measured["collapse[0.5]"]


def test_nothing_collapses_where_there_are_no_units():
    assert Collapse().evaluate(evaluated(no_latent(Words(9, 0)), documents())) == {"collapse": NO_UNITS}


def test_uniform_words_have_the_perplexity_of_the_vocabulary():
    evaluation = evaluated(no_latent(Words(9, 0, scale=0.0)), documents())
    assert Perplexity(samples=3).evaluate(evaluation)["perplexity"].value == pytest.approx(9, rel=1e-12)


def test_perplexity_is_of_the_corpus():
    evaluation = evaluated(text_vae(), documents())
    nll = evaluation.importance_bound(50).nll
    tokens = torch.tensor(evaluation.split.lengths) - 1
    value, error = Perplexity(samples=50).evaluate(evaluation)["perplexity"]
    assert value == pytest.approx(math.exp(float(nll.sum()) / int(tokens.sum())), rel=1e-12)
    assert abs(value - float((nll / tokens).exp().mean())) > 0.01
    assert error == pytest.approx(value * evaluation.importance_bound(50).error() * 14 / int(tokens.sum()))


def test_perplexity_is_left_out_where_there_are_no_words():
    assert Perplexity(samples=2).evaluate(evaluated(linear_vae(ORTHOGONAL), vectors())) == {}


@pytest.mark.parametrize(("metric", "column"), [(NegELBO(samples=3), "neg_elbo"), (IWNLL(samples=32), "iw_nll")])
def test_standard_errors_are_the_spread_over_draws_of_z(metric, column):
    split, vae = vectors(n=6, dimension=2), linear_vae(ORTHOGONAL[:2], 0.9, shift=0.2, widen=0.2)
    estimates = [metric.evaluate(evaluated(vae, split, seed=seed, batch_size=200))[column] for seed in range(200)]
    values, errors = torch.tensor(estimates).T
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=0.15)


def test_everything_is_in_the_order_of_the_split():
    split, vae = documents(), text_vae()
    whole = evaluated(vae, split)
    assert len(whole) == 14
    assert whole.is_text
    assert whole.predictions.tolist() == [length - 1 for length in split.lengths]
    assert torch.cat([batch.rows for batch in whole.batches()]).tolist() != list(range(14))
    for i, row in enumerate(np.split(split.tokens, split.lengths.cumsum()[:-1])):
        x = torch.tensor(row.astype(np.int64))[None]
        with torch.no_grad(), evaluation_mode(vae):
            posterior = vae.encode(x)
            reconstruction = -vae.log_likelihood(x, whole.z[i][None, None])
        torch.testing.assert_close(whole.posterior.mean[i], posterior.mean[0])
        torch.testing.assert_close(whole.reconstruction[i], reconstruction[0, 0])


def test_float32_models_are_measured_in_float64():
    vae = linear_vae(ORTHOGONAL).float()
    vae.posterior.forward = lambda x: DiagonalGaussian(x @ vae.posterior.matrix, torch.zeros(len(x), 2))
    whole = evaluated(vae, vectors())
    assert {t.dtype for t in (whole.posterior.mean, whole.z, whole.kl, whole.reconstruction)} == {torch.float64}
    assert not whole.posterior.mean.requires_grad


def test_the_training_loop_pays_one_pass():
    vae, seen = linear_vae(ORTHOGONAL), []
    inference = Given(find=lambda vae, x, noise: (seen.append(len(x)), vae.encode(x))[1])
    valid = evaluated(vae, vectors(), inference=inference)
    assert valid.neg_elbo == pytest.approx(float((valid.reconstruction + valid.kl.sum(-1)).mean()))
    assert valid.kl_mean == pytest.approx(float(valid.kl.sum(-1).mean()))
    assert sum(seen) == sum(vae.decoder.calls) == 12


def test_all_metrics_share_their_passes():
    vae, seen = text_vae(), []
    inference = Given(find=lambda vae, x, noise: (seen.append(len(x)), vae.encode(x))[1])
    whole = evaluated(vae, documents(), inference=inference)
    for metric in ALL:
        if type(metric) not in COSTLY:
            metric.evaluate(whole)
    assert sum(seen) == 14
    assert sum(vae.decoder.calls) == 14 * (NegELBO().samples + SAMPLES + 2)


def test_calls_of_the_decoder_are_bounded():
    """As many samples as fit, and at least one of a whole batch."""
    vae = linear_vae(ORTHOGONAL)
    whole = replace(evaluated(vae, vectors(n=11), batch_size=4), rows=5)
    IWNLL(samples=10).evaluate(whole)
    whole.log_likelihood(torch.zeros(2, 3), normal(9, 2, 2))
    assert max(vae.decoder.calls) == 4
    assert vae.decoder.calls[-5:] == [4, 4, 4, 4, 2]


def test_the_gpu_of_a_model_computes_the_matrix_of_its_posteriors(monkeypatch):
    """What is asked of the GPU is seen without one; the densities are those of the CPU."""
    whole, moved = evaluated(text_vae(), documents()), []
    gpu = torch.device("cuda", 0)
    there = replace(whole, device=gpu)
    vars(there).update(z=whole.z, posterior=whole.posterior)
    expected = whole.density
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *where: moved.append((self.shape, where)) or self)
    found = there.density
    shape = whole.z.shape
    assert {(2, *shape), shape} <= {size for size, where in moved if where == (gpu,)}
    assert all(map(torch.equal, found, expected))


def test_results_do_not_depend_on_what_else_is_asked():
    alone = [metric.evaluate(evaluated(text_vae(), documents())) for metric in ALL]
    whole = evaluated(text_vae(), documents())
    together = [metric.evaluate(whole) for metric in reversed(ALL)]
    assert repr(alone) == repr(together[::-1])  # text, because NaN is not equal to itself
    assert alone[0] != NegELBO().evaluate(evaluated(text_vae(), documents(), seed=1))


def test_more_samples_begin_with_the_same_draws():
    few, many = (IWNLL(samples=k).evaluate(evaluated(text_vae(), documents())) for k in (4, 9))
    assert [many[f"iw_nll[{k}]"].value for k in (1, 2, 4)] == [few[f"iw_nll[{k}]"].value for k in (1, 2, 4)]


def test_the_contenders_own_posterior_is_measured():
    """It may need gradients, leaves some behind, and is asked under no_grad."""

    def refine(vae, x, noise):
        mean = vae.encode(x).mean
        vae.log_likelihood(x, mean[None]).sum().backward()
        return DiagonalGaussian(mean + noise.normal(mean.shape, mean), torch.zeros_like(mean))

    vae = linear_vae(ORTHOGONAL)
    vae.decoder.weight.grad = torch.ones_like(ORTHOGONAL)
    with torch.no_grad():
        whole = evaluated(vae, vectors(), inference=Given(find=refine))
        posterior = whole.posterior
    plain = evaluated(vae, vectors()).posterior
    assert not posterior.mean.requires_grad
    assert torch.equal(posterior.logvar, torch.zeros(12, 2))
    assert 0.5 < (posterior.mean - plain.mean).std() < 2
    assert torch.equal(vae.decoder.weight.grad, torch.ones_like(ORTHOGONAL))
    assert vae.posterior.matrix.grad is None
    assert torch.equal(posterior.mean, evaluated(vae, vectors(), inference=Given(find=refine)).posterior.mean)


def test_modes_and_gradients_are_restored_after_an_error():
    vae = linear_vae(ORTHOGONAL).train()
    vae.encoder.eval()
    vae.decoder.weight.grad = gradient = torch.ones_like(ORTHOGONAL)

    def fail(vae, x, noise):
        raise PluginError("no posterior")

    with pytest.raises(PluginError, match="no posterior"):
        _ = evaluated(vae, vectors(), inference=Given(find=fail)).posterior
    assert vae.training
    assert vae.decoder.training
    assert not vae.encoder.training
    assert vae.decoder.weight.grad is gradient


def test_a_posterior_of_the_wrong_shape_is_named():
    wrong = Given(find=lambda vae, x, noise: DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2)))
    with pytest.raises(PluginError, match=r"inference 'given' must return a posterior \(5, 2\), got \(1, 2\)$"):
        _ = evaluated(linear_vae(ORTHOGONAL), vectors(), inference=wrong).posterior


def test_without_latent_units_the_decoder_is_the_whole_story():
    vae = no_latent(Words(9, 0))
    whole = evaluated(vae, documents())
    values = {name: estimate for metric in ALL for name, estimate in metric.evaluate(whole).items()}
    assert values["neg_elbo"] == values["reconstruction"]
    assert values["iw_nll"].value == pytest.approx(values["neg_elbo"].value, rel=1e-12)
    assert values["ess"].value == pytest.approx(SAMPLES)
    assert values["delta_shuffle"] == values["delta_prior"] == (0.0, None)
    assert [values[name].value for name in ("kl", "mi_lower", "mi_upper", "active_units")] == pytest.approx([0] * 4)
    assert sum(vae.decoder.calls) == 14 * (NegELBO().samples + 1)


def test_one_example_is_nan_where_it_says_nothing():
    whole = evaluated(text_vae(), documents(n=1))
    values = {name: estimate for metric in ALL for name, estimate in metric.evaluate(whole).items()}
    undefined = {name for name, estimate in values.items() if math.isnan(estimate.value)}
    expected = {"active_units", *(f"active_units[{t:g}]" for t in CURVE), "mean_variance[0]", "mean_variance[1]"}
    assert undefined == expected | {"delta_shuffle"}
    assert values["mi_upper"] == (pytest.approx(values["kl"].value), None)


def test_a_broken_model_is_measured_as_what_it_is():
    vae = text_vae()
    with torch.no_grad():
        vae.decoder.bias.fill_(math.nan)
        vae.posterior.matrix.fill_(math.nan)
    whole = evaluated(vae, documents())
    values = {name: estimate for metric in ALL for name, estimate in metric.evaluate(whole).items()}
    columns = {column.name for metric in METRICS for column in metric.columns if metric not in NEED_PROVENANCE}
    assert {Number.of(values[name].value).kind for name in columns} == {NumberKind.NAN}


def test_an_impossible_example_costs_infinitely():
    vae = no_latent(Words(9, 0))
    with torch.no_grad():
        vae.decoder.bias[3] = -math.inf
    whole = evaluated(vae, documents())
    values = {name: estimate for metric in ALL for name, estimate in metric.evaluate(whole).items()}
    infinite = [values[name].value for name in ("neg_elbo", "iw_nll", "perplexity")]
    assert {Number.of(value).kind for value in infinite} == {NumberKind.POSITIVE_INFINITY}


def test_every_metric_gives_its_columns_and_every_column_has_one_metric():
    whole = evaluated(text_vae(), documents())
    for metric in ALL:
        columns = set() if type(metric) in NEED_PROVENANCE else {column.name for column in metric.columns}
        assert set(metric.evaluate(whole)) >= columns
    names = [column.name for metric in METRICS for column in metric.columns]
    assert len(names) == len(set(names))
    titles = [column.title for metric in METRICS for column in metric.columns]
    assert len(titles) == len(set(titles))


def test_the_built_in_metrics_are_registered():
    assert collapsebench_components() == list(METRICS) == [type(metric) for metric in ALL]


def test_default_metrics_have_perplexity_for_text_alone():
    text = default_metrics(TextSpec(100))
    without = ("neg-elbo", "iw-nll", "kl", "mutual-information", "active-units", "collapse", "time-to-collapse")
    without += ("latent-use", "probe", "dialects")
    assert text == (*without[:2], "perplexity", *without[2:])
    assert default_metrics(ImageSpec((1, 28, 28))) == default_metrics(VectorSpec(5)) == without


@pytest.mark.parametrize("name", dataset_names())
def test_shipped_tracks_take_perplexity_and_likelihood_from_the_same_samples(name):
    """With other numbers of samples the two would contradict each other, and the draws be paid twice."""
    facts = dataset_facts(name)
    for track in facts.tracks:
        metrics = facts.tracks[track]["evaluation"]["metrics"]
        assert metrics.get("perplexity", metrics["iw-nll"]) == metrics["iw-nll"]


def test_describing_metrics_loads_no_torch():
    code = "import sys, collapsebench.metrics; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
