"""The published preprocessing, beyond its golden vectors (tests/golden/test_golden_preprocess.py)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.data.text import (
    BOS,
    EOS,
    MARKERS,
    UNKNOWN,
    Preprocessing,
    documents,
    preprocess,
    read_lines,
    vocabulary,
)
from collapsebench.errors import DataError

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=6)
TEXT = st.lists(WORDS.map(" ".join), min_size=1, max_size=12)


def lines(train, valid=("a",), test=("a",)):
    return {"train": train, "valid": valid, "test": test}


def test_lines_end_at_newline_and_nothing_else():
    content = "one\x85two\u2028three\rfour\n\nfive\n".encode()
    assert read_lines("x", content) == ["one\x85two\u2028three\rfour", "", "five"]
    assert read_lines("x", b"no newline at the end") == ["no newline at the end"]


def test_text_that_is_not_utf8_names_the_line():
    with pytest.raises(DataError, match=r"text file 'x\.txt', line 3: not UTF-8"):
        read_lines("x.txt", "eins\nzwei\nfünf\n".encode("latin-1"))


@given(TEXT, TEXT, st.integers(1, 6))
def test_ids_read_back_as_the_words_that_are_known(train, test, size):
    options = Preprocessing(vocabulary_size=size, max_tokens=6)
    splits = preprocess(lines(train, test=test), options)
    words = vocabulary(documents(train, 6), options)
    assert splits.spec.vocabulary == len(words) == 4 + min(size, len(Counter(" ".join(train).split())))
    for batch in splits.test.batches(5):
        for row, i in zip(batch.x, batch.index, strict=True):
            assert (row[0], row[-1]) == (BOS, EOS)
            expected = [word if word in words else MARKERS[UNKNOWN] for word in test[i].split()]
            assert [words[token] for token in row[1:-1]] == expected


@given(TEXT)
def test_words_are_ranked_by_count_and_then_by_first_appearance(train):
    flat = " ".join(train).split()
    expected = sorted(dict.fromkeys(flat), key=lambda word: -flat.count(word))
    assert vocabulary(documents(train, 6), Preprocessing())[4:] == expected


def test_long_and_empty_documents_are_dropped_for_the_counts_as_well():
    splits = preprocess(lines(["a a a a", "", "b", "  "]), Preprocessing(max_tokens=3))
    assert len(splits.train) == 1
    assert splits.spec.vocabulary == 5


def test_a_word_written_like_a_marker_takes_a_place_but_no_id():
    options = Preprocessing(vocabulary_size=2)
    assert vocabulary([["<unk>", "<unk>", "a", "b"]], options) == [*MARKERS, "a"]
    splits = preprocess(lines(["<unk> a"]), options)
    assert splits.train.tokens.tolist() == [BOS, UNKNOWN, 4, EOS]


def test_given_words_replace_those_of_training():
    splits = preprocess(lines(["a b"]), Preprocessing(word_list=["b", "z"], vocabulary_size=1))
    assert splits.spec.vocabulary == 6
    assert splits.train.tokens.tolist() == [BOS, UNKNOWN, 4, EOS]


def test_shuffling_permutes_documents_and_changes_no_word():
    train = [f"a{i}" for i in range(20)]
    plain, shuffled = (preprocess(lines(train), Preprocessing(shuffle_seed=seed)).train for seed in (None, 3))
    assert plain.sha256() != shuffled.sha256()
    assert sorted(plain.tokens) == sorted(shuffled.tokens)
    assert shuffled.sha256() == preprocess(lines(train), Preprocessing(shuffle_seed=3)).train.sha256()
    assert np.array_equal(plain.lengths, shuffled.lengths)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_without_documents_is_an_error(split):
    with pytest.raises(DataError, match=rf"no document of the {split} split has between 1 and max_tokens=2 words"):
        preprocess(lines(["a"]) | {split: ["a b c", ""]}, Preprocessing(max_tokens=2))
