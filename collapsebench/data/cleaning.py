"""The rules by which texts of users are cleaned. They are stated in the docstring of `texts.Text`.

The published files do not come here: they keep the published preprocessing to the last token.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from collapsebench.data.splits import Ints
from collapsebench.data.text import MARKERS, UNKNOWN
from collapsebench.errors import DataError

Lines: TypeAlias = Sequence[str]

BYTE_ORDER_MARK = "\ufeff"
INVISIBLE = re.compile(
    "[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb]"
)
"""Control characters that are no white space, and the marks of Unicode that nobody sees and that join nothing."""
JOINERS = "\u200c\u200d"
"""The invisible marks that belong to the spelling of words: of Persian and Hindi, and of emoji."""
BLANK_LETTERS = re.compile("[\u2800\u3164\uffa0]")
"""Letters that look like a blank: they separate words, too."""
UNUSUAL_SPACE = re.compile("[^\\S \t\n\r]|[\u2800\u3164\uffa0]")
NOTHING_SEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e0fff]+"
)
"""A word that has marks for letters that are not there."""
OWN_MARKERS = frozenset(MARKERS) - {MARKERS[UNKNOWN]}
"""The markers whose ids no word of a text may get. `<unk>` in a text means what it says."""


@dataclass(frozen=True)
class CleanText:
    """The documents of one file after cleaning."""

    documents: list[str]
    """The words of each document, with one blank between two of them."""
    labels: list[str] | None
    """The label of each document; None if the lines have none in front."""
    done: Mapping[str, int]
    """How often each rule had something to do, by the rule in words."""


def clean(texts: Mapping[str, Lines], labelled: bool | None) -> dict[str, CleanText]:
    """Return the lines of files, by the names of the files, as documents.

    `labelled` says whether the text before the first tab of a line is its label; None means: find out.
    Raises DataError, which names the file and the line.
    """
    counts: dict[str, Counter[str]] = {name: Counter({"lines": len(lines)}) for name, lines in texts.items()}
    readable = {name: list(_readable(name, lines, counts[name])) for name, lines in texts.items()}
    labelled = _find_labels(readable) if labelled is None else labelled
    return {name: _documents(name, lines, counts[name], labelled=labelled) for name, lines in readable.items()}


def _readable(name: str, lines: Lines, done: Counter[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines that have something to see, with their numbers: visible characters only, composed."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DataError(f"text file '{name}', line {number}: a NUL byte; is it UTF-16, or no text at all?")
        done["line ends other than \\n"] += line.count("\r")
        marked = number == 1 and line.startswith(BYTE_ORDER_MARK)
        done["byte-order marks removed"] += marked
        for part in list(filter(None, line[marked:].split("\r"))) or [""]:
            seen = _seen(part, done)
            if _visible_words(seen):
                yield number, seen
            else:
                done["lines without a visible word left out"] += 1


def _seen(line: str, done: Counter[str]) -> str:
    """Return a line without its invisible characters, composed, with plain blanks for blank letters."""
    if line.isascii() and line.isprintable():
        return line
    line, removed = INVISIBLE.subn("", line)
    done["invisible characters removed"] += removed
    done["unusual spaces taken as blanks"] += len(UNUSUAL_SPACE.findall(line))
    line = BLANK_LETTERS.sub(" ", line)
    if unicodedata.is_normalized("NFC", line):
        return line
    done["lines with accents composed (NFC)"] += 1
    return unicodedata.normalize("NFC", line)


def _label(line: str) -> str:
    """Return the text before the first tab; empty if there is none."""
    field, tab, _ = line.partition("\t")
    return " ".join(field.split()) if tab else ""


def _find_labels(texts: Mapping[str, list[tuple[int, str]]]) -> bool:
    """Return True if the lines have labels in front.

    They have if a tab follows the first words of every line, and these are one word, or repeat themselves; but not if
    all words are separated by tabs. Raises DataError if that is so for most of the lines only.
    """
    every = [line for numbered in texts.values() for _, line in numbered]
    if not any(" " in line for line in every) and any(line.count("\t") > 1 for line in every):
        return False
    lines = [(name, number, _label(line)) for name, numbered in texts.items() for number, line in numbered]
    found = Counter(label for *_, label in lines if label)
    if any(" " in label for label in found) and 2 * len(found) > found.total():
        return False
    without = next(((name, number) for name, number, label in lines if not label), None)
    if found and without is not None and 2 * found.total() > len(lines):
        raise DataError(
            f"text file '{without[0]}', line {without[1]}: no label and tab in front, as most lines have them; if they "
            "are no labels, write `labelled = False` into the class of the dataset"
        )
    return bool(found) and without is None


def _documents(name: str, lines: list[tuple[int, str]], done: Counter[str], *, labelled: bool) -> CleanText:
    documents: list[str] = []
    labels: list[str] = []
    for number, line in lines:
        label, text = (_label(line), line.partition("\t")[2]) if labelled else ("", line)
        if labelled and not label:
            raise DataError(f"text file '{name}', line {number}: no label and tab in front")
        words = _words(text, done)
        if words:
            documents.append(" ".join(words))
            labels.append(label)
        else:
            done["lines without a visible word left out"] += 1
    done["labels taken from in front of lines"] = len(labels) if labelled else 0
    done["documents"] = len(documents)
    return CleanText(documents, labels if labelled else None, {rule: count for rule, count in done.items() if count})


def _words(text: str, done: Counter[str]) -> list[str]:
    """Return the words of a document: those that can be seen, without the marks of beginning and end."""
    words = _visible_words(text)
    if OWN_MARKERS.isdisjoint(words):
        return words
    inner = _inner(words)
    marked = sum(word in OWN_MARKERS for word in inner)
    done["<s>, </s> and <pad> at the ends of documents removed"] += len(words) - len(inner)
    done["<s>, </s> and <pad> inside documents taken as words"] += marked
    return [f"\\{word}" if word in OWN_MARKERS else word for word in inner]


def _visible_words(text: str) -> list[str]:
    """Return the words of a text that can be seen, without joiners that join nothing."""
    words = text.split()
    if not NOTHING_SEEN.search(text):
        return words
    return [word.strip(JOINERS) for word in words if not NOTHING_SEEN.fullmatch(word)]


def _inner(words: list[str]) -> list[str]:
    """Return the words from the first to the last one that is no marker."""
    places = [i for i, word in enumerate(words) if word not in OWN_MARKERS]
    return words[places[0] : places[-1] + 1] if places else []


def classes(texts: Sequence[CleanText]) -> list[Ints] | None:
    """Return the labels of several files as the numbers of classes; None if they have none (see `numbered`)."""
    labels = [text.labels for text in texts if text.labels is not None]
    return None if len(labels) < len(texts) else numbered(labels)


def numbered(labels: Sequence[Sequence[str]]) -> list[Ints]:
    """Return labels in words as the numbers of classes, (N,) for each sequence of N labels.

    The classes are numbered from 0 in the order of the labels: by size if all are whole numbers, else by alphabet.
    """
    known = {label for each in labels for label in each}
    numeric = all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in known)
    ordered = sorted(known, key=lambda label: (int(label) if numeric else 0, label))
    numbers = {label: i for i, label in enumerate(ordered)}
    return [np.array([numbers[label] for label in each], np.int64) for each in labels]
