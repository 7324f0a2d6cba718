"""The tables of docs/combining.md that are computed. cog writes them, as those of docs/paper.md (see `paper`).

What they show is computed by `composing`, which lies with the tests.
"""

import re
from collections.abc import Iterable
from string import ascii_letters

from composing import KINDS, Ending, Trial, pairs, shipped, singles
from paper import table

PLACEHOLDERS = "AB"
"""What stands for the first and the second method of a line, so that the lines of pairs can be told together."""


def exceptions() -> str:
    """The methods that do not train on every kind of data."""
    names = {kind: [name for name, on, trial in singles() if on == kind and not trains(trial)] for kind in KINDS}
    rows = [[kind, ", ".join(f"`{name}`" for name in found)] for kind, found in names.items() if found]
    return table(["data", "methods that are refused"], rows)


def trains(trial: Trial) -> bool:
    """Whether a trial ends with finite values."""
    return trial.ending in {Ending.TRAINS, Ending.ALIKE}


def matrix() -> str:
    """A row and a column for each method. The row is the method that is written first."""
    names, marks = list(shipped()), letters()
    head = ["", "", *(str(number) for number in range(1, len(names) + 1))]
    rows = (
        [str(number), f"`{row}`", *(cell(row, column, marks) for column in names)]
        for number, row in enumerate(names, 1)
    )
    return table(head, rows)


def cell(row: str, column: str, marks: dict[str, str]) -> str:
    """The mark of one pair, nothing on the diagonal."""
    if row == column:
        return ""
    trial = pairs()[row, column]
    return marks[general(trial.text)] if trial.ending is Ending.REFUSED else trial.ending.value


def refusals() -> str:
    """What the letters of the matrix mean."""
    return table(["", "what the harness says"], ([letter, text] for text, letter in letters().items()))


def alike() -> str:
    """Why some pairs train as one of the two."""
    return table(["", "why"], (["=", text] for text in distinct(each.text for each in tried(Ending.ALIKE))))


def letters() -> dict[str, str]:
    """A letter for each reason to refuse a pair."""
    reasons = distinct(general(each.text) for each in tried(Ending.REFUSED))
    return dict(zip(reasons, ascii_letters, strict=False))


def tried(ending: Ending) -> list[Trial]:
    """The pairs that ended so."""
    return [trial for trial in pairs().values() if trial.ending is ending]


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, in the order of letters."""
    return sorted(set(texts))


def general(text: str) -> str:
    """The line of a refusal with placeholders for the methods that it names."""
    named = dict.fromkeys(name for name in re.findall(r"'([\w-]+)'", text) if name in shipped())
    for name, placeholder in zip(named, PLACEHOLDERS, strict=False):
        text = re.sub(rf"'?(?<![\w-]){name}(?![\w-])'?", f"*{placeholder}*", text)
    return text
