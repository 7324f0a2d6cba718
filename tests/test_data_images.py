"""Image formats, binarization and splitting."""

from __future__ import annotations

import numpy as np
import pytest
from originals import amat, by_columns, idx, mat, npz
from scipy.io import savemat

from collapsebench.data import images
from collapsebench.data.images import Pictures
from collapsebench.data.splits import BinaryImages, GreyImages
from collapsebench.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 28, 28)).astype(np.uint8)
CLASSES = RNG.integers(0, 10, 6)


def test_idx_reads_back():
    assert (images.read_idx("x", idx(PIXELS), 3) == PIXELS).all()
    assert (images.read_idx("x", idx(CLASSES), 1) == CLASSES).all()
    both = images.read_mnist({"i": idx(PIXELS), "l": idx(CLASSES)}, "i", "l")
    assert (both.pixels == PIXELS).all()
    assert (both.classes == CLASSES).all()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\0\0", "not an IDX file"),
        (idx(CLASSES), "not an IDX file of unsigned bytes with 3 axes"),
        (idx(PIXELS)[:-1], r"should hold \(6, 28, 28\) bytes by its header, got 4703"),
        (idx(PIXELS) + b"\0", "got 4705"),
        (idx(PIXELS).replace(b"\x08\x03", b"\x0d\x03", 1), "not an IDX file"),
    ],
)
def test_bad_idx_is_one_line(content, complaint):
    with pytest.raises(DataError, match=complaint) as caught:
        images.read_idx("train-images", content, 3)
    assert "'train-images'" in str(caught.value)


def test_mnist_needs_as_many_labels_as_images():
    with pytest.raises(DataError, match="'i' should hold 5 images of 28x28"):
        images.read_mnist({"i": idx(PIXELS), "l": idx(CLASSES[:5])}, "i", "l")


def test_amat_reads_back():
    binary = PIXELS % 2
    assert (images.read_amat("x", amat(binary)).pixels == binary).all()
    assert (images.read_amat("x", amat(binary).rstrip()).pixels == binary).all()
    assert (images.read_amat("x", amat(binary).replace(b"\n", b" \r\n")).pixels == binary).all()


@pytest.mark.parametrize("content", [amat(PIXELS % 2)[:-40], amat(PIXELS % 3), b"0 1\n", b"nothing of the kind\n"])
def test_bad_amat_is_one_line(content):
    with pytest.raises(DataError, match=r"'x\.amat' should hold 784 zeros and ones on each of its"):
        images.read_amat("x.amat", content)


def test_chardata_is_transposed_and_labelled():
    grey, alphabets = RNG.random((5, 28, 28)), np.array([3, 0, 49, 3, 7])
    data, target = by_columns(grey, alphabets)
    content = mat(data=data, target=target, testdata=data[:, :2], testtarget=target[:, :2], targetchar=np.ones((1, 5)))
    train, test = images.chardata("chardata.mat", content)
    assert train.pixels == pytest.approx(grey)
    assert train.classes.tolist() == alphabets.tolist()
    assert test.pixels == pytest.approx(grey[:2])


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"target": None}, "has no array 'target'"),
        ({"data": np.zeros((783, 5))}, r"should hold \(784, N\) images"),
        ({"testtarget": np.zeros((50, 4))}, "targets"),
        ({"data": np.full((784, 5), 1.5)}, "grey values between 0 and 1"),
        ({"testdata": np.full((784, 5), np.nan)}, "grey values between 0 and 1"),
    ],
)
def test_a_mat_file_of_another_kind_is_one_line(arrays, complaint):
    right = {"data": np.zeros((784, 5)), "target": np.eye(50)[:, :5]}
    right |= {"testdata": right["data"], "testtarget": right["target"]} | arrays
    with pytest.raises(DataError, match=complaint):
        images.chardata("chardata.mat", mat(**{key: value for key, value in right.items() if value is not None}))


@pytest.mark.parametrize("content", [b"\0", b"not a MATLAB file, by far" * 20])
def test_what_is_no_mat_file_is_one_line(content):
    with pytest.raises(DataError, match=r"'chardata\.mat' is not a MATLAB file"):
        images.chardata("chardata.mat", content)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_mat_file_is_one_line(tmp_path, compressed):
    savemat(tmp_path / "x.mat", {"data": RNG.random((784, 5))}, do_compression=compressed)
    with pytest.raises(DataError, match="is not a MATLAB file"):
        images.chardata("x.mat", (tmp_path / "x.mat").read_bytes()[:5000])


def test_drawings_read_back():
    content = npz(images=PIXELS, alphabet=CLASSES, character=CLASSES + 1, drawer=np.arange(6))
    drawings, drawer = images.read_drawings("x", content, "character")
    assert (drawings.pixels == PIXELS).all()
    assert (drawings.classes == CLASSES + 1).all()
    assert drawer.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"no archive", "is not a numpy archive"),
        (npz(images=PIXELS)[:-100], "is not a numpy archive"),
        (npz(images=PIXELS, alphabet=CLASSES), "has no array 'drawer'"),
        (npz(images=PIXELS, alphabet=CLASSES, drawer=np.arange(5)), "drawer of each of its 6 images"),
        (npz(images=PIXELS[:5], alphabet=CLASSES, drawer=np.arange(5)), "should hold 6 images"),
        (npz(images=np.array([None], object), alphabet=CLASSES, drawer=CLASSES), "is not a numpy archive"),
    ],
)
def test_bad_drawings_are_one_line(content, complaint):
    with pytest.raises(DataError, match=complaint):
        images.read_drawings("x", content, "alphabet")


def test_the_last_images_are_held_out():
    train, valid = images.hold_out(Pictures(PIXELS, CLASSES), 2)
    assert (np.concatenate([train.pixels, valid.pixels]) == PIXELS).all()
    assert len(valid) == 2
    with pytest.raises(DataError, match="validation=6 leaves none of 6 images for training"):
        images.hold_out(Pictures(PIXELS, CLASSES), 6)


def test_static_and_dynamic_share_their_validation_and_test_images():
    parts = [Pictures(PIXELS[i : i + 2], CLASSES[i : i + 2]) for i in (0, 2, 4)]
    static, dynamic = images.static(*parts, seed=1), images.dynamic(*parts, seed=1)
    assert isinstance(static.train, BinaryImages)
    assert isinstance(dynamic.train, GreyImages)
    assert static.hashes() | {"train": ""} == dynamic.hashes() | {"train": ""}
    assert len(set(images.static(*[parts[0]] * 3, seed=1).hashes().values())) == 3
    assert static.hashes() != images.static(*parts, seed=2).hashes()
    assert static.spec == dynamic.spec
    assert static.test.labels.tolist() == CLASSES[4:].tolist()


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_static_binarization_has_the_probability_of_the_grey(kind):
    p = np.linspace(0, 1, 18)[1:-1]
    grey = np.tile(p * 255 if kind is np.uint8 else p, (4000, 1)).astype(kind).reshape(4000, 4, 4)
    draws = images.static(*[Pictures(grey)] * 3, seed=0).test.pixels.reshape(4000, 16)
    p = grey[0].ravel() / (255 if kind is np.uint8 else 1)
    assert np.abs((draws.mean(0) - p) / np.sqrt(p * (1 - p) / 4000)).max() < 4.5


def test_binarization_does_not_depend_on_how_many_images_are_drawn_at_a_time(monkeypatch):
    parts = [Pictures(PIXELS)] * 3
    before = images.static(*parts, seed=0).hashes()
    monkeypatch.setattr(images, "ROWS", 4)
    assert images.static(*parts, seed=0).hashes() == before
