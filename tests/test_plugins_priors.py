"""Priors that are learned: VampPrior and the mixture of Gaussians."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_plain_step import batches, harness_steps
from torch import distributions, nn

import collapsebench
from collapsebench import Draw, Method, PosteriorDistribution, Vectors, hookimpl
from collapsebench.components.composition import compose
from collapsebench.errors import PluginError, UsageError
from collapsebench.experiment.flops import FlopCounter
from collapsebench.experiment.keeping import load_model, model_state
from collapsebench.guards.posteriors import check_posterior
from collapsebench.guards.priors import check_prior
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import DependentPrior, Objective
from collapsebench.observation import Observation
from collapsebench.plausibility import checker
from collapsebench.record import Outcome
from collapsebench_plugins import mixtures
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.dg_vae import DGVAE
from collapsebench_plugins.du_vae import DUVAE
from collapsebench_plugins.free_bits import FreeBits, Per
from collapsebench_plugins.iaf import IAF
from collapsebench_plugins.info_vae import InfoVAE
from collapsebench_plugins.lagging import Lagging
from collapsebench_plugins.mixture_prior import MixturePrior, Weights
from collapsebench_plugins.mixtures import LearnedMixture, Mixture
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.pretraining import Pretraining
from collapsebench_plugins.sa_vae import SAVAE, SVI
from collapsebench_plugins.vamp_prior import Pseudo, VampPrior
from collapsebench_plugins.vmf import VMF

NOISE = SeededNoise(1)
K = 3
VAMP = VampPrior(components=K, std=0.5)
FEATURES = VampPrior(components=K, std=0.5, pseudo=Pseudo.FEATURES)
MIXTURE = MixturePrior(components=K, weights=Weights.LEARNED)
PRIORS = [VAMP, FEATURES, MIXTURE]
each_prior = pytest.mark.parametrize("method", PRIORS, ids=["inputs", "features", "mixture"])


def gaussians(seed, number=4, units=2, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return DiagonalGaussian(
        *(scale * torch.randn(number, units, generator=generator, dtype=torch.float64) for _ in range(2))
    )


def mixture(seed, number=4, units=2):
    logits = torch.randn(number, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return Mixture(gaussians(seed, number, units), logits.log_softmax(0))


def codes(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4))
def test_the_density_is_that_of_torch(seed, number, units):
    found, z = mixture(seed, number, units), codes(3, 2, units, seed=seed)
    normal = distributions.Normal(found.components.mean, (0.5 * found.components.logvar).exp())
    wanted = distributions.MixtureSameFamily(
        distributions.Categorical(logits=found.log_weights), distributions.Independent(normal, 1)
    )
    assert torch.allclose(found.log_prob(z), wanted.log_prob(z))


def test_many_codes_are_computed_block_by_block(monkeypatch):
    found, z = mixture(0), codes(5, 3, 2)
    whole = found.log_prob(z)
    monkeypatch.setattr(mixtures, "BLOCK", 1)
    assert torch.allclose(found.log_prob(z), whole)


@pytest.mark.parametrize("number", [1, 7])
def test_components_that_are_standard_are_the_standard_normal(number):
    units = 5
    start = LearnedMixture(number, units, spread=0, learned_weights=True).double()
    start.logits.data.copy_(codes(number))
    found, z, q = start.of(None), codes(4, 6, units), gaussians(1, 6, units)
    assert torch.allclose(found.log_prob(z), StandardNormal(units).log_prob(z), atol=1e-12, rtol=0)
    z = q.sample(codes(20_000, 6, units))
    ratios = (q.log_prob(z) - found.log_prob(z)).detach()
    error = ratios.std(0) / math.sqrt(len(z))
    assert ((ratios.mean(0) - StandardNormal(units).kl(q).sum(1)).abs() < 5 * error).all()
    closed = found.kl(q)
    assert (closed is None) == (number > 1)
    if closed is not None:
        assert torch.allclose(closed, StandardNormal(units).kl(q))


def test_a_narrow_component_keeps_its_digits_in_single_precision():
    narrow = DiagonalGaussian(torch.full((1, 2), 3.0), torch.full((1, 2), -14.0))
    z = narrow.sample(codes(1, 50, 2)[0][None].float())
    assert torch.allclose(Mixture.equal(narrow).log_prob(z), narrow.log_prob(z), atol=1e-3)


def test_without_a_gaussian_on_both_sides_no_kl_is_in_closed_form():
    q, other = gaussians(0), Logistic(codes(1, 2))
    assert Mixture.equal(other).kl(q) is None
    assert Mixture.equal(gaussians(1, 1)).kl(other) is None


def test_draws_come_from_the_components_by_their_weights():
    means = torch.tensor([[-50.0, 0.0], [0.0, 50.0], [50.0, 0.0]], dtype=torch.float64)
    components = DiagonalGaussian(means, torch.zeros_like(means))
    weights = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    found = Mixture(components, weights.log())
    z = found.sample(4000, NOISE)
    assert torch.equal(z, found.sample(4000, NOISE))
    assert not torch.equal(z, found.sample(4000, NOISE.child(1)))
    nearest = torch.cdist(z, means).argmin(1)
    shares = nearest.bincount(minlength=3) / len(z)
    assert (shares - weights).abs().max() < 0.04
    assert shares[1] == 0
    assert ((z - means[nearest]).std(0) - 1).abs().max() < 0.05


@pytest.mark.parametrize("method", [*PRIORS, VampPrior(components=1), MixturePrior(components=1)])
def test_the_check_of_priors_passes_and_finds_a_wrong_weight(method):
    """It sees the whole mixture, and of a single component the KL."""
    with torch.no_grad():
        found = tiny.vae("mlp", [method]).float().eval().prior
    check_prior(found, NOISE)
    with pytest.raises(PluginError, match=r"integrates to 1\.1|gives a KL of"):
        check_prior(Mixture(found.components, found.log_weights + 0.1), NOISE)


class Logistic(PosteriorDistribution):
    """The logistic distribution of scale one."""

    def __init__(self, mean):
        self.mean = mean

    @property
    def parameters(self):
        return self.mean[None]

    def at(self, parameters):
        return Logistic(parameters[0])

    def draw(self, noise):
        u = noise.uniform(tuple(self.mean.shape), self.mean).clamp(1e-6, 1 - 1e-6)
        z = self.mean + u.logit()
        return Draw(z, lambda: self.log_prob(z[None])[0])

    def log_prob(self, z):
        away = z - self.mean
        return (nn.functional.logsigmoid(away) + nn.functional.logsigmoid(-away)).sum(-1)


class LogisticHead(nn.Module):
    def forward(self, posterior, features):
        return Logistic(posterior.mean)


class Wide(Method):
    """Its posteriors are no Gaussians."""

    name: ClassVar[str] = "wide"

    @hookimpl
    def posterior_head(self):
        return LogisticHead()


def test_the_components_are_posteriors_of_whatever_family():
    model = tiny.vae("mlp", [Wide(), VAMP])
    found, z = model.prior, codes(2, 4, 2)
    assert isinstance(found.components, Logistic)
    each = torch.stack([Logistic(mean).log_prob(z) for mean in found.components.mean])
    assert torch.allclose(found.log_prob(z), each.logsumexp(0) - math.log(K))
    assert found.sample(5, NOISE).shape == (5, 2)
    check_prior(model.float().eval().prior, NOISE)
    with torch.no_grad():
        posterior = model.encode(tiny.examples("mlp").float())
        check_posterior(posterior, model.prior, NOISE)
    state, terms = harness_steps("mlp", (Wide(), VAMP))
    assert all(math.isfinite(float(each.loss)) for each in terms)
    assert state.vae.own_prior.values.grad.any()


@pytest.mark.parametrize("context", [True, False])
def test_behind_a_flow_the_components_are_its_posteriors(context):
    state, terms = harness_steps("mlp", (IAF(context=context, width=6), VAMP))
    assert all(math.isfinite(float(each.loss)) for each in terms)
    assert state.vae.own_prior.values.grad.any()
    found, z = state.vae.eval().prior, codes(1, 4, 2)
    each = torch.stack([found.components[c : c + 1].log_prob(z.transpose(0, 1))[:, 0] for c in range(K)])
    assert torch.allclose(found.log_prob(z)[0], each.logsumexp(0) - math.log(K))
    with torch.no_grad():
        check_prior(state.vae.float().prior, NOISE)


@each_prior
def test_networks_start_as_those_of_the_plain_vae_and_the_prior_by_its_own_seed(method):
    plain, model = tiny.vae("mlp"), tiny.vae("mlp", [method])
    assert all(torch.equal(parameter, model.get_parameter(name)) for name, parameter in plain.named_parameters())
    own, again, other = (dict(tiny.vae("mlp", [method], seed=seed).own_prior.named_parameters()) for seed in (1, 1, 2))
    assert isinstance(model.own_prior, DependentPrior)
    first = next(iter(own))
    assert torch.equal(own[first], again[first])
    assert not torch.equal(own[first], other[first])


def test_pseudo_inputs_start_where_the_authors_start_them():
    values = tiny.vae("conv", [VampPrior()]).own_prior.values.detach()
    assert values.shape == (500, 1, 3, 4)
    assert float(values.mean()) == pytest.approx(0.05, abs=1e-3)
    assert float(values.std()) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("family", "bounds"), [("levels", (0, 1)), ("counts", (0, math.inf)), ("linear", None)])
def test_pseudo_inputs_stay_within_the_data_and_no_gradient_draws_them_further_out(family, bounds):
    model = tiny.vae(family, [VampPrior(components=50, std=3.0)])
    values = model.own_prior.values
    model.prior.log_prob(codes(1, 4, 2)).sum().backward()
    low, high = bounds or (-math.inf, math.inf)
    outside = (values < low) | (values > high)
    assert outside.any() == (bounds is not None)
    assert not values.grad[outside].any()
    assert values.grad[~outside].any()
    assert torch.equal(model.prior.components.mean, model.eval().encode(values.clamp(low, high)).mean)


def test_features_pass_the_posterior_and_not_the_encoder():
    model = tiny.vae("lstm", [FEATURES])
    passes = model.passes.encoder
    assert torch.equal(model.prior.components.mean, model.posterior(model.own_prior.values).mean)
    assert model.passes.encoder == passes


@pytest.mark.parametrize(("family", "head"), [("mlp", BNVAE()), ("mlp", DUVAE(rate=0.5)), ("pixelcnn", None)])
def test_pseudo_inputs_enter_no_running_statistics_and_drop_nothing(family, head):
    others = () if head is None else (head,)
    plain, model, x = tiny.vae(family, others), tiny.vae(family, [*others, VAMP]), tiny.examples(family)
    before = model_state(model)
    mixture = model.prior
    assert all(torch.equal(tensor, before[name]) for name, tensor in model_state(model).items())
    assert all(module.training for module in model.modules())
    plain.encode(x)
    Objective(NOISE)(model, x, model.encode(x)).loss.backward()
    assert all(torch.equal(buffer, model.get_buffer(name)) for name, buffer in plain.named_buffers())
    tested = tiny.vae(family, [*others, VAMP]).eval().prior
    assert torch.equal(mixture.components.parameters, tested.components.parameters)


def passes(inference, *methods):
    """The passes of encoder and decoder in one step on four examples."""
    model, x = tiny.vae("mlp", methods), batches("mlp")[0]
    before = model.passes.encoder, model.passes.decoder
    inference.gradients(model, x, Objective(NOISE))
    return model.passes.encoder - before[0], model.passes.decoder - before[1]


def test_a_step_passes_the_pseudo_inputs_once_for_each_value_of_the_objective():
    assert passes(Amortized(), VAMP) == (4 + K, 4)
    assert passes(Amortized(), MIXTURE) == passes(Amortized(), FEATURES) == (4, 4)
    plain, decoded = passes(SAVAE(steps=2))
    assert passes(SAVAE(steps=2), VAMP) == (plain + K * decoded // 4, decoded)


def step_flops(method):
    """The FLOPs of a step, those that the meter counts in three, and its passes."""
    methods = () if method is None else (method,)
    model = tiny.vae("mlp", methods)
    with FlopCounter() as counter:
        Amortized().gradients(model, batches("mlp")[0], Objective(NOISE))
    state, _ = harness_steps("mlp", methods)
    assert state.meter.findings() == ()
    return counter.flops, state.meter.counters()


@each_prior
def test_the_meter_counts_what_the_prior_costs(method):
    """All densities, and K passes of what is passed, whose inputs need gradients, too."""
    (plain, without), (found, counters) = step_flops(None), step_flops(method)
    B, D, P, H = 4, 2, 9, 5
    posterior = 2 * (H * 2 * D)
    encoder = 2 * (P * H + H * H) + posterior
    passed = {VAMP: encoder, FEATURES: posterior, MIXTURE: 0}[method]
    assert found - plain == 3 * K * passed + 12 * K * B * D
    assert counters["flops"] == 3 * found
    assert counters["encoder_evaluations"] - without["encoder_evaluations"] == (3 * K if method is VAMP else 0)


OTHERS = {
    "sa-vae": (SAVAE(steps=2),),
    "free-bits": (FreeBits(nats=0, per=Per.BATCH),),
    "lagging": (Lagging(window=1, limit=1),),
    "pretraining": (Pretraining(share=0.5),),
    "info-vae": (InfoVAE(alpha=0.5),),
    "bn-vae": (BNVAE(),),
    "sa-vae+iaf": (SAVAE(steps=1), IAF(width=6)),
}


@pytest.mark.slow
@pytest.mark.parametrize("others", OTHERS)
@each_prior
def test_it_is_trained_beside_others(method, others):
    before = dict(tiny.vae("mlp", [method]).own_prior.named_parameters())
    state, found = harness_steps("mlp", (*OTHERS[others], method))
    assert all(math.isfinite(float(each.loss)) for each in found)
    changed = {name for name, p in state.vae.own_prior.named_parameters() if not torch.equal(p, before[name].double())}
    assert changed == before.keys()


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_it_is_trained_on_all_data(family):
    for method in (MIXTURE, FEATURES) if family in {"lstm", "transformer"} else PRIORS:
        _, found = harness_steps(family, (method,))
        assert all(math.isfinite(float(each.loss)) for each in found)


def test_evaluation_takes_the_prior_once_and_in_double_precision():
    model, x = tiny.vae("linear", [VAMP]).float(), codes(5, 4).float()
    before = model.passes.encoder
    split = EvaluatedSplit(
        model, Amortized(), Vectors(x.numpy()), SeededNoise(0), batch_size=2, device=torch.device("cpu")
    )
    rates = torch.stack([split.rate(number) for number in range(2)])
    assert model.passes.encoder - before == len(x) + K
    wanted, q = model.eval().double().prior, split.posterior
    z = torch.stack([split.sample(number) for number in range(2)])
    assert rates.dtype == torch.float64
    assert torch.allclose(rates, q.log_prob(z) - wanted.log_prob(z), atol=1e-5, rtol=0)
    single = split.prior
    exact = Mixture(single.components.at(single.components.parameters.double()), single.log_weights.double())
    assert torch.allclose(single.log_prob(z), exact.log_prob(z), atol=1e-6, rtol=0)
    assert split.kl.shape == (5, 1)


FEW = {"evaluation.every": "1e6flops", "evaluation.metrics.iw-nll.samples": 2, "batch_size": 500}


@pytest.mark.slow
def test_a_run_keeps_its_budget_and_its_metrics_are_finite_and_none_is_per_unit(tmp_path):
    contenders = ["vamp-prior[components=3]", "mixture-prior[components=3]"]
    asked = {"dataset": "linear-gaussian", "budget": "2.5e6flops", "settings": FEW, "baseline": False}
    for run in collapsebench.run(contenders, store=tmp_path / "runs.sqlite", progress=False, threads=1, **asked):
        record = run.record
        assert (record.outcome, record.findings) == (Outcome.FINISHED, ())
        spent, steps = (record.points[-1].counters[name] for name in ("flops", "steps"))
        assert spent <= 2.5e6 < spent * (1 + 1 / steps)
        values = {value.column: value for value in record.values}
        assert {"neg_elbo", "iw_nll", "kl", "mi_lower", "mi_upper", "active_units", "delta_prior"} <= values.keys()
        assert all(math.isfinite(float(value.estimate)) for value in values.values())
        assert float(values["kl"].standard_error) > 0
        assert not any(name.startswith(("kl[", "collapse")) for name in values)
        assert checker(record.spec.protocol)(Observation.of(record)) == ()


@each_prior
def test_what_is_kept_gives_the_prior_back_to_the_bit(method):
    """The selected parameters are kept and given back in this way, and so are those of a checkpoint."""
    state, _ = harness_steps("mlp", (method,))
    kept = {name: tensor.clone() for name, tensor in model_state(state.vae).items()}
    again, z = tiny.vae("mlp", [method], seed=2), codes(1, 4, 2)
    load_model(again, kept)
    assert torch.equal(again.prior.log_prob(z), state.vae.prior.log_prob(z))


@pytest.mark.parametrize("family", ["lstm", "transformer"])
def test_token_ids_are_no_pseudo_inputs(family):
    with pytest.raises(UsageError, match=r"which token ids cannot be: write vamp-prior\[pseudo=features\]"):
        tiny.vae(family, [VAMP])


def test_what_it_cannot_be_combined_with_is_one_line():
    with pytest.raises(UsageError, match="method 'vamp-prior' needs an encoder, through which its pseudo-inputs pass"):
        tiny.vae("mlp", [SVI(), VAMP])
    for needy in (FreeBits(per=Per.UNIT), DGVAE()):
        with pytest.raises(UsageError, match=rf"method '{needy.name}' needs a KL per unit, which 'vamp-prior' takes"):
            tiny.vae("mlp", [needy, VAMP])
    tiny.vae("mlp", [FreeBits(per=Per.UNIT), MixturePrior(components=1)])
    for one, other in ((MIXTURE, VAMP), (NoLatent(), VAMP), (VMF(), VAMP)):
        line = f"methods '{one.name}' and '{other.name}' both give prior: they cannot be combined"
        with pytest.raises(UsageError, match=line):
            compose([one, other])
