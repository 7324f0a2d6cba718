"""The guards of a run: each finds what it says, and lets the honest pass."""

import math
import time
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import tiny
import torch
from pydantic import PrivateAttr
from records import record
from torch import nn

from collapsebench.components import discovery
from collapsebench.components.composition import compose
from collapsebench.components.interfaces import Inference, Method
from collapsebench.errors import DataError, PluginError
from collapsebench.experiment.assembly import kl_weight_at
from collapsebench.guards.agreement import check_agreement
from collapsebench.guards.gradients import check_backward, check_gradients, check_terms
from collapsebench.guards.patches import check_unpatched
from collapsebench.guards.posteriors import check_posterior
from collapsebench.guards.priors import check_prior
from collapsebench.guards.schedules import unfinished_schedule
from collapsebench.guards.traces import fingerprint, without_trace
from collapsebench.inference.amortized import Amortized
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Objective, Terms
from collapsebench.record import Guard
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.control_vae import ControlVAE
from collapsebench_plugins.geco import GECO
from collapsebench_plugins.kl_annealing import KLAnnealing, Schedule
from collapsebench_plugins.pretraining import Pretraining

NOISE = SeededNoise(5)


class Keeper(Method):
    name = "keeper"

    _count: int = PrivateAttr(0)
    _mean: torch.Tensor = PrivateAttr(default_factory=lambda: torch.zeros(2))
    _array: np.ndarray = PrivateAttr(default_factory=lambda: np.zeros(2))
    _table: dict = PrivateAttr(default_factory=lambda: {"a": [1, 2.0, "x"], "b": {3, 4}})


def change_weight(vae, keeper):
    next(vae.parameters()).data[0, 0] += 1e-12


def change_sign_of_zero(vae, keeper):
    keeper._mean[0] = -0.0


def change_buffer(vae, keeper):
    vae.register_buffer("running", torch.ones(1))


def change_number(vae, keeper):
    keeper._count += 1


def change_table(vae, keeper):
    keeper._table["a"][1] = 2.5


def change_set(vae, keeper):
    keeper._table["b"].add(5)


def change_array(vae, keeper):
    keeper._array[0] += 1


def change_loose_buffer(vae, keeper):
    vae.encoder.loose += 1


CHANGES = [
    change_array,
    change_loose_buffer,
    change_weight,
    change_sign_of_zero,
    change_buffer,
    change_number,
    change_table,
    change_set,
]


@pytest.mark.parametrize("change", CHANGES)
def test_an_evaluation_that_leaves_a_trace_is_named(change):
    vae, keeper = tiny.vae("mlp"), Keeper()
    vae.encoder.register_buffer("loose", torch.zeros(1), persistent=False)
    with (
        pytest.raises(PluginError, match=r"the evaluation changed the (model's '|private attribute '_)"),
        without_trace(vae, [keeper]),
    ):
        change(vae, keeper)


def test_an_evaluation_that_reads_leaves_no_trace():
    vae, keeper = tiny.vae("mlp"), Keeper()
    before = fingerprint(vae, [keeper])
    with without_trace(vae, [keeper]):
        vae.encode(tiny.examples("mlp"))
        keeper._table = {"a": [1, 2.0, "x"], "b": {4, 3}}
        vae.train()
    assert fingerprint(vae, [keeper]) == before
    assert len(before) == len(vae.state_dict()) + 4


def test_what_an_evaluation_leaves_in_the_globals_of_a_plugin_is_put_back():
    """An honest cache is emptied, and weights that were trained on the side are gone."""
    module = ModuleType("plugin")
    module.kept, module.weights = {"before": 1}, torch.zeros(2)
    with without_trace(tiny.vae("mlp"), [], [module]):
        module.kept["trained"] = torch.ones(2)
        module.weights += 1
        module.new = 3
    assert module.kept == {"before": 1}
    assert module.weights.tolist() == [0, 0]
    assert "new" not in vars(module)


def test_an_error_inside_is_told_in_place_of_the_trace():
    vae = tiny.vae("mlp")

    def evaluate():
        with without_trace(vae, []):
            change_weight(vae, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate()


@dataclass(frozen=True)
class Scaled:
    """N(m, s²) in every unit, with errors to choose: c is added to the density, d to the KL of the first unit."""

    latent_dim: int = 3
    shift: float = 0.7
    c: float = 0.0
    d: float = 0.0

    @property
    def normal(self):
        return DiagonalGaussian(torch.full((1, self.latent_dim), self.shift), torch.full((1, self.latent_dim), -1.0))

    def sample(self, number, noise):
        return self.normal.sample(noise.normal((number, 1, self.latent_dim), torch.empty(0)))[:, 0]

    def log_prob(self, z):
        return self.normal.log_prob(z) + self.c

    def kl(self, posterior):
        kl = posterior.kl(self.normal)
        kl[:, 0] += self.d
        return kl


@dataclass(frozen=True)
class TwoNormals:
    """(N(-2, 1) + N(2, 1)) / 2, with a KL that is estimated."""

    latent_dim: int = 1

    def sample(self, number, noise):
        sign = (noise.child("sign").uniform((number, 1), torch.empty(0)) < 0.5).float() * 4 - 2
        return noise.normal((number, 1), torch.empty(0)) + sign

    def log_prob(self, z):
        parts = torch.stack([-0.5 * (math.log(2 * math.pi) + (z - m).square().sum(-1)) for m in (-2.0, 2.0)])
        return parts.logsumexp(0) - math.log(2)

    def kl(self, posterior):
        z = posterior.sample(torch.randn(100_000, *posterior.mean.shape, generator=torch.Generator().manual_seed(0)))
        return (posterior.log_prob(z) - self.log_prob(z)).mean(0)[:, None]


@dataclass(frozen=True)
class WithoutKL(Scaled):
    """The same without a KL in closed form."""

    def kl(self, posterior):
        return None


@pytest.mark.parametrize(
    "prior", [StandardNormal(4), StandardNormal(0), Scaled(), Scaled(50), Scaled(3, 20.0), WithoutKL()]
)
def test_a_prior_that_is_a_density_passes(prior):
    check_prior(prior, NOISE)


def test_a_prior_with_two_modes_passes():
    check_prior(TwoNormals(), NOISE)


@pytest.mark.parametrize(
    ("prior", "complaint"),
    [
        (Scaled(c=0.1, d=-0.1), r"integrates to 1.10\d* ± .* and not to 1"),
        (Scaled(c=-0.1, d=0.1), "integrates to 0.90"),
        (Scaled(c=5.0, d=-5.0), "integrates to 148"),
        (Scaled(50, c=0.5, d=-0.5), "integrates to 1.6"),
        (Scaled(d=-0.2), "gives a KL of .* nats where its density gives"),
        (Scaled(c=0.2), "gives a KL of"),
        (WithoutKL(c=0.1), "integrates to 1.10"),
    ],
)
def test_a_prior_that_is_no_density_is_refused(prior, complaint):
    with pytest.raises(PluginError, match=complaint):
        check_prior(prior, NOISE)


class Flattered(StandardNormal):
    """States a log-density that is too high, and no KL."""

    def log_prob(self, z):
        return super().log_prob(z) + 0.1

    def kl(self, posterior):
        return None


@dataclass(frozen=True)
class Finer(WithoutKL):
    """States another log-density in the precision of the metrics."""

    def log_prob(self, z):
        return super().log_prob(z) + 0.1 * (z.dtype == torch.float64)


@pytest.mark.parametrize("prior", [Flattered(3), Finer()])
def test_a_prior_is_looked_at_whatever_it_inherits_and_as_the_metrics_do(prior):
    with pytest.raises(PluginError, match=r"integrates to 1\.10"):
        check_prior(prior, NOISE)


class Partial(StandardNormal):
    """States half of the KL of narrow posteriors."""

    def kl(self, posterior):
        return super().kl(posterior) * (0.5 if (posterior.logvar < -2).all() else 1)


def test_the_kl_of_the_contender_s_own_gaussians_is_that_of_the_prior():
    narrow = DiagonalGaussian(torch.ones(2, 3), torch.full((2, 3), -3.0))
    check_prior(Partial(3), NOISE)
    check_posterior(narrow, StandardNormal(3), NOISE)
    check_posterior(narrow, Scaled(), NOISE)
    with pytest.raises(PluginError, match=r"the KL of the posterior DiagonalGaussian is .* kl\(\) must be exact"):
        check_posterior(narrow, Partial(3), NOISE)


def foreign(source):
    """Run a source as the file `foreign.py`."""
    names = {}
    exec(compile(source, "foreign.py", "exec"), names)  # noqa: S102
    return names


PATCHES = {
    "collapsebench.metrics.estimators.importance_bound": "def f(*_): return 1",
    "collapsebench.model.vae.VAE.log_likelihood": "def f(*_): return 1",
    "collapsebench.metrics.evaluation.EvaluatedSplit.neg_elbo": "f = property(lambda self: 1.0)",
    "collapsebench.experiment.meter.Meter.counters": "f = lambda self: {}",
    "torch.Tensor.sum": "f = lambda self, *_: self",
    "torch.log_softmax": "f = lambda x, *_: x",
    "time.perf_counter": "f = lambda: 0.0",
}


@pytest.mark.parametrize("target", PATCHES)
def test_a_replaced_function_is_named(monkeypatch, target):
    made = foreign(PATCHES[target])["f"]
    check_unpatched({"foreign.py"}, tiny.vae("mlp"))
    monkeypatch.setattr(target, made)
    with pytest.raises(PluginError, match=f"has replaced {target}: "):
        check_unpatched({"foreign.py"}, nn.Identity())


@pytest.mark.parametrize("name", ["encode", "log_likelihood", "forward"])
def test_a_method_that_is_set_on_the_model_is_named(name):
    vae = tiny.vae("mlp")
    setattr(vae if name != "forward" else vae.decoder, name, lambda *_: None)
    with pytest.raises(PluginError, match=rf"has replaced \w+\.{name} of the model"):
        check_unpatched(set(), vae)


def test_clocks_are_those_of_python():
    assert time.perf_counter.__module__ == "time"


def at_the_end(method, selected, end=1.0):
    """What is found of a method whose parameters are those at a share of the budget."""
    hooks = compose([method])
    return unfinished_schedule(partial(kl_weight_at, hooks), Progress(selected, 10), Progress(end, 20))


def test_a_schedule_that_has_not_ended_is_found():
    (finding,) = at_the_end(KLAnnealing(warmup=1.0), 0.75)
    assert finding.guard is Guard.SCHEDULE
    assert finding.text == "KL weight at the selected point 0.75, at the end of the schedule 1"


def fed(method):
    """A method of feedback that has seen a step."""
    one = torch.ones(1)
    method.after_step(Terms(50 * one, one[None], 1.0, one[0]))
    return method


@pytest.mark.parametrize(
    ("method", "selected"),
    [
        (KLAnnealing(warmup=0.5), 0.5),
        (KLAnnealing(warmup=1.0), 1.0),
        (KLAnnealing(schedule=Schedule.CYCLICAL), 0.5),
        (KLAnnealing(schedule=Schedule.CYCLICAL, cycles=3), 1.0),
        (BetaVAE(beta=0.5), 0.1),
        (fed(GECO(goal=10, step_size=0.1)), 0.5),
        (fed(ControlVAE(nats=3)), 0.5),
    ],
    ids=repr,
)
def test_a_schedule_that_has_ended_and_a_weight_by_feedback_are_not_found(method, selected):
    assert at_the_end(method, selected) == ()


def test_the_first_step_of_a_new_phase_is_not_yet_trained():
    assert at_the_end(Pretraining(share=0.5), 0.5)
    assert at_the_end(KLAnnealing(schedule=Schedule.CYCLICAL), 0.55)


class Forgetful(Inference):
    name = "forgetful"

    def posterior(self, vae, x, noise):
        return vae.encode(x)

    def gradients(self, vae, x, objective):
        return objective(vae, x, vae.encode(x))


def test_a_strategy_without_gradients_is_refused():
    vae, x = tiny.vae("mlp"), tiny.examples("mlp")
    Forgetful().gradients(vae, x, Objective(NOISE))
    with pytest.raises(PluginError, match=r"'forgetful': gradients\(\) left no gradient in any parameter"):
        check_gradients(vae, Forgetful())
    Amortized().gradients(vae, x, Objective(NOISE))
    check_gradients(vae, Amortized())


def test_a_strategy_that_forgets_its_gradients_later_is_refused_but_zero_is_a_gradient():
    vae = tiny.vae("mlp")
    with pytest.raises(PluginError, match="left no gradient in any parameter"):
        check_backward(vae, Forgetful())
    next(vae.parameters()).grad = torch.zeros_like(next(vae.parameters()))
    check_backward(vae, Forgetful())


def test_a_data_class_with_slots_and_a_bytearray_count_by_their_values():
    @dataclass(slots=True)
    class Slotted:
        number: int = 0

    class Keeper(Method):
        name = "keeper"
        _slotted: object = PrivateAttr(default_factory=Slotted)
        _bytes: object = PrivateAttr(default_factory=lambda: bytearray(2))

    vae, keeper = tiny.vae("mlp"), Keeper()
    for change in (lambda: setattr(keeper._slotted, "number", 1), lambda: keeper._bytes.append(1)):
        before = fingerprint(vae, [keeper])
        assert fingerprint(vae, [keeper]) == before
        change()
        assert fingerprint(vae, [keeper]) != before


def test_a_strategy_that_returns_no_terms_is_refused():
    with pytest.raises(PluginError, match=r"must return the Terms of the objective.*; got NoneType"):
        check_terms(None, Forgetful())


class Hashed:
    def __init__(self, hashes):
        self.hashes = lambda: hashes


def test_a_run_of_other_data_or_components_is_refused():
    spec, catalog = record("skip").spec, discovery.load()
    splits = dict(spec.protocol.splits)
    check_agreement(spec, Hashed(splits), catalog)
    with pytest.raises(DataError, match=r"the split 'test' of dataset '.*' has the hash other…, but the run was"):
        check_agreement(spec, Hashed(splits | {"test": "other"}), catalog)
    method = spec.contender.methods[0].model_copy(update={"version": 7})
    planned = spec.model_copy(update={"contender": spec.contender.model_copy(update={"methods": (method,)})})
    with pytest.raises(PluginError, match="method 'skip' has version 1 here, but the run was planned for 7"):
        check_agreement(planned, Hashed(splits), catalog)
