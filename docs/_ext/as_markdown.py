r"""The Markdown of a docstring. It needs no Sphinx: cog writes pages with it, too."""

import inspect
import re

from collapsebench.components.typeset import FORMULA


def as_markdown(docstring: str) -> str:
    """The docstring in the Markdown of the pages: formulas between dollars, examples in fences."""
    text = FORMULA.sub(r"$\1$", inspect.cleandoc(docstring))
    paragraphs = re.split(r"\n{2,}", text)
    return "\n\n".join(f"```pycon\n{each}\n```" if each.startswith(">>> ") else each for each in paragraphs)
