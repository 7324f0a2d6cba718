"""Datasets of text: three files, one document a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt

from collapsebench.data.base import SPLITS, FromFiles, Seed

if TYPE_CHECKING:
    from pathlib import Path

    from collapsebench.data.cleaning import CleanText
    from collapsebench.data.splits import Ints
    from collapsebench.data.text import Preprocessing
    from collapsebench.examples import Splits


class PreparedText(NamedTuple):
    """The documents of `train`, `valid` and `test`, one a line, and their classes, which may be missing."""

    lines: Mapping[str, Sequence[str]]
    classes: Mapping[str, Ints] | None = None


class PublishedText(FromFiles):
    """Text in three files, STEM.train.txt, STEM.valid.txt and STEM.test.txt, in the form that their authors published.

    The preprocessing is the published one, to the last token: white space separates words, the vocabulary is the most
    frequent training words, and documents that are too long are dropped.
    """

    stem: ClassVar[str]

    vocabulary_size: PositiveInt = Field(20000, description="how many of the most frequent training words are known")
    count_above: NonNegativeInt | None = Field(
        None, description="know the words that occur more often than this in training, instead of the most frequent"
    )
    max_tokens: PositiveInt = Field(200, description="documents of more words are dropped")
    test_documents: PositiveInt | None = Field(
        None, description="test on the first so many documents that are left; none: on all"
    )
    shuffle_seed: Seed | None = Field(
        None, description="shuffle the documents of every split first; none: they keep the order of the files"
    )

    def originals(self) -> list[str]:
        """See FromFiles."""
        return [f"{self.stem}.{split}.txt" for split in SPLITS]

    def lines(self, contents: Mapping[str, bytes]) -> Mapping[str, Sequence[str]]:
        """Return the documents of `train`, `valid` and `test`, one a line."""
        from collapsebench.data.text import read_lines

        return {split: read_lines(name, contents[name]) for split, name in zip(SPLITS, self.originals(), strict=False)}

    def _prepared(self, contents: Mapping[str, bytes]) -> PreparedText:
        """Return the lines from which the splits are made."""
        return PreparedText(self.lines(contents))

    def given(self, contents: Mapping[str, bytes]) -> Sequence[str] | None:
        """Return the words of the vocabulary, or None if it is made from the training documents."""
        del contents
        return None

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data.text import preprocess

        lines, classes = self._prepared(contents)
        return preprocess(lines, self._options(contents), classes)

    def words(self, folder: Path) -> Sequence[str]:
        """See Dataset: the markers and the known words. The files are read again."""
        from collapsebench.data.files import facts_of, read
        from collapsebench.data.text import known_words

        facts = facts_of(self)
        contents = {name: read(facts, name, folder).content for name in self.originals()}
        return known_words(self._prepared(contents).lines["train"], self._options(contents))

    def _options(self, contents: Mapping[str, bytes]) -> Preprocessing:
        from collapsebench.data.text import Preprocessing

        return Preprocessing(
            vocabulary_size=self.vocabulary_size,
            count_above=self.count_above,
            max_tokens=self.max_tokens,
            shuffle_seed=self.shuffle_seed,
            word_list=self.given(contents),
            test_documents=self.test_documents,
        )


class Text(PublishedText):
    r"""A user's own text in three files, STEM.train.txt, STEM.valid.txt and STEM.test.txt, one document a line.

    The files are UTF-8, plain or gzipped. They are cleaned by these rules, in this order:

    - Lines end with `\n`, `\r\n` or `\r`. A byte-order mark at the start is removed. What is not UTF-8, and a NUL byte,
      is an error that names the file and the line.
    - Invisible characters are removed: control characters, zero-width and soft-hyphen characters, marks of direction.
      The joiners U+200C and U+200D stay inside of words.
    - Accents are composed (Unicode's NFC), so that one word has one spelling.
    - If every line of the three files has a tab after its first word, or after some words that repeat themselves, these
      are its label: the class of the document, and none of its words. `labelled` says so, or denies it.
    - White space of every kind separates words: tabs, no-break spaces and all others of Unicode, and blank letters.
    - `<s>`, `</s>` and `<pad>` at both ends of a document are removed, as BOS and EOS are added anyway. Inside of a
      document they are words as all others: never the symbols of the harness. `<unk>` is the unknown word.
    - A line without a visible word is left out.

    `collapsebench data show NAME` prints how often each rule had something to do. From there the preprocessing is the
    published one: the vocabulary is the most frequent training words, and documents that are too long are dropped.

    >>> from collapsebench import Text
    >>> class Mine(Text):
    ...     name = "mine"
    ...     stem = "mine"
    >>> text = b"1\tthe cat sat\r\n0\tthe dog sat\r\n"
    >>> splits = Mine().parse({f"mine.{split}.txt": text for split in ("train", "valid", "test")})
    >>> len(splits.train), splits.spec, splits.train.labels.tolist()
    (2, TextSpec(vocabulary=8), [1, 0])
    """

    labelled: ClassVar[bool | None] = None
    """Whether the text before the first tab of every line is its label; None means: find out."""

    def cleaning(self, contents: Mapping[str, bytes]) -> dict[str, dict[str, int]]:
        """Return how often each rule has something to do, by the name of the file and the rule. Raises DataError."""
        names, cleaned = self.originals(), self._clean(contents)
        return {name: dict(cleaned[split].done) for name, split in zip(names, SPLITS, strict=False)}

    def own_examples(self, contents: Mapping[str, bytes]) -> dict[str, list[str]]:
        """Return every document, by split, once cleaned and before long ones are dropped. Raises DataError."""
        return {split: cleaned.documents for split, cleaned in self._clean(contents).items()}

    def _clean(self, contents: Mapping[str, bytes]) -> dict[str, CleanText]:
        """Return the cleaned documents of `train`, `valid` and `test`, with what was done. Raises DataError."""
        from collapsebench.data.cleaning import clean

        names = dict(zip(SPLITS, self.originals(), strict=False))
        cleaned = clean({names[split]: lines for split, lines in self.lines(contents).items()}, self.labelled)
        return {split: cleaned[name] for split, name in names.items()}

    def _prepared(self, contents: Mapping[str, bytes]) -> PreparedText:
        """See PublishedText."""
        from collapsebench.data.cleaning import classes

        cleaned = self._clean(contents)
        numbers = classes([cleaned[split] for split in SPLITS])
        lines = {split: cleaned[split].documents for split in SPLITS}
        return PreparedText(lines, None if numbers is None else dict(zip(SPLITS, numbers, strict=True)))


class PennTreebank(PublishedText):
    """Mikolov's Penn Treebank, one sentence a line."""

    name = "ptb"
    citation = "Mikolov et al. (2010), Recurrent neural network based language model; Marcus et al. (1993)"
    stem = "ptb"


class Yahoo(PublishedText):
    """Yahoo Answers, 100,000 training documents."""

    name = "yahoo"
    citation = "Yang et al. (2017), Improved Variational Autoencoders for Text Modeling using Dilated Convolutions"
    stem = "yahoo"
    vocabulary_file: ClassVar[str] = "vocab_from_train.txt"

    vocabulary: Literal["train", "given"] = Field(
        "train",
        description="where the known words come from: this dataset's training documents, or the given list of those of "
        "the official 100,000 (then vocabulary_size and count_above say nothing)",
    )

    def originals(self) -> list[str]:
        """See FromFiles."""
        return super().originals() + self._vocabulary_files()

    def _vocabulary_files(self) -> list[str]:
        return [self.vocabulary_file] if self.vocabulary == "given" else []

    def given(self, contents: Mapping[str, bytes]) -> Sequence[str] | None:
        """See PublishedText: the words of the given list, without the four markers at its start."""
        from collapsebench.data.text import MARKERS, read_lines

        files = self._vocabulary_files()
        return read_lines(files[0], contents[files[0]])[len(MARKERS) :] if files else None


class Yahoo9k(Yahoo):
    """Yahoo Answers without its large training file: the official validation file is split into two."""

    name = "yahoo-9k"
    split_at: ClassVar[int] = 9000

    def originals(self) -> list[str]:
        """See FromFiles."""
        return ["yahoo.valid.txt", "yahoo.test.txt", *self._vocabulary_files()]

    def lines(self, contents: Mapping[str, bytes]) -> Mapping[str, Sequence[str]]:
        """See PublishedText: lines 1 to 9,000 of the official validation file train, the others validate."""
        from collapsebench.data.text import read_lines

        valid, test = (read_lines(name, contents[name]) for name in ("yahoo.valid.txt", "yahoo.test.txt"))
        return {"train": valid[: self.split_at], "valid": valid[self.split_at :], "test": test}
