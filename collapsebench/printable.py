"""Makes any text safe to print: names and messages of records, plugins and files are written by others.

A terminal obeys control characters, a reader believes what a change of direction reorders, and two names that differ in
an invisible character look equal. All of these are shown as escapes, as Python's `repr` shows them.
"""

from __future__ import annotations

import re
import unicodedata

IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Letters and marks that no font shows. Unicode calls them default-ignorable code points."""


def printable(text: str) -> str:
    r"""Return the text in one line in which every character can be seen: others become escapes such as `\x1b`.

    These are controls (line ends and tabs, too), changes of direction, characters without width, halves of surrogate
    pairs, private and unassigned characters. Spaces of other widths stay. The result is equal if it is given again.

    >>> print(printable("skip\x1b[2J\n"))
    skip\x1b[2J\n
    """
    if text.isprintable() and not IGNORABLE.search(text):
        return text
    return "".join(character if _is_seen(character) else escape(character) for character in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, as a traceback. Its line ends stay, and tabs become spaces."""
    return "\n".join(map(printable, text.expandtabs().replace("\r\n", "\n").split("\n")))


def escape(character: str) -> str:
    r"""Return the escape of one character, as in a Python string: `\n`, `\x1b`, `\u202e`."""
    return character.encode("unicode_escape").decode("ascii")


def _is_seen(character: str) -> bool:
    if IGNORABLE.match(character):
        return False
    return character.isprintable() or unicodedata.category(character) == "Zs"
