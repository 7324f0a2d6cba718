r"""Docstrings as a terminal shows them: what they have between \( and \) in LaTeX is written in Unicode."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections import deque
from html.entities import html5
from typing import Final

FORMULA: Final = re.compile(r"\\\((.+?)\\\)", re.DOTALL)

TOKEN: Final = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)

SIGNS: Final = {",": " ", "quad": " ", "|": "‖", "cdot": "·", "infty": "∞", "partial": "∂", "to": "→", "sup": "sup"} | (
    dict.fromkeys(("mathrm", "text", "big", "left", "right"), "")
)
"""Commands whose sign has another name in HTML, or none. Most signs have the same name there: `lambda`, `sum`, `le`."""

ACCENTS: Final = {"\\bar": "\N{COMBINING MACRON}", "\\tilde": "\N{COMBINING TILDE}"}

POWERS: Final = dict(zip("0123456789+-*", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻*", strict=True))

WORD: Final = r"[\w.*]+"

SCRIPT: Final = r"([^\W_]|[.*⊤])+"
"""A word without a subscript: `e^s_t` would be read as a subscript of the power."""

SINGLE: Final = r"[\d.]+|\w(_\w+)?[²³]?"
"""A number, or one letter: `1/MB` would be read as a product with B."""


def readable(docstring: str, width: int = 100) -> str:
    r"""Return a docstring for a terminal: formulas in Unicode, paragraphs and items filled anew.

    >>> readable(r"The weight is \(\beta_t = \frac{1}{2} e^{-t}\).")
    'The weight is β_t = 1/2 e^(-t).'
    """
    text = FORMULA.sub(lambda found: formula(found[1]), inspect.cleandoc(docstring))
    return "\n\n".join(_filled(paragraph, width) for paragraph in re.split(r"\n{2,}", text))


def _filled(paragraph: str, width: int) -> str:
    if paragraph.startswith(">>> "):
        return paragraph
    items = [" ".join(item.split()) for item in re.split(r"\n(?=- )", paragraph)]
    return "\n".join(_wrapped(item, width) for item in items)


def _wrapped(text: str, width: int) -> str:
    """Fill a paragraph or an item. No line begins with a minus of a formula, which would be read as the next item."""
    indent = "  " if text.startswith("- ") else ""
    glued = re.sub(" (?=- )", "\0", text)
    filled = textwrap.fill(glued, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\0", " ")


def formula(latex: str) -> str:
    r"""Return a formula in LaTeX on one line of Unicode. A command that is not known becomes its name.

    >>> formula(r"\sum_j KL(\bar q_j \| p_j) \le 10^{-5}")
    '∑_j KL(q̄_j ‖ p_j) ≤ 10⁻⁵'
    """
    return _sequence(deque(TOKEN.findall(" ".join(latex.split()))))


def _sequence(tokens: deque[str]) -> str:
    """Read up to the brace that ends a group, or to the end."""
    parts = []
    while tokens and tokens[0] != "}":
        parts.append(_part(tokens))
    if tokens:
        tokens.popleft()
    return re.sub(" +", " ", re.sub(r"(?<=\w)√", " √", "".join(parts))).strip()


def _part(tokens: deque[str]) -> str:
    match token := tokens.popleft():
        case "{":
            text = _sequence(tokens)
        case "_":
            text = f"_{_grouped(_argument(tokens), SCRIPT)}"
        case "^":
            text = _power(_argument(tokens))
        case "\\frac":
            text = f"{_grouped(_argument(tokens))}/{_grouped(_argument(tokens), SINGLE)}"
        case "\\sqrt":
            text = f"√{_grouped(_argument(tokens))}"
        case _ if token in ACCENTS:
            text = _argument(tokens) + ACCENTS[token]
        case _:
            text = _sign(token)
    return text


def _argument(tokens: deque[str]) -> str:
    """Read what a command or a script applies to: a group, or one sign."""
    while tokens and tokens[0] == " ":
        tokens.popleft()
    return _part(tokens) if tokens else ""


def _sign(token: str) -> str:
    if not token.startswith("\\"):
        return token
    name = token[1:]
    return SIGNS.get(name, html5.get(f"{name};", name))


def _power(exponent: str) -> str:
    if exponent and set(exponent) <= POWERS.keys():
        return "".join(POWERS[sign] for sign in exponent)
    return f"^{_grouped(exponent, SCRIPT)}"


def _grouped(text: str, whole: str = WORD) -> str:
    """Return a part in brackets, unless it is whole without."""
    return text if re.fullmatch(whole, text) else f"({text})"
