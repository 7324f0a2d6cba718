"""Synthetic text against brute force: every document of a tiny language, integrated by another rule."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from collapsebench.data import synthetic
from collapsebench.data.generated import SyntheticText
from collapsebench.data.text import BOS, EOS
from collapsebench.errors import CollapsebenchError

V, T = 3, 3
EVERY = np.array(list(product(range(V), repeat=T)))
NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def model():
    return synthetic.language_model(V, a=1.5, b=1.0, seed=3)


def probability(model, document, z):
    """p(x|z) word by word, as the definition has it."""
    p, previous = 1.0, model.start
    for word in document:
        weights = np.exp(model.transitions[previous] + model.directions @ z)
        p, previous = p * weights[word] / weights.sum(), word
    return p


def hermite(points=80):
    """Points and weights for expectations under N(0, I_2): a rule that the product does not use."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    return np.stack(np.meshgrid(x, x), -1).reshape(-1, 2), np.outer(w, w).ravel() / w.sum() ** 2


def test_the_likelihood_is_the_definition(model):
    z = np.random.default_rng(0).normal(size=(len(EVERY), 2))
    expected = [np.log(probability(model, document, each)) for document, each in zip(EVERY, z, strict=True)]
    on_grid = model._on_grid(EVERY, z, model._log_normalizers(z))
    assert on_grid.diagonal() == pytest.approx(expected, rel=1e-12)


def test_the_evidence_is_the_integral_and_sums_to_one(model):
    z, weights = hermite()
    expected = [weights @ [probability(model, document, each) for each in z] for document in EVERY[::9]]
    log_p = synthetic.exact_integrals(model, EVERY).log_evidence
    assert np.exp(log_p[::9]) == pytest.approx(expected, rel=1e-9)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12)


def test_the_coarsest_grid_is_good_to_three_digits(model):
    assert model.integrate(EVERY).log_evidence == pytest.approx(
        synthetic.exact_integrals(model, EVERY).log_evidence, abs=1e-3
    )


def test_the_posterior_has_the_moments_of_bayes(model):
    z, weights = hermite()
    found = synthetic.exact_integrals(model, EVERY[4:7])
    for i, document in enumerate(EVERY[4:7]):
        posterior = weights * [probability(model, document, each) for each in z]
        posterior /= posterior.sum()
        assert found.mean[i] == pytest.approx(posterior @ z, abs=1e-9)
        assert found.variance[i] == pytest.approx(posterior @ z**2 - (posterior @ z) ** 2, abs=1e-9)
        assert found.information[i] == pytest.approx(posterior @ np.log(posterior / weights), abs=1e-9)


@pytest.mark.parametrize("b", [0.3, 5.0])
def test_every_document_is_refined_until_it_settles(b, monkeypatch):
    """The result is within the tolerance of a grid far finer and wider, and documents that settle early stay there."""
    model = synthetic.language_model(20, a=1.0, b=b, seed=1)
    words = model.sample(12, 8, np.random.RandomState(2)).words
    sizes, integrate = [], synthetic.LanguageModel.integrate
    with monkeypatch.context() as patch:
        patch.setattr(
            synthetic.LanguageModel,
            "integrate",
            lambda self, words, *grid: (sizes.append(len(words)), integrate(self, words, *grid))[1],
        )
        found = synthetic.exact_integrals(model, words)
    reference = model.integrate(words, 701, 10.7)
    assert found.log_evidence == pytest.approx(reference.log_evidence, abs=synthetic.TOLERANCE)
    assert found.information == pytest.approx(reference.information, abs=synthetic.TOLERANCE)
    assert sizes[:2] == [12, 12]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 2 or b < 1


def test_grids_are_cut_into_pieces_without_a_trace(model, monkeypatch):
    whole = model.integrate(EVERY, 61, 4.5)
    monkeypatch.setattr(synthetic, "CHUNK", 100)
    monkeypatch.setattr(synthetic, "BLOCK", 4)
    for part, expected in zip(model.integrate(EVERY, 61, 4.5), whole, strict=True):
        assert part == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_entropy_and_information_are_those_of_all_documents(model):
    log_p = synthetic.exact_integrals(model, EVERY).log_evidence
    entropy = -(np.exp(log_p) * log_p).sum()
    z, weights = hermite(40)
    conditional = np.array([[probability(model, document, each) for document in EVERY] for each in z])
    information = entropy + weights @ (conditional * np.log(conditional)).sum(-1)
    truth = synthetic.exact_entropy(model, model.sample(2000, T, np.random.RandomState(0)).words)
    assert abs(truth.entropy - entropy) < 4 * truth.entropy_error
    assert abs(truth.mutual_information - information) < 4 * truth.mutual_information_error
    assert max(truth.entropy_error, truth.mutual_information_error) < 0.03


def test_documents_are_drawn_from_the_model(model):
    words = model.sample(20_000, T, np.random.RandomState(1)).words
    counts = np.bincount(words @ V ** np.arange(T)[::-1], minlength=V**T)
    p = np.exp(synthetic.exact_integrals(model, EVERY).log_evidence)
    assert np.abs((counts - 20_000 * p) / np.sqrt(20_000 * p * (1 - p))).max() < 4.5


def test_a_grid_that_is_too_coarse_is_an_error():
    sharp = synthetic.language_model(V, a=1.0, b=1000.0, seed=0)
    with pytest.raises(CollapsebenchError, match="does not settle on 1281 points an axis"):
        synthetic.exact_integrals(sharp, EVERY[:2])


def test_the_dataset_emits_ids_from_bos_to_eos():
    splits = SyntheticText(vocabulary=5, length=4, train=30, valid=10, test=20).load(NOWHERE)
    assert splits.spec.vocabulary == 9
    assert [len(split) for split in (splits.train, splits.valid, splits.test)] == [30, 10, 20]
    (batch,) = splits.valid.batches(10)
    assert batch.x.shape == (10, 6)
    assert (batch.x[:, 0] == BOS).all()
    assert (batch.x[:, -1] == EOS).all()
    assert ((batch.x[:, 1:-1] >= 4) & (batch.x[:, 1:-1] < 9)).all()
    assert (splits.test.predictions == 5).all()


def test_splits_differ_and_do_not_depend_on_each_other_s_size():
    small, large = (SyntheticText(train=n, valid=50, test=50).load(NOWHERE).hashes() for n in (50, 60))
    assert len(set(small.values())) == 3
    assert small["train"] != large["train"]
    assert (small["valid"], small["test"]) == (large["valid"], large["test"])
    other = SyntheticText(train=50, valid=50, test=50, seed=1).load(NOWHERE).hashes()
    assert not set(other.values()) & set(small.values())


def test_the_truth_is_cached_and_bounded():
    data = SyntheticText(vocabulary=10, length=5, train=5, valid=5, test=100)
    first, second = data.truth(), data.truth()
    assert first == second
    entropy, information = first["entropy"], first["mutual-information"]
    assert 0 < information.value < entropy.value < 5 * np.log(10)
    assert entropy.standard_error > 0
