"""Runs on images of several levels and on counts, of a plugin's own datasets, from the data to the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import collapsebench
from collapsebench import CountSpec, Dataset, LevelImageSpec, Splits, Vectors
from collapsebench.record import Outcome

LEVELS, SIDE, WORDS = 5, 6, 8


class LevelImages(Vectors):
    """Images as vectors that are folded: (N, C·H·W) -> (B, C, H, W)."""

    def batches(self, batch_size, seed=None):
        for batch in super().batches(batch_size, seed):
            yield collapsebench.Batch(batch.x.reshape(-1, 3, SIDE, SIDE), batch.index)


class Stripes(Dataset):
    """Colour images, one level a channel, with a pixel in ten of another level."""

    name: ClassVar[str] = "stripes"

    def load(self, folder):
        rng = np.random.default_rng(0)

        def split(number):
            levels = np.repeat(rng.integers(LEVELS, size=(number, 3, 1)), SIDE * SIDE, axis=2)
            noisy = np.where(rng.random(levels.shape) < 0.1, rng.integers(LEVELS, size=levels.shape), levels)
            return LevelImages((noisy / (LEVELS - 1)).reshape(number, -1).astype(np.float32))

        return Splits(LevelImageSpec((3, SIDE, SIDE), LEVELS), split(256), split(64), split(64))


class Counts(Dataset):
    """Counts whose means are three or thirty, for all words of a document together."""

    name: ClassVar[str] = "two-means"

    def load(self, folder):
        rng = np.random.default_rng(0)

        def split(number):
            means = rng.choice([3.0, 30.0], size=(number, 1)) * np.ones(WORDS)
            return Vectors(rng.poisson(rng.gamma(5.0, means / 5.0)).astype(np.float32))

        return Splits(CountSpec(WORDS), split(256), split(64), split(64))


TRACK = """
[card]
title = "Of a test"
description = "Drawn."
kind = "{kind}"
licence = "none"
comparability = "with nothing"

[tracks.quick]
description = "seconds"
budget = "{budget}"
latent_dim = 3
batch_size = 32
encoder = {{ name = "mlp", hidden = 32 }}
decoder = {decoder}
optimizer = {{ name = "adam", learning_rate = 5e-3 }}
evaluation = {{ every = "50steps", metrics = {{ neg-elbo = {{}}, iw-nll = {{ samples = 20 }}, kl = {{}} }} }}
"""


def run(dataset, kind, decoder, tmp_path, *methods, budget="100steps"):
    """The metrics of the contenders, on a track with this decoder."""
    file = tmp_path / "facts.toml"
    file.write_text(TRACK.format(kind=kind, decoder=decoder, budget=budget))

    class Placed(dataset):
        name: ClassVar[str] = dataset.name
        facts: ClassVar[Path] = file

    runs = collapsebench.run(list(methods), dataset=Placed(), store=tmp_path / "runs.sqlite", progress=False, threads=1)
    assert [each.outcome for each in runs] == [Outcome.FINISHED] * len(runs), [each.record.message for each in runs]
    return {each.contender: each.values for each in runs}


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["discretized-logistic", "gaussian"])
def test_colour_images_of_several_levels_are_learned(likelihood, tmp_path):
    """Both know which stripes there are. A model without z needs log 5 nats for most pixels."""
    decoder = f'{{ name = "conv", channels = [8, 8], likelihood = "{likelihood}" }}'
    found = run(Stripes, "images", decoder, tmp_path, "skip", "no-latent")
    for contender in ("vae", "skip"):
        assert found[contender]["iw_nll"] < found["no-latent"]["iw_nll"] - 20
        assert found[contender]["kl"] > 1


@pytest.mark.slow
def test_counts_are_learned(tmp_path):
    found = run(Counts, "vectors", '{ name = "negative-binomial", hidden = 32 }', tmp_path, "skip", "no-latent")
    for contender in ("vae", "skip"):
        assert found[contender]["iw_nll"] < found["no-latent"]["iw_nll"] - 1
