"""Counts what a user's own dataset holds: examples, words, unknown words, and what stands in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collapsebench.data.base import SPLITS
from collapsebench.data.files import facts_of, read
from collapsebench.data.pictures import Images
from collapsebench.data.splits import TextSplit
from collapsebench.data.text import MARKERS, UNKNOWN
from collapsebench.data.texts import Text
from collapsebench.examples import ImageSpec, Split, TextSpec


@dataclass(frozen=True)
class SplitCensus:
    """What one split holds, at the parameters of the dataset."""

    examples: int
    left_out: int
    """The documents that are too long, or beyond `test_documents`."""
    words: int | None
    """All words of a text, without the marks of beginning and end; None for images."""
    unknown_words: int | None
    """Those of them that are not in the vocabulary; None for images."""
    repeated: Mapping[str, int]
    """The examples of its files that stand in an earlier split, too, letter by letter, by this split; if any do."""

    def as_text(self, noun: str) -> str:
        """Write the counts for a reader."""
        return ", ".join(self._counts(noun))

    def _counts(self, noun: str) -> Iterator[str]:
        yield f"{self.examples:,} {noun}"
        if self.left_out:
            yield f"{self.left_out:,} left out"
        if self.words is not None and self.unknown_words is not None:
            share = self.unknown_words / self.words
            yield f"{self.words:,} words, {self.unknown_words:,} of them unknown ({share:.1%})"
        for split, count in self.repeated.items():
            yield f"{count:,} in {split}, too"


@dataclass(frozen=True)
class Census:
    """What the splits of a dataset hold."""

    splits: Mapping[str, SplitCensus]
    vocabulary: int | None
    """The words that are known, without the four markers; None for images."""
    size: str | None
    """The height and breadth of pictures, as `28x28`; None for text."""
    classes: int | None
    """The number of classes in training; None without labels."""

    def as_json(self) -> dict[str, Any]:
        """Give the counts as JSON has them."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the lines for a reader."""
        noun = "documents" if self.size is None else f"pictures of {self.size}"
        for name, split in self.splits.items():
            yield f"{name}: {split.as_text(noun)}"
        if self.vocabulary is not None:
            yield f"vocabulary: {self.vocabulary:,} words"
        yield f"classes: {'none' if self.classes is None else self.classes}"


def census(dataset: Text | Images, folder: Path) -> Census:
    """Count what a dataset holds. `folder` is the data folder. Raises DataError."""
    facts = facts_of(dataset)
    contents = {name: read(facts, name, folder).content for name in dataset.originals()}
    loaded = dataset.load(folder)
    examples = dataset.own_examples(contents)
    sets = {split: frozenset(examples[split]) for split in SPLITS}
    counted = {}
    for number, (split, part) in enumerate(zip(SPLITS, (loaded.train, loaded.valid, loaded.test), strict=True)):
        shared = {other: sum(each in sets[other] for each in examples[split]) for other in SPLITS[:number]}
        repeated = {other: count for other, count in shared.items() if count}
        counted[split] = SplitCensus(len(part), len(examples[split]) - len(part), *_words(part), repeated)
    labels = loaded.train.labels
    known = loaded.spec.vocabulary - len(MARKERS) if isinstance(loaded.spec, TextSpec) else None
    size = "{1}x{2}".format(*loaded.spec.shape) if isinstance(loaded.spec, ImageSpec) else None
    return Census(counted, known, size, None if labels is None else len(np.unique(labels)))


def _words(split: Split) -> tuple[int | None, int | None]:
    """Return the number of words of a split, and that of unknown ones."""
    if not isinstance(split, TextSplit):
        return None, None
    return int(split.lengths.sum()) - 2 * len(split), int((split.tokens == UNKNOWN).sum())
