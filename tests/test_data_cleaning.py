"""Texts of users are cleaned by stated rules; the published files are not touched by them."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from originals import facts_table, write

from collapsebench import Text
from collapsebench.data.cleaning import clean
from collapsebench.data.text import BOS, EOS, MARKERS, UNKNOWN, documents, vocabulary
from collapsebench.data.texts import PublishedText
from collapsebench.errors import DataError

DOCUMENTS = ["the service was good", "we came back", "the food was slow", "we came back"]
GOOD = "".join(f"{document}\n" for document in DOCUMENTS)
SPLITS = ("train", "valid", "test")


class Mine(Text):
    """A user's text."""

    name = "mine"
    stem = "mine"


class Published(PublishedText):
    """The same files, as if somebody had published them."""

    name = "mine"
    stem = "mine"


def files(*texts):
    """The three files, of one text or of three."""
    texts = texts if len(texts) == 3 else texts * 3
    return {f"mine.{split}.txt": text.encode() for split, text in zip(SPLITS, texts, strict=True)}


def cleaned(*lines, labelled=None):
    """The documents of one file of these lines."""
    return clean({"x": lines}, labelled)["x"]


def hashes(*texts):
    return Mine().parse(files(*texts)).hashes()


def labels_of(text):
    return Mine().parse(files(text)).train.labels


def test_what_needs_no_cleaning_is_as_published():
    assert hashes(GOOD) == Published().parse(files(GOOD)).hashes()
    text = cleaned(*GOOD.splitlines())
    assert (text.documents, text.labels, text.done) == (DOCUMENTS, None, {"lines": 4, "documents": 4})
    assert Mine().cleaning(files(GOOD)) == dict.fromkeys(files(GOOD), text.done)


SAME = {
    "byte-order mark": "\ufeff" + GOOD,
    "two byte-order marks": "\ufeff\ufeff" + GOOD,
    "joined files with byte-order marks": GOOD.replace("\n", "\n\ufeff"),
    "line ends of Windows": GOOD.replace("\n", "\r\n"),
    "line ends of old": GOOD.replace("\n", "\r"),
    "line ends of two kinds": GOOD.replace("\n", "\r\r\n"),
    "no line end at the end": GOOD.rstrip("\n"),
    "blank lines": GOOD.replace("\n", "\n \n\n\t\n"),
    "no-break spaces": GOOD.replace(" ", "\xa0"),
    "all kinds of spaces": GOOD.replace("the ", "the\u2003\u3000\u2009\u202f\v\f\x1c\x85").replace("we ", "we\u1680"),
    "separators of lines": GOOD.replace(" ", "\u2028"),
    "spaces at the ends": GOOD.replace("\n", " \xa0\n "),
    "tabs between words": GOOD.replace(" ", "\t"),
    "a tab somewhere": GOOD.replace("food was", "food\twas"),
    "zero-width spaces": GOOD.replace("o", "\u200bo"),
    "soft hyphens": GOOD.replace("ser", "ser\xad"),
    "marks of direction": GOOD.replace("was", "\u200ewas\u202c"),
    "control characters": GOOD.replace("was", "w\x07as\x1b\x7f\x9f"),
    "joiners at the ends of words": GOOD.replace("was", "\u200dwas\u200c"),
    "invisible documents": GOOD.replace("\n", "\n\u200b\n\x01\n\u3164\u2800\n\u200d \ufe0f\n"),
    "invisible words": GOOD.replace(" ", " \u200b \u3164 \u2060\u034f "),
    "marks of beginning and end": GOOD.replace("\n", " </s>\n<s> ").removesuffix("<s> "),
    "padding": GOOD.replace("\n", " </s> <pad> <pad>\n"),
    "documents of markers alone": GOOD.replace("\n", "\n<s> </s>\n"),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_text_that_looks_the_same_is_the_same(kind):
    assert hashes(SAME[kind]) == hashes(GOOD)
    assert hashes(SAME[kind], GOOD, GOOD) == hashes(GOOD)


def test_accents_have_one_spelling():
    text = "un café à la crème, Å\n"
    decomposed = unicodedata.normalize("NFD", text).replace("A\u030a", "\u212b")
    assert decomposed != text
    assert hashes(decomposed) == hashes(text)
    assert cleaned(decomposed).done["lines with accents composed (NFC)"] == 1


def test_joiners_inside_of_words_are_spelling():
    words = "می\u200cخواهم क्\u200dष 👩\u200d👩\u200d👧 ❤\ufe0f"
    assert cleaned(words).documents == [words]


def test_the_symbols_of_the_harness_are_no_words_of_a_text():
    """Inside of a document a marker is a word; only `<unk>` is what it says."""
    train = "<s> one </s> <s> two <pad> three <unk> </s>\n" * 2
    tokens = Mine().parse(files(train)).train.tokens
    (first, second) = tokens.reshape(2, -1)
    assert first.tolist() == second.tolist()
    assert (first[0], first[-1]) == (BOS, EOS)
    inside = first[1:-1]
    assert len(inside) == 7  # one </s> <s> two <pad> three <unk>
    assert inside[-1] == UNKNOWN
    assert (inside[:-1] >= len(MARKERS)).all()
    assert len(set(inside.tolist())) == 7
    done = cleaned("<s> one </s> <s> two <pad> three <unk> </s>").done
    assert done["<s>, </s> and <pad> at the ends of documents removed"] == 2
    assert done["<s>, </s> and <pad> inside documents taken as words"] == 3


def test_labels_in_front_are_no_words():
    labelled = "".join(f"{i % 2}\t{document}\n" for i, document in enumerate(DOCUMENTS))
    plain, split = Mine().parse(files(GOOD)), Mine().parse(files(labelled))
    assert split.spec == plain.spec
    assert np.array_equal(split.train.tokens, plain.train.tokens)
    assert split.train.labels.tolist() == [0, 1, 0, 1]
    assert plain.train.labels is None
    assert split.hashes() != plain.hashes()
    for dirty in ("\ufeff" + labelled, labelled.replace("\n", "\r\n"), labelled.replace("\t", "\t\xa0\u200b")):
        assert Mine().parse(files(dirty)).hashes() == split.hashes()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "-1", "9"], [2, 1, 0, 1]),
        (["pos", "neg", "pos", "neg"], [1, 0, 1, 0]),
        (["Society & Culture", "Sports", "Sports", "Society & Culture"], [0, 1, 1, 0]),
        (["17", "18", "19", "20"], [0, 1, 2, 3]),
    ],
)
def test_classes_are_numbered_in_the_order_of_the_labels(labels, expected):
    text = "".join(f"{label}\t{document}\n" for label, document in zip(labels, DOCUMENTS, strict=True))
    assert labels_of(text).tolist() == expected


def test_classes_are_those_of_all_three_files():
    splits = Mine().parse(files("b\tone\nc\ttwo\n", "c\tone\n", "a\tone\n"))
    assert [split.labels.tolist() for split in (splits.train, splits.valid, splits.test)] == [[1, 2], [2], [0]]


@pytest.mark.parametrize(
    "text",
    [
        "one\ttwo three\nfour five\nsix seven\n",
        "one\ttwo\tthree\nfour\tfive\tsix\n",
        "a long title\tand its text\nanother title\tand another text\na third\tthat differs\n",
        "\tone two\n\tthree four\n",
    ],
    ids=["rare", "between all words", "titles", "indented"],
)
def test_other_tabs_are_white_space(text):
    lines = text.splitlines()
    assert cleaned(*lines).labels is None
    assert cleaned(*lines).documents == [" ".join(line.split()) for line in lines]


def test_a_line_without_the_label_of_the_others_is_an_error_with_its_number():
    contents = files(GOOD) | files("0\tone two\n\n1\tthree four\nfive six\n")
    with pytest.raises(DataError, match=r"text file 'mine\.train\.txt', line 4: no label and tab in front, as most"):
        Mine().parse(contents)
    with pytest.raises(DataError, match="line 2: no label and tab in front"):
        cleaned("0\tone", "two", labelled=True)
    assert cleaned("0\tone", "1\ttwo", labelled=False).documents == ["0 one", "1 two"]


def test_labels_stay_with_their_documents():
    """Whatever is dropped, shuffled or cut off."""
    lines = [f"{i % 7}\t" + " ".join([f"w{i % 7}"] * (1 + i % 4)) for i in range(60)]
    lines[5:5] = ["3\t\u200b", "", "2\t<s> </s>", "4\t" + "x " * 50]
    text = "\n".join(lines)
    splits = Mine(max_tokens=3, shuffle_seed=3, test_documents=20).parse(files(text))
    words = vocabulary(documents([line.partition("\t")[2] for line in lines], 3), options=_options())
    assert len(splits.test) == 20
    for split in (splits.train, splits.valid, splits.test):
        for batch in split.batches(4):
            for row, i in zip(batch.x, batch.index, strict=True):
                assert words[row[1]] == f"w{split.labels[i]}"


def _options():
    from collapsebench.data.text import Preprocessing

    return Preprocessing()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"one\ntwo\nf\xfcnf\n", r"text file 'mine\.train\.txt', line 3: not UTF-8"),
        ("one\ntwo\n".encode("utf-16"), "line 1: not UTF-8, but perhaps UTF-16"),
        ("one\ntwo\n".encode("utf-16-le"), r"text file 'mine\.train\.txt', line 1: a NUL byte"),
        (b"one\ntw\0o\n", r"text file 'mine\.train\.txt', line 2: a NUL byte"),
        (b"\xed\xa0\x80\n", "line 1: not UTF-8"),
    ],
)
def test_what_is_no_text_is_one_line_with_file_and_line(content, complaint):
    with pytest.raises(DataError, match=complaint) as caught:
        Mine().parse(files(GOOD) | {"mine.train.txt": content})
    assert "\n" not in str(caught.value)


def test_a_text_without_a_visible_word_is_one_line():
    with pytest.raises(DataError, match="no document of the valid split"):
        Mine().parse(files(GOOD, "\u200b\n\u3164\n", GOOD))


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.lists(st.text(CHARACTERS | st.sampled_from(" \t\ufeff\u200b\u200d\xa0\r\u0301e"), max_size=12), max_size=6)


@given(TEXTS)
def test_cleaning_twice_is_cleaning_once(lines):
    once = cleaned(*lines, labelled=False)
    again = cleaned(*once.documents, labelled=False)
    assert again.documents == once.documents
    assert again.done == {key: len(once.documents) for key in ("lines", "documents") if once.documents}


@given(TEXTS)
def test_no_visible_character_is_lost(lines):
    """All letters and digits stay, composed and in their order."""
    letters = {"L", "N", "P"}
    before = unicodedata.normalize("NFC", " ".join(lines))
    after = " ".join(cleaned(*lines, labelled=False).documents)
    blank = "\u115f\u1160\u3164\uffa0"
    kept = [
        Counter(
            c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] in letters and c not in blank
        )
        for text in (before, after)
    ]
    assert kept[0] == kept[1]


WEIRD = "\ufeff<s> the cafe\u0301 </s>\r\n0\tzero\u200bwidth\n\u200b\n<pad> x\n"


def test_published_files_keep_their_preprocessing_to_the_last_token():
    lines = WEIRD.removesuffix("\n").split("\n")
    words = vocabulary([line.split() for line in lines], _options())
    ids = {word: i for i, word in enumerate(words)}
    split = Published().parse(files(WEIRD)).train
    expected = [token for line in lines for token in (BOS, *(ids[word] for word in line.split()), EOS)]
    assert split.tokens.tolist() == expected
    assert split.labels is None
    assert Mine().parse(files(WEIRD)).train.sha256() != split.sha256()


PLUGIN = '''
from pathlib import Path
from collapsebench import Text, hookimpl

class Mine(Text):
    """My text."""
    name = "mine"
    stem = "mine"
    facts = Path(__file__).with_suffix(".toml")

@hookimpl
def collapsebench_components():
    return [Mine]
'''
TRACK = """
[tracks.quick]
description = "tiny"
budget = "2steps"
latent_dim = 2
batch_size = 4
encoder = { name = "lstm", embedding = 4, hidden = 4 }
decoder = { name = "lstm", embedding = 4, hidden = 4 }
optimizer = { name = "adam", learning_rate = 1e-3 }
evaluation = { every = "2steps", metrics = { neg-elbo = {} } }
"""


def test_data_show_says_what_was_done(command, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "mine.toml").write_text(facts_table(files(GOOD), sha256=None))
    options = ["--plugin", tmp_path / "mine.py", "--data-dir", tmp_path / "data"]
    assert "cleaning: files are missing" in command("data", "show", "mine", *options).out
    write(tmp_path / "data", files("\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), GOOD))
    card = command("data", "show", "mine", *options)
    assert card.code == 0
    assert "  mine.train.txt: lines: 4, byte-order marks removed: 1, documents: 4\n" in card.out
    assert "  mine.valid.txt: lines: 4, line ends other than \\n: 4, documents: 4\n" in card.out
    assert "  mine.test.txt: lines: 4, documents: 4\n" in card.out
    found = json.loads(command("data", "show", "mine", "--json", *options).out)["cleaning"]
    assert found["mine.test.txt"] == {"lines": 4, "documents": 4}
    write(tmp_path / "data", {"mine.valid.txt": b"a\0b\n"})
    assert "cleaning: text file 'mine.valid.txt', line 1: a NUL byte" in command("data", "show", "mine", *options).out
    assert "cleaning" not in command("data", "show", "yahoo").out


@pytest.mark.slow
@pytest.mark.torch
def test_equal_texts_have_one_protocol(command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "mine.toml").write_text(facts_table(files(GOOD), sha256=None) + TRACK)
    for i, kind in enumerate(("good", "byte-order mark", "line ends of Windows")):
        write(tmp_path / kind, files(SAME.get(kind, GOOD)))
        answer = command("run", "--dataset", "mine", "--plugin", tmp_path / "mine.py", "--data-dir", tmp_path / kind)
        assert (answer.code, answer.err) == (0, "")
        assert f"1 runs, {int(i > 0)} already stored" in answer.out
