"""Datasets of text: three files, one document a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from collapsebench.data.base import FromFiles, Seed

if TYPE_CHECKING:
    from collapsebench.examples import Splits


class Text(FromFiles):
    r"""Text in three files, STEM.train.txt, STEM.valid.txt and STEM.test.txt, one document a line.

    The preprocessing is the published one: blanks separate words, the vocabulary is the most frequent training words,
    and documents that are too long are dropped.

    >>> from collapsebench import Text
    >>> class Mine(Text):
    ...     name = "mine"
    ...     stem = "mine"
    >>> text = b"the cat sat\nthe dog sat\n"
    >>> splits = Mine().parse({f"mine.{split}.txt": text for split in ("train", "valid", "test")})
    >>> len(splits.train), splits.spec
    (2, TextSpec(vocabulary=8))
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
        return [f"{self.stem}.{split}.txt" for split in ("train", "valid", "test")]

    def lines(self, contents: Mapping[str, bytes]) -> Mapping[str, Sequence[str]]:
        """Return the documents of `train`, `valid` and `test`, one a line."""
        from collapsebench.data.text import read_lines

        names = {split: f"{self.stem}.{split}.txt" for split in ("train", "valid", "test")}
        return {split: read_lines(name, contents[name]) for split, name in names.items()}

    def given(self, contents: Mapping[str, bytes]) -> Sequence[str] | None:
        """Return the words of the vocabulary, or None if it is made from the training documents."""
        del contents
        return None

    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """See FromFiles."""
        from collapsebench.data.text import Preprocessing, preprocess

        options = Preprocessing(
            vocabulary_size=self.vocabulary_size,
            count_above=self.count_above,
            max_tokens=self.max_tokens,
            shuffle_seed=self.shuffle_seed,
            word_list=self.given(contents),
            test_documents=self.test_documents,
        )
        return preprocess(self.lines(contents), options)


class PennTreebank(Text):
    """Mikolov's Penn Treebank, one sentence a line."""

    name = "ptb"
    citation = "Mikolov et al. (2010), Recurrent neural network based language model; Marcus et al. (1993)"
    stem = "ptb"


class Yahoo(Text):
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
        """See Text: the words of the given list, without the four markers at its start."""
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
        """See Text: lines 1 to 9,000 of the official validation file train, the others validate."""
        from collapsebench.data.text import read_lines

        valid, test = (read_lines(name, contents[name]) for name in ("yahoo.valid.txt", "yahoo.test.txt"))
        return {"train": valid[: self.split_at], "valid": valid[self.split_at :], "test": test}
