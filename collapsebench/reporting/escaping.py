"""Escapes text for each format, at the border where it enters the format.

Names, titles, messages and environments of records are written by others. In a format they must stay the text that they
are: no formula of a spreadsheet, no command of LaTeX, no link or tag of a page, no control character of a terminal.
"""

from __future__ import annotations

import html as standard_html
import json
import re
import unicodedata
from typing import Any

from collapsebench.printable import printable

# ---------------------------------------------------------------------------------------------- Markdown and HTML

ACTIVE = re.compile(
    r"""
      [\\`*|<~$]                                           # code, emphasis, cells, tags, strikes, mathematics
    | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9])                 # emphasis; within a word it has no meaning
    | &(?=[\#A-Za-z])                                      # entities
    | \](?=[(\[:]) | \[(?=[\[^]) | ^\[(?=[\ xX]\])         # links, images, definitions, footnotes, boxes to tick
    | (?<=[A-Za-z]):(?=//) | (?<=mailto): | (?<=xmpp): | (?<=www)\. | (?<=\S)@(?=\S)  # addresses that become links
    | ^-(?=[-\s]|$) | ^\+(?=[+\s]|$) | ^[>%:\#] | \#$       # lists, quotes, comments and headings
    | (?<=^\d)[.)](?=\s|$) | (?<=^\d{2})[.)](?=\s|$) | (?<=^\d{3})[.)](?=\s|$)    # numbered lists
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What has a meaning in CommonMark, in GitHub's extensions or in MyST, where it stands in a line of its own."""


def markdown(text: str) -> str:
    """Escape a text for a cell, a heading or an item of a list in Markdown."""
    return ACTIVE.sub(r"\\\g<0>", printable(text).strip())


def html(text: str) -> str:
    """Escape a text for an element or an attribute of HTML."""
    return standard_html.escape(printable(text))


# ---------------------------------------------------------------------------------------------- LaTeX

LETTERS = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "ς": "varsigma",
    "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma",
    "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi",
    "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
"""The Greek letters that are no Latin letters, by LaTeX's names."""
SYMBOLS = {
    "±": "pm", "∓": "mp", "×": "times", "÷": "div", "·": "cdot", "∗": "ast", "√": "surd", "∞": "infty", "¬": "neg",
    "≤": "leq", "≥": "geq", "≪": "ll", "≫": "gg", "≠": "neq", "≈": "approx", "≡": "equiv", "∼": "sim", "∝": "propto",
    "↓": "downarrow", "↑": "uparrow", "→": "rightarrow", "←": "leftarrow", "↔": "leftrightarrow", "⇒": "Rightarrow",
    "∂": "partial", "∇": "nabla", "∑": "sum", "∏": "prod", "∫": "int", "∈": "in", "∅": "emptyset", "∀": "forall",
    "∃": "exists", "‖": "|", "∥": "parallel", "⊕": "oplus", "⊗": "otimes", "⟨": "langle", "⟩": "rangle", "ℓ": "ell",
    "†": "dagger", "‡": "ddagger", "∧": "wedge", "∨": "vee", "∪": "cup", "∩": "cap", "⊂": "subset", "⊆": "subseteq",
    "ϵ": "epsilon", "ϕ": "phi", "ϑ": "vartheta", "µ": "mu",
}  # fmt: skip
"""The symbols of mathematics, by LaTeX's names."""
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0331": "b",
}  # fmt: skip
"""The accents that every encoding of LaTeX's fonts has, by Unicode's combining characters."""
LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    **{character: f"${character}$" for character in "<>|"},
    "−": "$-$",
    **{character: rf"$\{name}$" for character, name in (LETTERS | SYMBOLS).items()},
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)),
    **{character: f"$^{digit}$" for digit, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{character: f"$_{digit}$" for digit, character in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "œ": r"\oe{}", "Œ": r"\OE{}",
    "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "—": "---", "–": "--", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`",
    "’": "'", "§": r"\S{}", "©": r"\copyright{}", "°": r"$^\circ$", "•": r"$\bullet$", "¡": "!`", "¿": "?`",
    "\u00a0": "~",
}  # fmt: skip
"""What is written in place of a character. All of it is ASCII and needs no package."""


def latex(text: str) -> str:
    """Escape a text for a cell or a caption of LaTeX. A character that its fonts may lack becomes `[U+4E2D]`."""
    found = "".join(map(_latex, unicodedata.normalize("NFC", printable(text).strip())))
    # After the end of a row, LaTeX reads a bracket or a star as an argument.
    return f"{{}}{found}" if found.startswith(("[", "*")) else found


def latex_comment(text: str) -> str:
    """Escape a text for a comment of LaTeX: it must stay in its line."""
    return printable(text)


def _latex(character: str) -> str:
    if character in LATEX:
        return LATEX[character]
    if character.isascii():
        return character
    base, *accents = list(unicodedata.normalize("NFD", character))
    if accents and all(accent in ACCENTS for accent in accents):
        found = _latex(base)
        for accent in accents:
            found = rf"\{ACCENTS[accent]}{{{found}}}"
        return found
    return " " if unicodedata.category(character) == "Zs" else f"[U+{ord(character):04X}]"


# ---------------------------------------------------------------------------------------------- programs and figures

FORMULA = re.compile(r"(^|[;\t])(\s*[=+\-@＝＋－＠])")
"""What spreadsheets take for a formula: at the start of a cell, or behind what separates cells in other countries."""


def csv(text: str) -> str:
    """Escape a text for a cell of CSV. An apostrophe tells spreadsheets that it is no formula. Numbers stay."""
    return text if _is_number(text) else FORMULA.sub(r"\1'\2", printable(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text == text.strip()


def to_json(value: Any, indent: int | None = 2) -> str:
    """Write JSON in which every character can be seen. It parses back to the same texts."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return "\n".join(map(_json_line, text.split("\n")))


def _json_line(line: str) -> str:
    if printable(line) == line:
        return line
    return "".join(character if printable(character) == character else _json_escape(character) for character in line)


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1]


def figure_text(text: str) -> str:
    """Escape a text for matplotlib, which takes what stands between dollars for mathematics."""
    return printable(text).replace("$", r"\$")
