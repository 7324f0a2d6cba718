"""Every dataset from small files of its format to its splits; embedded ones against the hashes on their cards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from originals import amat, by_columns, declared, idx, mat, npz, write
from pydantic import ValidationError

from collapsebench import data
from collapsebench.data.loading import load_files
from collapsebench.data.splits import BinaryImages, GreyImages
from collapsebench.data.text import UNKNOWN
from collapsebench.errors import DataError
from collapsebench.examples import ImageSpec, Split
from collapsebench.facts import dataset_facts

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 28, 28)).astype(np.uint8)
CLASSES = np.arange(8) % 10


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def sizes(splits):
    return [len(splits.train), len(splits.valid), len(splits.test)]


def loaded(dataset, tmp_path, contents, **params):
    """The splits of small files that are declared to be the dataset's originals."""
    write(tmp_path / "sub", contents, zipped=True)
    return declared(dataset, tmp_path, contents)(**params).load(tmp_path)


@pytest.mark.parametrize("dataset", [data.SyntheticText, data.LinearGaussian, data.Digits])
def test_embedded_datasets_are_those_of_their_cards(dataset):
    splits, facts = dataset().load(Path("nowhere")), dataset_facts(dataset.name).splits
    assert sizes(splits) == [facts[name].examples for name in ("train", "valid", "test")]
    assert splits.hashes() == {name: split.sha256 for name, split in facts.items()}


def test_digits_are_cut_at_a_threshold():
    low, high = (data.Digits(threshold=threshold).load(Path("nowhere")) for threshold in (4, 12))
    assert low.spec == ImageSpec((1, 8, 8))
    assert (low.train.pixels >= high.train.pixels).all()
    assert low.train.pixels.sum() > high.train.pixels.sum()
    assert sorted(set(low.test.labels)) == list(range(10))
    with pytest.raises(DataError, match="validation=2000 leaves none of"):
        data.Digits(validation=2000).load(Path("nowhere"))


MNIST = {
    "train-images-idx3-ubyte": idx(GREY),
    "train-labels-idx1-ubyte": idx(CLASSES),
    "t10k-images-idx3-ubyte": idx(GREY[:2]),
    "t10k-labels-idx1-ubyte": idx(CLASSES[:2]),
}


def test_mnist(tmp_path):
    splits = loaded(data.Mnist, tmp_path, MNIST, validation=3)
    assert sizes(splits) == [5, 3, 2]
    assert (splits.train.pixels == GREY[:5]).all()
    assert isinstance(splits.valid, BinaryImages)
    assert splits.valid.labels.tolist() == CLASSES[5:].tolist()


def test_mnist_static(tmp_path):
    splits = loaded(data.MnistStatic, tmp_path, MNIST, validation=3)
    assert isinstance(splits.train, BinaryImages)
    assert splits.hashes()["test"] == loaded(data.Mnist, tmp_path, MNIST, validation=3).hashes()["test"]
    other = loaded(data.MnistStatic, tmp_path, MNIST, validation=3, binarization_seed=1)
    assert not set(other.hashes().values()) & set(splits.hashes().values())


def test_mnist_larochelle(tmp_path):
    parts = {"train": GREY[:4] % 2, "valid": GREY[4:6] % 2, "test": GREY[6:] % 2}
    contents = {f"binarized_mnist_{split}.amat": amat(pixels) for split, pixels in parts.items()}
    splits = loaded(data.MnistLarochelle, tmp_path, contents)
    for name, pixels in parts.items():
        assert (getattr(splits, name).pixels == pixels).all()
    assert splits.train.labels is None


@pytest.mark.parametrize("label", ["alphabet", "character"])
def test_omniglot(tmp_path, label):
    drawer = np.tile(np.arange(1, 21), 2)
    images = RNG.integers(0, 256, (40, 28, 28)).astype(np.uint8)
    arrays = {"images": images, "drawer": drawer, "alphabet": drawer * 0, "character": np.arange(40) // 20}
    splits = loaded(data.Omniglot, tmp_path, {"omniglot_28x28_uint8.npz": npz(**arrays)}, label=label)
    assert sizes(splits) == [28, 2, 10]
    assert (splits.train.pixels == images[drawer < 15]).all()
    assert splits.test.labels.tolist() == arrays[label][drawer > 15].tolist()


def test_omniglot_burda(tmp_path):
    grey = RNG.random((8, 28, 28)).astype(np.float32)
    images, alphabets = by_columns(grey, CLASSES)
    content = mat(data=images, target=alphabets, testdata=images[:, :3], testtarget=alphabets[:, :3])
    splits = loaded(data.OmniglotBurda, tmp_path, {"chardata.mat": content}, validation=2)
    assert sizes(splits) == [6, 2, 3]
    assert isinstance(splits.train, GreyImages)
    assert splits.train.pixels == pytest.approx(grey[splits.train.labels])  # an image's class is its position here
    assert sorted([*splits.train.labels, *splits.valid.labels]) == list(range(8))
    assert splits.train.labels.tolist() != list(range(6))


TEXT = {"train": "b a a\na c\n", "valid": "a\n", "test": "a b z\n"}


@pytest.mark.parametrize("dataset", [data.PennTreebank, data.Yahoo])
def test_text_in_three_files(tmp_path, dataset):
    contents = {f"{dataset.stem}.{split}.txt": text.encode() for split, text in TEXT.items()}
    splits = loaded(dataset, tmp_path, contents)
    assert sizes(splits) == [2, 1, 1]
    assert splits.spec.vocabulary == 7
    assert splits.test.tokens.tolist() == [2, 4, 5, UNKNOWN, 3]
    assert loaded(dataset, tmp_path, contents, vocabulary_size=1).spec.vocabulary == 5
    contents |= {f"{dataset.stem}.test.txt": b"a a a a\na\na b\n"}
    assert sizes(loaded(dataset, tmp_path, contents, max_tokens=2)) == [1, 1, 2]
    assert sizes(loaded(dataset, tmp_path, contents, test_documents=1)) == [2, 1, 1]


def test_yahoo_9k_splits_the_validation_file(tmp_path):
    contents = {
        "yahoo.valid.txt": "".join(f"w{i}\n" for i in range(9100)).encode(),
        "yahoo.test.txt": b"w0 w8999 w9000\n",
        "vocab_from_train.txt": b"<pad>\n<go>\n<eos>\n<unk>\nw9000\nw0\n",
    }
    splits = loaded(data.Yahoo9k, tmp_path, contents)
    assert sizes(splits) == [9000, 100, 1]
    assert splits.spec.vocabulary == 9004
    assert splits.test.tokens.tolist() == [2, 4, 9003, UNKNOWN, 3]
    given = loaded(data.Yahoo9k, tmp_path, contents, vocabulary="given")
    assert given.spec.vocabulary == 6
    assert given.test.tokens.tolist() == [2, 5, UNKNOWN, 4, 3]


def test_text_that_is_not_utf8_is_one_line(tmp_path):
    contents = {f"ptb.{split}.txt": b"a\n" for split in ("train", "valid")} | {"ptb.test.txt": b"a\nb\n\xff\n"}
    with pytest.raises(DataError, match=r"text file 'ptb\.test\.txt', line 3: not UTF-8"):
        loaded(data.PennTreebank, tmp_path, contents)


@pytest.mark.parametrize("name", ["mnist", "omniglot-burda", "ptb", "yahoo-9k"])
def test_missing_files_are_one_line_with_the_place_and_what_needs_none(tmp_path, name):
    (dataset,) = (each for each in data.collapsebench_components() if each.name == name)
    with pytest.raises(DataError) as caught:
        dataset().load(tmp_path)
    message = str(caught.value)
    assert f"dataset '{name}' needs the file" in message
    assert str(tmp_path) in message
    assert "digits, linear-gaussian, synthetic-text need no files" in message
    assert "\n" not in message


def test_parsing_happens_once_and_checking_every_time(tmp_path, monkeypatch):
    contents = {f"ptb.{split}.txt": text.encode() for split, text in TEXT.items()}
    write(tmp_path, contents)
    dataset = declared(data.PennTreebank, tmp_path, contents)()
    calls = []

    def load():
        parse = lambda given: calls.append(1) or dataset.parse(given)  # noqa: E731
        return load_files(dataset, dataset.originals(), parse, tmp_path, cache=tmp_path / "parsed")

    first, second = load(), load()
    assert first.hashes() == second.hashes() == dataset.load(tmp_path).hashes()
    assert len(calls) == 1
    write(tmp_path, {"ptb.test.txt": b"something else\n"})
    with pytest.raises(DataError, match=r"ptb\.test\.txt' is not the original"):
        load()


def test_parameters_and_files_are_part_of_the_cache_s_key(tmp_path):
    contents = {f"ptb.{split}.txt": text.encode() for split, text in TEXT.items()}
    hashes = loaded(data.PennTreebank, tmp_path, contents).hashes()
    assert loaded(data.PennTreebank, tmp_path, contents, vocabulary_size=1).hashes() != hashes
    assert loaded(data.PennTreebank, tmp_path, contents | {"ptb.test.txt": b"c c\n"}).hashes() != hashes


@pytest.mark.parametrize("dataset", data.collapsebench_components(), ids=lambda dataset: dataset.name)
def test_every_field_is_described_and_bad_values_are_refused(dataset):
    assert all(field.description for field in dataset.model_fields.values())
    with pytest.raises(ValidationError):
        dataset(no_such_field=1)
    for field in dataset.model_fields:
        with pytest.raises(ValidationError):
            dataset(**{field: -1})


def imported_by(code):
    """The modules that a fresh interpreter has after this code."""
    code += "; import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_datasets_loads_no_numerics():
    assert not imported_by("import collapsebench.data") & {"torch", "numpy", "scipy", "sklearn"}


def test_loading_imports_no_torch():
    start = "from pathlib import Path; from collapsebench import data; "
    assert "torch" not in imported_by(f"{start}data.LinearGaussian().load(Path())")
    assert not imported_by(f"{start}data.Digits().load(Path())") & {"torch", "scipy", "sklearn"}


def test_splits_of_every_kind_are_splits(tmp_path):
    for splits in (data.Digits().load(tmp_path), loaded(data.Mnist, tmp_path, MNIST, validation=3)):
        assert all(isinstance(split, Split) for split in (splits.train, splits.valid, splits.test))
