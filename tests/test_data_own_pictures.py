"""A user's own pictures: three numpy files, a class of four lines, and a facts file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from collapsebench.data import Images
from collapsebench.data.splits import BinaryImages, GreyImages
from collapsebench.errors import DataError

RNG = np.random.default_rng(0)
NUMBERS = {"train": 6, "valid": 3, "test": 4}
BYTES = {split: RNG.integers(0, 256, (number, 4, 5)).astype(np.uint8) for split, number in NUMBERS.items()}
LABELS = {split: RNG.integers(0, 3, number) for split, number in NUMBERS.items()}


class Mine(Images):
    """My pictures."""

    name: ClassVar[str] = "mine"
    stem: ClassVar[str] = "mine"


class Labelled(Mine):
    """My pictures, each with a class."""

    labelled: ClassVar[bool] = True


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def files(pixels=BYTES, labels=None):
    found = {f"mine.{split}.npy": npy(array) for split, array in pixels.items()}
    return found | {f"mine.{split}.labels.npy": npy(array) for split, array in (labels or {}).items()}


def test_bytes_are_binarized_anew_in_every_pass_of_training_and_once_elsewhere():
    splits = Mine().parse(files())
    assert splits.spec.shape == (1, 4, 5)
    assert isinstance(splits.train, GreyImages)
    assert (splits.train.pixels == BYTES["train"]).all()
    assert [len(split) for split in (splits.train, splits.valid, splits.test)] == [6, 3, 4]
    assert splits.valid.labels is None


def test_static_bits_follow_from_the_seed():
    first, same, other = (
        Mine(binarization="static", binarization_seed=seed).parse(files()).hashes() for seed in (0, 0, 1)
    )
    assert first == same
    assert first["train"] != other["train"]


@pytest.mark.parametrize("scale", [1, 255])
def test_a_threshold_of_one_half_needs_no_seed(scale):
    grey = {split: array if scale == 255 else array / 255 for split, array in BYTES.items()}
    splits = Mine(binarization="threshold").parse(files(grey))
    assert isinstance(splits.train, BinaryImages)
    assert (splits.train.pixels == (BYTES["train"] > 127.5)).all()


def test_labels_are_read_where_the_class_says_so():
    splits = Labelled().parse(files(labels=LABELS))
    assert (splits.test.labels == LABELS["test"]).all()
    assert (splits.train.labels == LABELS["train"]).all()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"mine.valid.npy": b"PNG"}, "'mine.valid.npy' is not a numpy array"),
        ({"mine.valid.npy": npy(np.array([{}], dtype=object))}, "'mine.valid.npy' is not a numpy array"),
        ({"mine.valid.npy": npy(np.zeros((3, 5, 4)))}, r"'mine.valid.npy' should hold pictures \(N, H, W\)"),
        ({"mine.train.npy": npy(np.zeros(3))}, "'mine.train.npy' should hold pictures"),
        ({"mine.test.npy": npy(np.zeros((0, 4, 5)))}, "'mine.test.npy' should hold pictures"),
        ({"mine.test.npy": npy(np.full((2, 4, 5), 7.0))}, "numbers from 0 to 1, got float64 from 7.0 to 7.0"),
        ({"mine.test.npy": npy(np.full((2, 4, 5), np.nan))}, "numbers from 0 to 1"),
        ({"mine.test.npy": npy(np.full((2, 4, 5), 200))}, "numbers from 0 to 1, got int64"),
        ({"mine.test.labels.npy": npy(np.zeros(3, int))}, "'mine.test.npy' has 4 pictures and needs as many whole"),
        ({"mine.test.labels.npy": npy(np.zeros(4))}, "whole numbers as labels, got float64"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(changed, complaint):
    with pytest.raises(DataError, match=complaint) as caught:
        Labelled().parse(files(labels=LABELS) | changed)
    assert "\n" not in str(caught.value)


PLUGIN = """
from pathlib import Path
from typing import ClassVar
from collapsebench import Images, hookimpl

class Mine(Images):
    "My pictures."
    name: ClassVar[str] = "mine"
    stem: ClassVar[str] = "mine"
    facts: ClassVar[Path | None] = Path(__file__).with_name("mine.toml")

@hookimpl
def collapsebench_components():
    return [Mine]
"""
FACTS = """
files = [{ name = "mine.train.npy" }, { name = "mine.valid.npy" }, { name = "mine.test.npy" }]

[card]
title = "My pictures"
kind = "images"
description = "mine"
licence = "own"
comparability = "none"
source = "own"

[tracks.quick]
description = "tiny"
budget = "4steps"
latent_dim = 2
batch_size = 3
encoder = { name = "mlp", hidden = 4 }
decoder = { name = "mlp", hidden = 4 }
optimizer = { name = "adam", learning_rate = 1e-3 }
evaluation = { every = "2steps", metrics = { neg-elbo = {}, kl = {} } }
"""


@pytest.mark.torch
def test_a_plugin_of_own_pictures_runs_end_to_end(command, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "mine.toml").write_text(FACTS)
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    answer = command("run", "--plugin", "mine.py", "--dataset", "mine", "--data-dir", Path())
    assert answer.code == 0
    assert "finished" in answer.out
