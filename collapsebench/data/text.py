"""The published preprocessing of text, that of Kim et al. 2018 (harvardnlp/sa-vae). It gives the same numbers.

White space separates words. A document with no words or with more than `max_tokens` is dropped before the words are
counted. The vocabulary is four markers and the most frequent words of the training documents. If two words are equally
frequent, the one that appears first is first. Other words become `<unk>`. BOS and EOS are added. A batch never mixes
lengths (`splits.TextSplit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np

from collapsebench.data.splits import Ints, TextSplit
from collapsebench.errors import DataError
from collapsebench.examples import Splits, TextSpec

MARKERS = ("<pad>", "<unk>", "<s>", "</s>")
"""The words with the ids 0 to 3: padding, unknown word, BOS, EOS."""
UNKNOWN, BOS, EOS = 1, 2, 3

Document: TypeAlias = list[str]


@dataclass(frozen=True)
class Preprocessing:
    """The options of the published preprocessing."""

    vocabulary_size: int = 20000
    count_above: int | None = None
    """Keep the words that occur more often than this number, instead of the most frequent ones."""
    max_tokens: int = 200
    shuffle_seed: int | None = None
    """The seed that shuffles the documents of every split first; None if they are not shuffled."""
    word_list: Sequence[str] | None = None
    """The words of the vocabulary, instead of those of the training documents."""
    test_documents: int | None = None
    """The number of documents of the test split that are kept, from the first on; None for all."""


def read_lines(name: str, content: bytes) -> list[str]:
    r"""Return the lines of a UTF-8 text. Only `\n` ends a line. Raises DataError, which names the first bad line."""
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = ", but perhaps UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
        raise DataError(f"text file '{name}', line {line}: not UTF-8{hint} ({error.reason})") from None
    return lines[:-1] if lines[-1] == "" else lines


def documents(lines: Iterable[str], max_tokens: int) -> list[Document]:
    """Return the words of every line that has between one and `max_tokens` words."""
    return [words for words in map(str.split, lines) if 0 < len(words) <= max_tokens]


def vocabulary(train: Iterable[Document], options: Preprocessing) -> list[str]:
    """Return the words in the order of their ids; the markers are first.

    A word that is written like a marker counts as one of the most frequent words, but gets no id of its own.
    """
    words = options.word_list
    if words is None:
        counts = Counter(chain.from_iterable(train))  # in order of first appearance
        if options.count_above is None:
            words = [word for word, _ in counts.most_common()][: options.vocabulary_size]
        else:
            words = [word for word, count in counts.items() if count > options.count_above]
    return [*MARKERS, *(word for word in words if word not in MARKERS)]


def encode(texts: Sequence[Document], words: Sequence[str], classes: Ints | None = None) -> TextSplit:
    """Return the documents as ids, each from BOS to EOS, and with their classes if they have any."""
    ids = {word: i for i, word in enumerate(words)}
    tokens = (token for text in texts for token in (BOS, *(ids.get(word, UNKNOWN) for word in text), EOS))
    lengths = np.array([len(text) + 2 for text in texts], dtype=np.int32)
    return TextSplit(np.fromiter(tokens, np.int32, int(lengths.sum())), lengths, classes)


def shuffles(seed: int, sizes: Mapping[str, int]) -> dict[str, Ints]:
    """Draw a permutation of each split from numpy's legacy generator, in the order of the released program."""
    rng = np.random.RandomState(seed)
    return {split: rng.permutation(sizes[split]) for split in ("valid", "test", "train")}


@dataclass(frozen=True)
class _Documents:
    """The documents of one split, and the class of each; None if they have no classes."""

    texts: list[Document]
    classes: Ints | None

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: Sequence[int] | Ints) -> _Documents:
        return _Documents([self.texts[i] for i in rows], None if self.classes is None else self.classes[rows])


def known_words(train: Iterable[str], options: Preprocessing) -> list[str]:
    """Return the vocabulary that `preprocess` makes of these lines of the training split."""
    return vocabulary(documents(train, options.max_tokens), options)


def preprocess(
    lines: Mapping[str, Iterable[str]], options: Preprocessing, classes: Mapping[str, Ints] | None = None
) -> Splits:
    """Return the splits of `train`, `valid` and `test`. `classes` has the class of each line, if lines have classes.

    Raises DataError if a split has no documents left.
    """
    splits = {}
    for split in ("train", "valid", "test"):
        every = _Documents([line.split() for line in lines[split]], None if classes is None else classes[split])
        kept = every[[i for i, words in enumerate(every.texts) if 0 < len(words) <= options.max_tokens]]
        if not len(kept):
            raise DataError(f"no document of the {split} split has between 1 and max_tokens={options.max_tokens} words")
        splits[split] = kept
    words = vocabulary(splits["train"].texts, options)
    if options.shuffle_seed is not None:
        orders = shuffles(options.shuffle_seed, {split: len(kept) for split, kept in splits.items()})
        splits = {split: splits[split][order] for split, order in orders.items()}
    splits["test"] = splits["test"][range(len(splits["test"]))[: options.test_documents]]
    train, valid, test = (
        encode(splits[name].texts, words, splits[name].classes) for name in ("train", "valid", "test")
    )
    return Splits(TextSpec(len(words)), train, valid, test)
