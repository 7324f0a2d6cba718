"""Probes of codes whose classes have a known error, and what a probe is trained on."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from collapsebench.data.splits import BinaryImages, GreyImages
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.classification import logistic_regression, multilayer_perceptron
from collapsebench.metrics.evaluation import EvaluatedSplit, LabelledCodes, Provenance
from collapsebench.metrics.mlp_probe import MLPProbe
from collapsebench.metrics.probe import Probe
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks

CPU = torch.device("cpu")
SIDE = 3
PROBES = [Probe(), MLPProbe(epochs=8)]
CLASSIFIERS = [logistic_regression, partial(multilayer_perceptron, epochs=3, seed=1)]


class Head(nn.Module):
    """q(z|x) = N(x A, 1) of flattened images."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mean = x.flatten(1) @ self.matrix
        return DiagonalGaussian(mean, torch.zeros_like(mean))


def images(n, seed, classes=2):
    """Binary images whose class is written in the first pixels, in binary; more than half are of class 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n) * rng.integers(0, 2, n)
    pixels = rng.integers(0, 2, (n, SIDE, SIDE)).astype(np.uint8)
    for bit in range(3):
        pixels[:, 0, bit] = labels >> bit & 1
    return BinaryImages(pixels, labels)


def linear_vae(matrix):
    networks = Networks(nn.Identity(), Head(matrix), nn.Linear(1, 1))
    return VAE(networks, StandardNormal(matrix.shape[1]))


def evaluated(matrix, test, train, *, untrained=None, seed=1):
    start = torch.zeros_like(matrix) if untrained is None else untrained
    provenance = Provenance(train, seed, lambda: linear_vae(start))
    return EvaluatedSplit(linear_vae(matrix), Amortized(), test, SeededNoise(0), 50, CPU, provenance)


def gaussians(n, distance, seed):
    """Two classes N(±distance, 1) along the first of three axes: the best accuracy is Φ(distance)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (n,), generator=generator)
    mean = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    mean[:, 0] += distance * (2 * labels - 1)
    return LabelledCodes(mean, labels)


@pytest.mark.parametrize("classify", CLASSIFIERS, ids=["logistic", "mlp"])
def test_two_gaussians_are_told_apart_as_well_as_they_can_be(classify):
    train, test = gaussians(2000, 1.0, seed=1), gaussians(4000, 1.0, seed=2)
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    accuracy = float((classify(train, test.mean) == test.labels).double().mean())
    assert accuracy == pytest.approx(best, abs=4 * math.sqrt(best * (1 - best) / 4000))


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_labels_that_have_nothing_to_do_with_x_are_found_by_chance(probe):
    rng = np.random.default_rng(5)
    train, test = (BinaryImages(images(n, n).pixels, rng.integers(0, 4, n)) for n in (300, 2000))
    split = evaluated(torch.eye(SIDE**2), test, train, untrained=torch.randn(SIDE**2, 4))
    for value, error in probe.evaluate(split).values():
        assert value == pytest.approx(25, abs=4 * error)
        assert error == pytest.approx(100 * math.sqrt(0.25 * 0.75 / 2000), rel=0.05)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_codes_that_hold_the_label_give_it_and_constant_codes_the_most_frequent_one(probe):
    train, test = images(400, 1, classes=5), images(300, 2, classes=5)
    own, untrained = probe.evaluate(evaluated(torch.eye(SIDE**2), test, train)).values()
    assert own == (100.0, 0.0)
    most = int(np.bincount(train.labels).argmax())
    assert untrained.value == pytest.approx(100 * float((test.labels == most).mean()))


@pytest.mark.slow
@given(st.lists(st.integers(-50, 50), min_size=3, max_size=3, unique=True), st.integers(0, 1000))
@settings(max_examples=5)
def test_classes_may_have_any_numbers(names, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(60) % 3
    mean = torch.randn(60, 2, generator=generator, dtype=torch.float64) + labels[:, None]
    numbers = torch.tensor(sorted(names))
    for classify in CLASSIFIERS:
        assert torch.equal(
            classify(LabelledCodes(mean, numbers[labels]), mean), numbers[classify(LabelledCodes(mean, labels), mean)]
        )


def test_an_mlp_depends_on_its_seed_alone():
    train, test = gaussians(300, 0.3, seed=1), gaussians(1000, 0.3, seed=2)
    before = torch.get_rng_state()
    first, again, other = (multilayer_perceptron(train, test.mean, epochs=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_code_that_is_no_number_has_no_accuracy(probe):
    split = evaluated(torch.full((SIDE**2, 2), math.nan), images(30, 1), images(60, 2))
    own, untrained = probe.evaluate(split).values()
    assert math.isnan(own.value)
    assert math.isnan(own.standard_error)
    assert untrained.value > 0


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_probes_say_why_there_is_nothing_to_learn(probe):
    def reason(matrix, test, train):
        """The one reason of both columns."""
        found = probe.evaluate(evaluated(matrix, test, train))
        assert found.keys() == {column.name for column in probe.columns}
        (declined,) = set(found.values())
        return declined.reason

    matrix, data = torch.eye(SIDE**2), images(40, 1)
    unlabelled = BinaryImages(data.pixels)
    one_class = BinaryImages(data.pixels, np.zeros(40, dtype=np.int64))
    few = BinaryImages(images(8, 1).pixels, np.arange(8) // 2)
    without_units = torch.zeros(SIDE**2, 0)
    assert reason(matrix, unlabelled, data) == "no labels"
    assert reason(matrix, data, unlabelled) == "no labels"
    assert reason(matrix, data, one_class) == "one class alone"
    assert reason(matrix, data, few) == "no class has 5 training examples"
    assert reason(without_units, data, data) == "no latent units"
    assert probe.evaluate(EvaluatedSplit(linear_vae(matrix), Amortized(), data, SeededNoise(0), 50, CPU)) == {}


@pytest.mark.parametrize("examples", [1, 50, 51, 120, 500])
def test_training_codes_are_the_first_of_a_seeded_order(examples):
    train = images(120, 1)
    codes = evaluated(torch.eye(SIDE**2), images(10, 2), train, seed=7).training_codes(examples)
    order = np.concatenate([batch.index for batch in train.batches(50, 7)])[:examples]
    assert len(codes.mean) == min(examples, 120)
    assert torch.equal(codes.labels, torch.tensor(train.labels[order]))
    assert torch.equal(codes.mean, torch.tensor(train.pixels[order].reshape(-1, SIDE**2)).double())


def test_training_codes_of_grey_images_are_binarized_in_that_pass():
    grey = GreyImages(np.full((80, SIDE, SIDE), 0.5, dtype=np.float32), np.arange(80) % 2)
    codes = evaluated(torch.eye(SIDE**2), images(10, 2), grey, seed=3).training_codes(80)
    drawn = np.concatenate([batch.x for batch in grey.batches(50, 3)])
    assert torch.equal(codes.mean, torch.tensor(drawn).flatten(1).double())


def test_evaluation_leaves_the_model_as_it_was():
    split = evaluated(torch.eye(SIDE**2), images(30, 1), images(60, 2))
    split.vae.train()
    Probe().evaluate(split)
    assert split.vae.training
    assert split.vae.posterior.matrix.grad is None
