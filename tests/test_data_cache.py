"""The cache of parsed data: what comes back is what went in, and a damaged file is made again."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from collapsebench.data.cache import cached
from collapsebench.data.loading import pack, unpack
from collapsebench.data.splits import BinaryImages, GreyImages, TextSplit
from collapsebench.examples import ImageSpec, Splits, TextSpec

ARRAYS = {"train/0": np.arange(5000, dtype=np.int32), "layout": np.array("text"), "empty": np.zeros((0, 3))}


class Build:
    """Counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return dict(ARRAYS)


def test_the_second_time_comes_from_the_file(tmp_path):
    build = Build()
    first, second = (cached("x", {"seed": 1}, build, tmp_path) for _ in range(2))
    assert build.calls == 1
    for arrays in (first, second):
        assert arrays.keys() == ARRAYS.keys()
        for key, array in ARRAYS.items():
            assert arrays[key].dtype == array.dtype
            assert np.array_equal(arrays[key], array)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_every_part_of_the_key_counts(tmp_path):
    build = Build()
    for name, key in (("x", {"seed": 1}), ("y", {"seed": 1}), ("x", {"seed": 2}), ("x", {"seed": 1, "more": None})):
        cached(name, key, build, tmp_path)
    assert build.calls == len(list(tmp_path.iterdir())) == 4


def corrupted(content, how):
    middle = len(content) // 2
    return {
        "empty": b"",
        "truncated": content[:middle],
        "no archive": b"something else",
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }[how]


@pytest.mark.parametrize("how", ["empty", "truncated", "no archive", "one bit"])
def test_a_damaged_file_is_made_again_and_logged(tmp_path, caplog, how):
    caplog.set_level(logging.INFO)
    build = Build()
    cached("x", {}, build, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(corrupted(path.read_bytes(), how))
    assert np.array_equal(cached("x", {}, build, tmp_path)["train/0"], ARRAYS["train/0"])
    assert build.calls == 2
    assert f"cache file {path} is damaged" in caplog.text
    cached("x", {}, build, tmp_path)
    assert build.calls == 2


def test_a_file_of_another_key_is_not_believed(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    build = Build()
    cached("x", {"seed": 1}, build, tmp_path)
    (other,) = tmp_path.iterdir()
    cached("x", {"seed": 2}, build, tmp_path)
    (path,) = set(tmp_path.iterdir()) - {other}
    path.write_bytes(other.read_bytes())
    cached("x", {"seed": 2}, build, tmp_path)
    assert build.calls == 3
    assert "belongs to another key" in caplog.text


def test_a_folder_that_cannot_be_written_costs_the_cache_only(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_bytes(b"")
    build = Build()
    for _ in range(2):
        assert np.array_equal(cached("x", {}, build, tmp_path / "file")["train/0"], ARRAYS["train/0"])
    assert build.calls == 2
    assert "cannot cache in" in caplog.text


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(file, **given):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cached("x", {}, Build(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [None, np.array([3, 1])])
def test_splits_read_back(classes):
    grey = np.array([[[0, 9]], [[255, 1]]], np.uint8)
    images = Splits(
        ImageSpec((1, 1, 2)), GreyImages(grey, classes), BinaryImages(grey % 2, classes), BinaryImages(grey % 2)
    )
    document = TextSplit(np.array([2, 4, 3], np.int32), np.array([3], np.int32))
    for splits in (images, Splits(TextSpec(9), document, document, document)):
        again = unpack(pack(splits))
        assert again.spec == splits.spec
        assert again.hashes() == splits.hashes()
        assert type(again.train) is type(splits.train)
        assert np.array_equal(again.train.labels, splits.train.labels)
