"""`collapsebench data add`: texts and pictures of a user become a dataset without a line of Python."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
from originals import idx, npz
from PIL import Image

from collapsebench.components import discovery
from collapsebench.data.dividing import Division
from collapsebench.data.located import find_datasets
from collapsebench.data.own import with_own
from collapsebench.errors import PluginError, UsageError
from collapsebench.facts import dataset_facts, tracks_of_kind
from collapsebench.spec import Track

SPLITS = ("train", "valid", "test")
RNG = np.random.default_rng(0)
PIXELS = {
    split: RNG.integers(0, 256, (count, 4, 5)).astype(np.uint8) for split, count in zip(SPLITS, (6, 3, 4), strict=True)
}
CLASSES = {split: RNG.integers(0, 3, len(pixels)) for split, pixels in PIXELS.items()}
TEXTS = {
    "train": "the cat sat\nthe dog sat\nthe cat ran\n",
    "valid": "the cat sat\nthe bird sat\n",
    "test": "the dog sat\nthe bird sat\n",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def add(command, tmp_path):
    """Add a dataset to the data folder `data`."""
    return lambda *arguments: command("data", "add", "--data-dir", tmp_path / "data", *arguments)


@pytest.fixture
def texts(tmp_path):
    """The files of three splits."""
    for split, text in TEXTS.items():
        (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    return [tmp_path / f"{split}.txt" for split in SPLITS]


@pytest.fixture
def load(tmp_path):
    """The splits of a dataset in the folder `data`."""

    def load(name):
        (found,) = find_datasets([name], (), tmp_path / "data")
        return found.dataset.load(found.folder)

    return load


def documents(splits):
    """The documents of every split, as tuples of ids without BOS and EOS."""
    parts = {split: getattr(splits, split) for split in SPLITS}
    return {
        split: [tuple(ids[1:-1].tolist()) for ids in np.split(part.tokens, np.cumsum(part.lengths)[:-1])]
        for split, part in parts.items()
    }


def refused(answer, *expected, code=2):
    """Whether a command was refused in one line that holds these texts."""
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert [text for text in expected if text not in answer.err] == []


def test_an_added_text_is_a_dataset_for_every_command(add, command, texts, tmp_path):
    data = ("--data-dir", tmp_path / "data")
    added = add("mine", "--text", *texts)
    assert (added.code, added.err) == (0, "")
    assert f"next: collapsebench run --dataset mine --data-dir {tmp_path / 'data'}" in added.out
    listed = {row["name"]: row for row in json.loads(command("data", "list", "--json", *data).out)}
    assert listed["mine"]["available"] == "yes"
    assert listed["mine"]["examples"] == "3 / 2 / 2"
    shown = command("data", "show", "mine", *data).out
    assert "train: 3 documents, 9 words, 0 of them unknown (0.0%)" in shown
    assert "valid: 2 documents, 6 words, 1 of them unknown (16.7%), 1 in train, too" in shown
    assert "test: 2 documents, 6 words, 1 of them unknown (16.7%), 1 in train, too, 1 in valid, too" in shown
    assert "vocabulary: 5 words" in shown
    assert "classes: none" in shown
    assert "quick (300steps)" in shown
    verified = command("data", "verify", "mine", *data)
    assert verified.code == 0
    assert verified.out.count("right") == 4
    plan = command("run", "--dataset", "mine", "--dry-run", *data)
    assert plan.code == 0
    assert "mine" in plan.out


def test_show_as_json_has_the_counts(add, command, texts, tmp_path):
    add("mine", "--text", *texts)
    card = json.loads(
        command("data", "show", "mine[vocabulary_size=1,max_tokens=3]", "--json", "--data-dir", "data").out
    )
    assert card["contents"]["vocabulary"] == 1
    assert card["contents"]["splits"]["valid"] == {
        "examples": 2,
        "left_out": 0,
        "words": 6,
        "unknown_words": 4,
        "repeated": {"train": 1},
    }
    assert json.loads(command("data", "show", "digits", "--json").out)["contents"] is None


def test_the_files_are_kept_and_a_change_of_one_is_noticed(add, command, texts, tmp_path):
    add("mine", "--text", *texts)
    path = tmp_path / "data" / "own" / "mine" / "mine.train.txt"
    assert path.read_text(encoding="utf-8") == TEXTS["train"]
    path.write_text(TEXTS["train"].replace("cat", "cow"), encoding="utf-8")
    refused(command("run", "--dataset", "mine", "--dry-run", "--data-dir", "data"), "is not the original", code=1)
    assert command("data", "verify", "mine", "--data-dir", "data").code == 1


def test_the_same_content_has_the_same_hashes_however_it_is_written(add, load, texts, tmp_path):
    """A byte-order mark, line ends, gzip, and accents in two letters change nothing."""
    texts[0].write_text("un café noir\nune idée\n", encoding="utf-8")
    add("plain", "--text", *texts)
    texts[0].write_bytes(gzip.compress("\ufeffun cafe\u0301 noir\r\nune ide\u0301e\r\n".encode()))
    add("other", "--text", *texts)
    assert load("plain").hashes() == load("other").hashes()


def test_one_file_is_divided_by_shares_and_a_seed(add, load, tmp_path):
    lines = [" ".join(["word"] * (number + 1)) for number in range(50)]
    (tmp_path / "all.txt").write_text("\ufeff" + "\r\n".join(lines) + "\r\n\r\n", encoding="utf-8")
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        assert add(name, "--text", "all.txt", "--split", "0.8,0.1,0.1", "--seed", seed).code == 0
    assert [len(part) for part in (load("one").train, load("one").valid, load("one").test)] == [40, 5, 5]
    assert load("one").hashes() == load("again").hashes()
    assert load("one").hashes() != load("two").hashes()
    folder = tmp_path / "data" / "own" / "one"
    kept = [line for split in SPLITS for line in (folder / f"one.{split}.txt").read_text("utf-8").splitlines()]
    assert sorted(kept) == sorted(lines)


def test_the_training_file_of_two_is_divided(add, load, texts):
    assert add("mine", "--text", texts[0], texts[2], "--split", "0.6,0.4").code == 0
    splits = load("mine")
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [2, 1, 2]


@pytest.mark.parametrize("size", [3, 10, 57])
def test_a_division_has_every_example_once(size):
    rows = Division.parse("0.5,0.25,0.25", 7).rows(size)
    assert sorted(np.concatenate(rows).tolist()) == list(range(size))
    assert all((np.diff(part) > 0).all() for part in rows)


def test_labels_in_the_first_column_are_classes_and_no_words(add, load, texts):
    for path in texts:
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text(
            "".join(f"{'good' if i else 'bad'}\t{line}\n" for i, line in enumerate(lines)), encoding="utf-8"
        )
    assert "classes: 2" in add("labelled", "--text", *texts, "--labels", "first-column").out
    assert "classes: 2" in add("found", "--text", *texts).out
    assert "classes: none" in add("words", "--text", *texts, "--labels", "none").out
    assert load("labelled").train.labels.tolist() == [0, 1, 1]
    assert load("labelled").hashes() == load("found").hashes()
    assert len(documents(load("words"))["train"][0]) == len(documents(load("found"))["train"][0]) + 1


def test_replace_takes_the_place_of_an_added_dataset_alone(add, load, texts):
    assert add("mine", "--text", *texts).code == 0
    before = load("mine").hashes()
    texts[0].write_text("another text\n", encoding="utf-8")
    refused(add("mine", "--text", *texts), "dataset 'mine' is there already", "--replace")
    assert load("mine").hashes() == before
    assert add("mine", "--text", *texts, "--replace").code == 0
    assert load("mine").hashes() != before
    refused(add("digits", "--text", *texts, "--replace"), "dataset 'digits' is there already", "choose another name")


@pytest.mark.parametrize("name", ["Mine", "mine!", "vae", "../mine", "-mine", "."])
def test_what_is_no_name_is_refused(add, texts, name, tmp_path):
    refused(add("--text", "--", name, *texts), "small letters")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.txt", "valid.txt", "test.txt"], "say what the files hold: --text or --images"),
        (["--text", "--images", "train.txt"], "say what the files hold: --text or --images"),
        (["--text"], "Missing argument"),
        (["--text", "none.txt"], "does not exist"),
        (["--text", "train.txt"], "one file or folder of all examples needs --split 0.8,0.1,0.1"),
        (["--text", "train.txt", "test.txt"], "need --split 0.9,0.1"),
        (["--text", "train.txt", "test.txt", "--split", "0.8,0.1,0.1"], "need --split 0.9,0.1"),
        (["--text", "train.txt", "train.txt", "test.txt"], "is given twice"),
        (["--text", "train.txt", "valid.txt", "test.txt", "all.txt"], "got 4"),
        (["--text", "train.txt", "valid.txt", "test.txt", "--split", "0.8,0.1,0.1"], "does not go with three files"),
        (["--text", "train.txt", "--split", "0.8,0.2"], "one file or folder of all examples needs --split"),
        (["--text", "train.txt", "--split", "0.8,0.1,0.2"], "write shares whose sum is 1, as in 0.8,0.1,0.1"),
        (["--text", "train.txt", "--split", "most"], "write shares whose sum is 1"),
        (["--text", "train.txt", "--split", "0.8,0.1,0.1"], "leaves a split without an example: there are 3"),
        (["--text", "train.txt", "valid.txt", "test.txt", "--labels", "last"], "'first-column', 'none'"),
        (["--images", "train.txt", "--labels", "first-column"], "--labels is for --text"),
    ],
)
def test_wrong_usage_is_one_line(add, texts, tmp_path, arguments, expected):
    shutil.copy(texts[0], tmp_path / "all.txt")
    refused(add("mine", *arguments), expected)
    assert not (tmp_path / "data" / "own" / "mine.toml").exists()


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (b"", [], "is empty"),
        (b"good\nb\xff\n", [], "train.txt', line 2: not UTF-8"),
        (b"good\nb\0d\n", [], "train.txt', line 2: a NUL byte"),
        (b"\n \n", [], "no document of the train split"),
        (b"no label\n", ["--labels", "first-column"], "train.txt', line 1: no label and tab in front"),
    ],
)
def test_a_file_that_is_no_text_is_one_line_that_names_it(add, texts, tmp_path, content, options, expected):
    texts[0].write_bytes(content)
    refused(add("mine", "--text", *texts, *options), expected, code=1)
    assert not list((tmp_path / "data").rglob("*"))


@pytest.mark.parametrize("labelled", [False, True])
def test_pictures_in_every_form_are_the_same_dataset(add, load, tmp_path, labelled):
    arrays, forms = {}, {}
    for split in SPLITS:
        arrays |= {split: PIXELS[split]} | ({f"{split}_labels": CLASSES[split][:, None]} if labelled else {})
        (tmp_path / f"{split}-images").write_bytes(idx(PIXELS[split]))
        np.save(tmp_path / f"{split}.npy", PIXELS[split][:, None])
        (tmp_path / f"{split}-labels").write_bytes(idx(CLASSES[split]))
        for number, pixels in enumerate(PIXELS[split]):
            of_class = str(CLASSES[split][number]) if labelled else ""
            path = tmp_path / "png" / split / of_class / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (tmp_path / "all.npz").write_bytes(npz(**arrays))
    labels = [f"{split}-labels" for split in SPLITS if labelled]
    forms["idx"] = [*(f"{split}-images" for split in SPLITS), *labels]
    forms["npy"] = [*(f"{split}.npy" for split in SPLITS), *labels]
    forms |= {"npz": ["all.npz"], "png": ["png"]}
    found = {}
    for name, files in forms.items():
        added = add(name, "--images", *files)
        assert (added.code, added.err) == (0, "")
        splits = load(name)
        assert splits.spec.shape == (1, 4, 5)
        assert (splits.train.labels is not None) == labelled
        found[name] = splits
    assert found["npz"].hashes() == found["idx"].hashes() == found["npy"].hashes()
    assert sorted(map(bytes, found["png"].train.pixels)) == sorted(map(bytes, PIXELS["train"]))
    if labelled:
        of = {bytes(pixels): label for pixels, label in zip(PIXELS["train"], CLASSES["train"], strict=True)}
        numbers = sorted({*CLASSES["train"], *CLASSES["valid"], *CLASSES["test"]})
        train = found["png"].train
        assert [numbers[label] for label in train.labels] == [of[bytes(pixels)] for pixels in train.pixels]


def test_a_folder_of_idx_files_is_read_by_their_names(add, load, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for split, word in (("train", "train"), ("test", "t10k")):
        (folder / f"{word}-images-idx3-ubyte").write_bytes(idx(PIXELS[split]))
        (folder / f"{word}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(CLASSES[split])))
    assert add("mine", "--images", folder, "--split", "0.5,0.5").code == 0
    splits = load("mine")
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [3, 3, 4]
    assert splits.test.labels.tolist() == CLASSES["test"].tolist()


def test_names_of_other_archives_are_known(add, load, tmp_path):
    (tmp_path / "keras.npz").write_bytes(
        npz(x_train=PIXELS["train"], y_train=CLASSES["train"], x_test=PIXELS["test"], y_test=CLASSES["test"])
    )
    assert add("keras", "--images", "keras.npz", "--split", "0.5,0.5").code == 0
    assert [len(part) for part in (load("keras").train, load("keras").valid, load("keras").test)] == [3, 3, 4]
    medmnist = {f"{name}_images": PIXELS[split] for name, split in zip(("train", "val", "test"), SPLITS, strict=True)}
    (tmp_path / "med.npz").write_bytes(npz(**medmnist))
    assert add("med", "--images", "med.npz").code == 0
    (tmp_path / "whole.npz").write_bytes(npz(images=PIXELS["train"] / 255))
    answer = add("whole", "--images", "whole.npz", "--split", "0.4,0.3,0.3")
    assert answer.code == 0
    assert "train: 2 pictures of 4x5" in answer.out


def test_pictures_that_stand_in_two_splits_are_counted(add, tmp_path):
    (tmp_path / "all.npz").write_bytes(npz(train=PIXELS["train"], valid=PIXELS["train"][:2], test=PIXELS["test"]))
    assert "valid: 2 pictures of 4x5, 2 in train, too" in add("mine", "--images", "all.npz").out


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.npz", npz(a=[1]), "needs the arrays train, valid and test, train and test, or images; has: a"),
        ("x.npz", b"PK\x03\x04 and no more", "is not a numpy archive"),
        ("x.txt", b"words", "it is no IDX, npy or npz file, nor a folder of PNG files"),
        ("x.idx", b"\0\0\x08\x03", "is not an IDX file"),
        ("x.idx", idx(np.zeros((2, 3, 4, 3))), "should hold pictures (N, H, W)"),
        ("x.npz", npz(images=np.full((9, 2, 2), 3.0)), "numbers from 0 to 1"),
        ("x.npz", npz(images=np.zeros((9, 2, 2)), labels=np.zeros(8, int)), "needs as many whole numbers as labels"),
    ],
)
def test_a_file_without_pictures_is_one_line(add, tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    refused(add("mine", "--images", name, "--split", "0.4,0.3,0.3"), name, expected, code=1)


def test_a_folder_that_is_not_all_pictures_is_one_line(add, tmp_path):
    folder = tmp_path / "png"
    folder.mkdir()
    shares = ("--split", "0.4,0.3,0.3")
    refused(add("mine", "--images", folder, *shares), "holds no PNG files", code=1)
    for number, side in enumerate((4, 4, 5)):
        Image.fromarray(np.zeros((side, 4), np.uint8)).save(folder / f"{number}.png")
    refused(add("mine", "--images", folder, *shares), "2.png' has 5x4 pixels, and", "0.png' 4x4", code=1)
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes()[:40])
    refused(add("mine", "--images", folder, *shares), "2.png' is no PNG picture", code=1)
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "2.png")
    refused(add("mine", "--images", folder, *shares), "more than 8 bits", code=1)
    (folder / "2.png").unlink()
    (folder / "class").mkdir()
    refused(add("mine", "--images", folder, *shares), "holds files beside folders of classes", code=1)
    refused(add("mine", "--images", folder, folder / "0.png"), "give it alone")


def test_some_labels_are_not_enough(add, tmp_path):
    (tmp_path / "x.npz").write_bytes(npz(train=PIXELS["train"], train_labels=CLASSES["train"], test=PIXELS["test"]))
    refused(add("mine", "--images", "x.npz", "--split", "0.5,0.5"), "x.npz: test' has no labels", code=1)


def test_a_broken_facts_file_costs_its_dataset_alone(add, command, texts, tmp_path):
    add("mine", "--text", *texts)
    add("other", "--text", *texts)
    path = tmp_path / "data" / "own" / "mine.toml"
    path.write_text("colour = 1", encoding="utf-8")
    refused(command("data", "show", "mine", "--data-dir", "data"), "unknown dataset 'mine'", "mine.toml")
    assert command("data", "verify", "other", "--data-dir", "data").code == 0


def test_a_plugin_with_the_name_of_an_added_dataset_is_refused(add, texts, tmp_path):
    add("mine", "--text", *texts)
    own = tmp_path / "data" / "own"
    (own / "mine.toml").rename(own / "digits.toml")
    with pytest.raises(PluginError, match=r"dataset 'digits' .* has the name of one that was added"):
        with_own(discovery.load(), tmp_path / "data")


def test_a_facts_file_of_vectors_is_refused(add, texts, tmp_path):
    add("mine", "--text", *texts)
    path = tmp_path / "data" / "own" / "mine.toml"
    path.write_text(path.read_text().replace('kind = "text"', 'kind = "vectors"'))
    with pytest.raises(UsageError, match=r"unknown kind of dataset with tracks 'vectors'\. Known: images, text"):
        dataset_facts(path)


@pytest.mark.parametrize("kind", ["text", "images"])
def test_the_tracks_of_a_kind_are_complete(kind):
    tracks, components = tracks_of_kind(kind), discovery.load()
    assert set(tracks) == {"quick", "paper"}
    for table in tracks.values():
        setting = Track.model_validate(table).setting
        for part in ("encoder", "decoder", "posterior", "initialization"):
            choice = getattr(setting, part)
            components.make(part, choice.name, choice.params)
        metrics = [components.make("metric", each.name, each.params).name for each in setting.evaluation.metrics]
        assert ("perplexity" in metrics) == (kind == "text")


def test_own_tracks_come_before_those_of_the_kind(add, texts, tmp_path):
    add("mine", "--text", *texts)
    path = tmp_path / "data" / "own" / "mine.toml"
    shared = tracks_of_kind("text")
    assert dataset_facts(path).tracks == shared
    path.write_text(path.read_text() + "\n[tracks.quick]\nbudget = '1steps'\n")
    assert dataset_facts(path).tracks == shared | {"quick": {"budget": "1steps"}}


@pytest.mark.torch
def test_an_added_dataset_runs_on_several_workers_and_has_a_board(add, command, texts):
    add("mine", "--text", *texts)
    settings = ["latent_dim=2", "encoder.hidden=3", "decoder.hidden=3", "evaluation.every=2steps"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    ran = command(
        "run", "--dataset", "mine", "--data-dir", "data", "--budget", "2steps", "--seeds", 2, "--workers", 2, *chosen
    )
    assert ran.code == 0, ran.err
    board = command("leaderboard", "--dataset", "mine", "--format", "json")
    assert board.code == 0
    assert '"mine"' in board.out
