"""Methods on text, against the numbers of released programs."""

from __future__ import annotations

import torch
from golden.vectors import assert_equal

from collapsebench_plugins.bow import bag_loss
from collapsebench_plugins.word_dropout import WordDropout
from golden_zoo.zoo import load


def test_the_bag_of_words_of_neural_dialog_cvae():
    case = load("bow_word_dropout")
    logits = case["in/bow_logits"].requires_grad_()
    loss = bag_loss(logits, case["in/x"][:, 1:])
    loss.mean().backward()
    found = {"bow_loss": loss, "avg_bow_loss": loss.mean(), "grad_bow_logits": logits.grad}
    assert_equal(found, case.group("out/cvae/"))


class Given:
    """The uniform numbers of a file, as far as they are asked for."""

    def __init__(self, uniform):
        self.given = uniform

    def uniform(self, shape, like):
        return self.given[:, : shape[1]]


def test_the_words_that_sentence_vae_reads():
    case = load("bow_word_dropout")
    method = WordDropout(rate=case.meta["rate"])
    found = method.corrupt_decoder_input(case["in/x"], Given(case["in/uniform"]))
    assert torch.equal(found[:, :-1], case["out/word_dropout/sentence_vae"])
