"""Text preprocessing of Kim et al. 2018: vocabulary, sorting, batches, the frequency limit and the shuffle."""

from __future__ import annotations

import re

import numpy as np
import pytest

from collapsebench.data.text import Preprocessing, documents, preprocess, read_lines, shuffles, vocabulary
from golden.vectors import CASES, FOLDER, load

SPLITS = {"train": "train", "val": "valid", "test": "test"}
"""Their names, and ours."""
(NAME,) = CASES["preprocess"]
VARIANTS = ("", "minfreq1/", "shuffled/")
"""The base run, a frequency limit instead of a size limit, and documents shuffled first."""


def lines(case):
    return {ours: case.arrays[f"in/{theirs}_lines"].tolist() for theirs, ours in SPLITS.items()}


def released(split, batch_size, width):
    """One split in the layout of the released files."""
    lengths = split.lengths[split.order]
    bounds = split.bounds(batch_size)
    source = np.zeros((len(split), width), np.int64)
    rows = [row for batch in split.batches(batch_size) for row in batch.x]
    for place, row in zip(source, rows, strict=True):
        place[: len(row)] = row
    return {
        "source": source,
        "sents_l": lengths,
        "sent_sort": split.order,
        "l_location": [*np.flatnonzero(np.diff(lengths, prepend=1)), len(split)],
        "batch_idx": bounds[:-1],
        "batch_l": np.diff(bounds),
        "source_l": lengths[bounds[:-1]],
    }


def read(split, batch_size):
    """One split as the released data reader returns it."""
    arrays = {}
    for i, batch in enumerate(split.batches(batch_size)):
        length = split.predictions[batch.index[0]]
        arrays |= {f"batch{i}/sents": batch.x, f"batch{i}/length": length, f"batch{i}/batch_size": len(batch)}
    return arrays


def outputs(case, variant):
    """Every array of one variant, made by the product."""
    hyper = case.meta["hyper"]
    minfreq = re.fullmatch(r"minfreq(\d+)/", variant)
    seed = hyper["shuffled_numpy_seed"] if variant == "shuffled/" else None
    limit = hyper["seqlength"]
    options = Preprocessing(hyper["vocabsize"], int(minfreq[1]) if minfreq else None, limit, seed)
    kept = {split: documents(written, limit) for split, written in lines(case).items()}
    splits = preprocess(lines(case), options)
    arrays = {"vocab": vocabulary(kept["train"], options)}
    for theirs, split in zip(SPLITS, (splits.train, splits.valid, splits.test), strict=True):
        own = released(split, hyper["batchsize"], limit + 2) | read(split, hyper["batchsize"])
        own |= {"vocab_size": [splits.spec.vocabulary], "sent_lengths_unsorted": split.lengths}
        if seed is not None:
            own["rand_idx"] = shuffles(seed, {name: len(texts) for name, texts in kept.items()})[SPLITS[theirs]]
        arrays |= {f"{theirs}/{key}": value for key, value in own.items()}
    return arrays


@pytest.mark.parametrize("variant", VARIANTS)
def test_preprocessing(variant):
    case = load(NAME)
    expected = {
        key.removeprefix(f"out/{variant}"): array
        for key, array in case.arrays.items()
        if re.fullmatch(rf"out/{variant}(vocab|(train|val|test)/.*)", key)
    }
    got = outputs(case, variant)
    unread = {key for key in got if not re.search(r"/batch\d", key)}  # only the base run was read batch by batch
    assert set(expected) == (unread if variant else set(got))
    for key, array in expected.items():
        np.testing.assert_array_equal(np.asarray(got[key]), array, err_msg=key)


def test_every_array_is_compared():
    rest = (
        rf"out/({'|'.join(VARIANTS)})(vocab|(train|val|test)/.*)|out/simd_sort/(train|val|test)/sent_sort|in/.*_lines"
    )
    assert not [key for key in load(NAME).arrays if not re.fullmatch(rest, key)]


@pytest.mark.parametrize("split", SPLITS)
def test_the_sort_of_another_machine_differs_within_equal_lengths_only(split):
    case = load(NAME)
    lengths = case.arrays[f"out/{split}/sent_lengths_unsorted"]
    order = case.arrays[f"out/simd_sort/{split}/sent_sort"]
    assert sorted(order) == list(range(len(lengths)))
    np.testing.assert_array_equal(lengths[order], case.arrays[f"out/{split}/sents_l"])


@pytest.mark.parametrize("split", SPLITS)
def test_the_text_files_hold_these_lines(split):
    path = FOLDER / f"{NAME}_toy_{split}.txt"
    assert read_lines(path.name, path.read_bytes()) == lines(load(NAME))[SPLITS[split]]
