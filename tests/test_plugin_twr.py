"""TWR-VAE, the states of recurrent encoders that it needs, and the hooks that a strategy of inference excludes."""

from __future__ import annotations

import pytest
import tiny
import torch
import toys
from test_plain_step import harness_steps

from collapsebench.components.composition import compose
from collapsebench.errors import PluginError, UsageError
from collapsebench.examples import TextSpec
from collapsebench.experiment.assembly import Architecture, assemble, objective_at
from collapsebench.inference.amortized import Amortized
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench.networks.decoders import LSTMDecoder
from collapsebench.networks.encoders import GRUEncoder, LSTMEncoder
from collapsebench.networks.initializations import LibraryDefault
from collapsebench.networks.posteriors import GaussianPosterior
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.critic import ContrastiveCritic
from collapsebench_plugins.free_bits import FreeBits
from collapsebench_plugins.kl_annealing import KLAnnealing
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.skip import Skip
from collapsebench_plugins.twr import TWRVAE
from collapsebench_plugins.word_dropout import WordDropout

ENCODERS = {"lstm": LSTMEncoder(embedding=3, hidden=4), "gru": GRUEncoder(embedding=3, hidden=4)}

recurrent = pytest.mark.parametrize("encoder", ENCODERS)


def model(encoder, *methods):
    """A text model with this encoder, as a contender of these methods has it."""
    decoder = LSTMDecoder(embedding=3, hidden=4)
    architecture = Architecture(2, ENCODERS[encoder], GaussianPosterior(), decoder, LibraryDefault())
    return assemble(architecture, TextSpec(7), compose(methods), seed=1).double()


def trained(encoder, strategy, *methods):
    """The model, and the terms of one step of the strategy."""
    vae = model(encoder, *methods)
    return vae, strategy.gradients(
        vae, tiny.examples("lstm"), objective_at(compose(methods), Progress(0.0, 0), SeededNoise(0))
    )


@recurrent
def test_the_states_are_the_features_of_all_beginnings_of_a_document(encoder):
    module, x = model(encoder).encoder, tiny.examples("lstm")
    states = module(x, True)
    assert torch.equal(states[:, -1], module(x))
    for length in range(1, x.shape[1] + 1):
        torch.testing.assert_close(states[:, length - 1], module(x[:, :length]))


@recurrent
def test_posteriors_of_states_are_those_of_all_beginnings_in_one_pass(encoder):
    vae, x = model(encoder), tiny.examples("lstm")
    found = vae.encode_states(x)
    assert vae.passes.encoder == len(x)
    wanted = [vae.encode(x[:, : length + 1]).parameters for length in range(x.shape[1])]
    torch.testing.assert_close(found.parameters, torch.cat(wanted, 1))


@recurrent
def test_the_loss_has_the_mean_kl_of_all_states_in_the_place_of_the_last(encoder):
    vae, found = trained(encoder, TWRVAE(), TWRVAE())
    _, plain = trained(encoder, Amortized())
    x = tiny.examples("lstm")
    kls = [vae.prior.kl(vae.encode(x[:, : length + 1])).sum(1).mean() for length in range(x.shape[1])]
    wanted = float(plain.loss - kls[-1].detach() + torch.stack(kls).mean().detach())
    assert float(found.loss) == pytest.approx(wanted)
    torch.testing.assert_close(found.reconstruction, plain.reconstruction)
    torch.testing.assert_close(found.kl, plain.kl)


@recurrent
def test_without_a_kl_it_is_the_plain_vae(encoder):
    """z is drawn from the last posterior, which the reconstruction trains as ever."""
    (vae, found), (other, plain) = (trained(encoder, s, BetaVAE(beta=0)) for s in (TWRVAE(), Amortized()))
    torch.testing.assert_close(found.loss, plain.loss)
    torch.testing.assert_close(tiny.gradients(vae), tiny.gradients(other))


def test_every_step_passes_the_encoder_once_and_other_terms_stay():
    methods = (TWRVAE(), KLAnnealing(start=0.5), WordDropout(), Skip(), ContrastiveCritic(weight=1))
    state, found = harness_steps("lstm", methods)
    assert state.meter.counters()["encoder_evaluations"] == 4 * len(found)
    assert all(terms.loss.isfinite() for terms in found)
    (ours, _), (plain, _) = harness_steps("lstm", (TWRVAE(),)), harness_steps("lstm", ())
    further = 4 * (tiny.examples("lstm").shape[1] - 1)
    maps = 2 * ours.vae.encoder.width * ours.vae.prior.latent_dim  # to mean and log-variance
    assert ours.meter.counters()["flops"] - plain.meter.counters()["flops"] == len(found) * further * 6 * maps


@pytest.mark.parametrize(("encoder", "has"), [("lstm", True), ("gru", True), ("transformer", False)])
def test_an_encoder_without_states_is_one_line_before_anything_runs(encoder, has):
    settings = (f"encoder={encoder}",)
    if has:
        assert len(toys.planned("twr", settings=settings).specs) == 2
        return
    line = "method 'twr' needs the states of a recurrent encoder, but encoder 'transformer' has none"
    with pytest.raises(UsageError, match=line):
        toys.planned("twr", settings=settings)


def test_a_model_without_encoder_has_no_states():
    with pytest.raises(PluginError, match="there is no encoder, so that there are no states"):
        tiny.vae("lstm", [NoLatent()]).encode_states(tiny.examples("lstm"))


@pytest.mark.parametrize(("other", "hook"), [(FreeBits(), "kl_penalty"), (BNVAE(), "posterior_head")])
def test_what_has_no_meaning_beside_it_is_one_line(other, hook):
    line = f"method '{other.name}' gives {hook}, which has no meaning beside 'twr': they cannot be combined"
    for methods in ((TWRVAE(), other), (other, TWRVAE())):
        with pytest.raises(UsageError, match=line):
            compose(methods)
