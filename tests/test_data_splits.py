"""Splits: what their batches hold, in which order, and what their hash covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.data.splits import BinaryImages, GreyImages, TextSplit, Vectors, ink

LENGTHS = st.lists(st.integers(3, 9), min_size=1, max_size=40)
SIZES = st.integers(1, 12)
SEEDS = st.integers(0, 2**63 - 1)


def text(lengths):
    return TextSplit(np.arange(sum(lengths), dtype=np.int32), np.array(lengths, np.int32))


def images(kind, size=7):
    rng = np.random.default_rng(0)
    top = 2 if kind is BinaryImages else 256
    return kind(rng.integers(0, top, (size, 4, 4)).astype(np.uint8), np.arange(size))


SPLITS = [
    text([5, 3, 5, 4, 3, 5, 3]),
    images(BinaryImages),
    images(GreyImages),
    Vectors(np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)),
]


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: type(split).__name__)
@pytest.mark.parametrize("seed", [None, 0, 2**63 - 1])
def test_one_pass_shows_every_example_once(split, seed):
    batches = list(split.batches(3, seed))
    assert sorted(np.concatenate([batch.index for batch in batches]).tolist()) == list(range(len(split)))
    assert all(0 < len(batch) <= 3 and len(batch.x) == len(batch) for batch in batches)
    assert all(batch.index.dtype == np.int64 for batch in batches)


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: type(split).__name__)
def test_a_seed_decides_a_pass_and_no_seed_fixes_it(split):
    def run(seed):
        return [(batch.x, batch.index) for batch in split.batches(2, seed)]

    np.testing.assert_equal(run(5), run(5))
    np.testing.assert_equal(run(None), run(None))
    with pytest.raises(AssertionError):
        np.testing.assert_equal(run(5), run(6))


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: type(split).__name__)
def test_batches_are_writable_copies_and_the_split_is_not(split):
    before = split.sha256()
    for batch in split.batches(4):
        batch.x[:] = 0
    assert type(split)(*split.arrays()).sha256() == before
    for array in split.arrays():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@given(LENGTHS, SIZES, SEEDS)
def test_text_batches_hold_whole_documents_of_one_length(lengths, batch_size, seed):
    split = text(lengths)
    starts = np.cumsum([0, *lengths])
    for batch in split.batches(batch_size, seed):
        assert batch.x.dtype == np.int64
        for row, i in zip(batch.x, batch.index, strict=True):
            assert row.tolist() == list(range(starts[i], starts[i + 1]))


@given(LENGTHS, SIZES, SEEDS)
def test_a_seed_permutes_text_batches_and_keeps_their_composition(lengths, batch_size, seed):
    split = text(lengths)
    fixed = [batch.index.tolist() for batch in split.batches(batch_size)]
    assert sorted(fixed) == sorted(batch.index.tolist() for batch in split.batches(batch_size, seed))
    order = [i for batch in fixed for i in batch]
    assert order == sorted(range(len(split)), key=lambda i: lengths[i])
    assert [len(batch) for batch in fixed] == np.diff(split.bounds(batch_size)).tolist()


def test_predictions_count_eos_and_not_bos():
    assert text([3, 5]).predictions.tolist() == [2, 4]
    assert images(BinaryImages, 2).predictions.tolist() == [16, 16]
    assert Vectors(np.zeros((2, 3), np.float32)).predictions.tolist() == [3, 3]


def test_labels_are_kept():
    assert images(GreyImages).labels.tolist() == list(range(7))
    assert text([3]).labels is None
    assert BinaryImages(np.zeros((1, 2, 2), np.uint8)).labels is None


def test_image_batches_have_one_channel_of_zeros_and_ones():
    for split in (images(BinaryImages), images(GreyImages)):
        for batch in split.batches(3, 1):
            assert batch.x.dtype == np.float32
            assert batch.x.shape[1:] == (1, 4, 4)
            assert set(np.unique(batch.x)) <= {0, 1}
    static = images(BinaryImages)
    assert all((batch.x[:, 0] == static.pixels[batch.index]).all() for batch in static.batches(3, 9))


def test_grey_images_are_binarized_anew_with_the_probability_of_their_grey():
    grey = np.tile(np.arange(0, 256, 15, dtype=np.uint8), (500, 1)).reshape(500, 1, -1)
    split = GreyImages(grey)
    passes = [np.concatenate([batch.x for batch in split.batches(500, seed)]) for seed in range(8)]
    assert (passes[0] != passes[1]).any()
    draws = np.concatenate(passes)[:, 0, 0]
    p = grey[0, 0] / 255
    assert (draws[:, 0] == 0).all()
    assert (draws[:, -1] == 1).all()
    z = (draws.mean(0) - p)[1:-1] / np.sqrt(p * (1 - p) / len(draws))[1:-1]
    assert np.abs(z).max() < 4.5


def test_ink_reads_bytes_and_fractions_alike():
    assert ink(np.array([0, 51, 255], np.uint8)) == pytest.approx([0, 0.2, 1])
    assert ink(np.array([0, 0.2, 1], np.float32)) == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: type(split).__name__)
def test_the_hash_covers_every_array(split):
    arrays = list(split.arrays())
    for i, array in enumerate(arrays):
        changed = array.copy()
        changed.flat[-1] += 1
        other = [changed if j == i else same for j, same in enumerate(arrays)]
        assert type(split)(*other).sha256() != split.sha256()
    assert type(split)(*(array.copy() for array in arrays)).sha256() == split.sha256()
