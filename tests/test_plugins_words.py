"""Bag of words and word dropout, and the two hooks that they need."""

from __future__ import annotations

from typing import ClassVar

import pytest
import tiny
import torch
from pydantic import PrivateAttr
from test_plugins_objective import alike
from torch import nn

from collapsebench import Method, hookimpl
from collapsebench.components.composition import compose
from collapsebench.errors import PluginError
from collapsebench.experiment.assembly import objective_at
from collapsebench.experiment.keeping import model_state
from collapsebench.experiment.training import make_optimizer
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench.spec import Optimizer
from collapsebench_plugins.bow import BagOfWords, bag_loss
from collapsebench_plugins.sa_vae import SAVAE
from collapsebench_plugins.skip import Skip
from collapsebench_plugins.word_dropout import UNKNOWN, WordDropout


def terms(family, *methods, seed=0):
    """A model of these methods, and the terms of its objective on a batch."""
    vae, x = tiny.vae(family, methods), tiny.examples(family)
    objective = objective_at(compose(methods), Progress(0.0, 0), SeededNoise(seed))
    return vae, objective(vae, x, vae.encode(x)).backward()


@pytest.mark.slow
@pytest.mark.parametrize("others", [(), (SAVAE(steps=2), Skip())], ids=["alone", "sa-vae+skip"])
@pytest.mark.parametrize("method", [BagOfWords(weight=0), WordDropout(rate=0)], ids=lambda method: method.name)
def test_a_neutral_setting_is_the_plain_vae_to_the_bit(method, others):
    alike("lstm", (method, *others), others)


def test_the_extra_loss_is_the_bag_of_the_words_behind_bos():
    plain, bag = terms("lstm")[1], terms("lstm", BagOfWords(weight=2))
    vae, found = bag
    x = tiny.examples("lstm")
    z = vae.encode(x).sample(SeededNoise(0).child("z").normal((1, 3, 2), torch.zeros(1).double()))[0]
    wanted = bag_loss(vae.auxiliary["bow"](z), x[:, 1:]).mean()
    assert float(found.loss - plain.loss) == pytest.approx(float(2 * wanted.detach()))
    assert all(parameter.grad.any() for parameter in vae.auxiliary.parameters())


def test_the_best_bag_of_words_is_the_entropy_of_the_words():
    counts = torch.tensor([[1, 2, 3, 3, 3, 0, 0]])
    logits = torch.tensor([[-50.0, 0.2, 0.2, 0.6]]).double()
    logits[0, 1:] = logits[0, 1:].log()
    entropy = -sum(share * torch.tensor(share).double().log() for share in (0.2, 0.2, 0.6))
    assert float(bag_loss(logits, counts)) == pytest.approx(5 * float(entropy))


def test_the_perceptron_is_trained_counted_and_kept_and_starts_by_itself():
    plain, vae = tiny.vae("lstm"), tiny.vae("lstm", [BagOfWords(hidden=5)])
    own = dict(vae.auxiliary.named_parameters(prefix="auxiliary"))
    assert sum(parameter.numel() for parameter in own.values()) == (2 + 1) * 5 + (5 + 1) * 7
    assert own.keys() <= model_state(vae).keys()
    optimizer = make_optimizer(Optimizer(name="adam", learning_rate=0.1), vae)
    assert {id(parameter) for parameter in own.values()} <= {id(parameter) for parameter in optimizer.parameters}
    shared = dict(plain.named_parameters())
    assert shared.keys() | own.keys() == dict(vae.named_parameters()).keys()
    assert all(torch.equal(parameter, vae.get_parameter(name)) for name, parameter in shared.items())
    again, other = tiny.vae("lstm", [Skip(), BagOfWords(hidden=5)]), tiny.vae("lstm", [BagOfWords(hidden=5)], seed=2)
    assert all(torch.equal(parameter, again.get_parameter(name)) for name, parameter in own.items())
    assert not torch.equal(own["auxiliary.bow.0.weight"], other.get_parameter("auxiliary.bow.0.weight"))


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_words_are_dropped_at_the_rate_but_never_bos_and_padding(rate):
    x = torch.randint(3, 9, (50, 40), generator=torch.Generator().manual_seed(0))
    x[:, 0], x[::2, -5:] = 2, 0
    read = WordDropout(rate=rate).corrupt_decoder_input(x, SeededNoise(1))
    kept = (x == 2) | (x == 0)
    assert torch.equal(read[kept], x[kept])
    dropped = (read != x)[~kept]
    assert (read[read != x] == UNKNOWN).all()
    assert float(dropped.double().mean()) == pytest.approx(rate, abs=0.05)


def test_the_decoder_reads_the_corrupted_words_and_scores_the_true_ones():
    vae, found = terms("lstm", WordDropout(rate=1))
    x = tiny.examples("lstm")
    z = vae.encode(x).sample(SeededNoise(0).child("z").normal((1, 3, 2), torch.zeros(1).double()))
    unknown = x.masked_fill((x != 0) & (x != 2), UNKNOWN)
    logits = vae.decoder.logits(unknown[:, :-1], z, SeededNoise(0).child("dropout"))[0]
    wanted = -logits.log_softmax(-1).gather(-1, x[:, 1:, None])[..., 0].sum(1)
    assert found.reconstruction.tolist() == pytest.approx(wanted.tolist())
    plain = terms("lstm")[1]
    assert not torch.equal(found.reconstruction, plain.reconstruction)


class Flip(Method):
    """The decoder reads zeros for ones."""

    name: ClassVar[str] = "flip"
    _seen: list = PrivateAttr(default_factory=list)

    @hookimpl
    def corrupt_decoder_input(self, x):
        self._seen.append(x)
        return 1 - x


class Dark(Method):
    """The decoder reads zeros."""

    name: ClassVar[str] = "dark"
    _give: object = PrivateAttr(None)

    @hookimpl
    def corrupt_decoder_input(self, x):
        return torch.zeros_like(x) if self._give is None else self._give


def test_corruptions_are_applied_in_the_order_written_in_training_alone():
    flip, x = Flip(), tiny.examples("pixelcnn")
    ones = terms("pixelcnn", Dark(), flip)[1].reconstruction
    vae = tiny.vae("pixelcnn")
    z = vae.encode(x).sample(SeededNoise(0).child("z").normal((1, 3, 2), torch.zeros(1).double()))
    assert torch.equal(-vae.log_likelihood(x, z, None, torch.ones_like(x))[0].detach(), ones)
    assert not flip._seen[0].any()
    assert not torch.equal(terms("pixelcnn", flip, Dark())[1].reconstruction, ones)


@pytest.mark.parametrize("give", [torch.zeros(3, 1, 4), torch.zeros(3, 1, 4, 4), 3])
def test_a_corruption_that_is_no_example_is_one_line(give):
    dark = Dark()
    dark._give = give
    with pytest.raises(
        PluginError,
        match=r"corrupt_decoder_input of method .*, expected a tensor of shape \(3, 1, 4, 4\) of torch.float64",
    ):
        terms("pixelcnn", dark)


class Wrong(Method):
    """Gives no module."""

    name: ClassVar[str] = "wrong"

    @hookimpl
    def auxiliary_module(self):
        return 3


def test_what_is_no_module_is_one_line():
    with pytest.raises(
        PluginError, match=r"^test_plugins_words.py:\d+, auxiliary_module of method .*: returned 3, expected a module$"
    ):
        tiny.vae("mlp", [Wrong()])


class Critic(Method):
    """A second method with a module."""

    name: ClassVar[str] = "critic"

    @hookimpl
    def auxiliary_module(self, latent_dim):
        return nn.Linear(latent_dim, 1)


def test_every_method_may_have_a_module():
    assert set(tiny.vae("lstm", [Critic(), BagOfWords()]).auxiliary) == {"critic", "bow"}
