r"""Docstrings are Markdown: `code` in single backticks, formulas between \( and \), examples after `>>>`."""

from typing import Any

from as_markdown import as_markdown
from docutils import nodes
from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata


class Markdown(SphinxDirective):
    """Markdown inside of reStructuredText, which is what autodoc writes."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Parse the content with the parser of the pages."""
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        document.reporter = self.state.document.reporter
        MystParser().parse("\n".join(self.content), document)
        return list(document.children)


def to_directive(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Replace the lines of a docstring by the directive that reads them."""
    if any(lines):
        lines[:] = [".. markdown::", "", *(f"   {line}" for line in as_markdown("\n".join(lines)).splitlines()), ""]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive, and what calls it."""
    app.add_directive("markdown", Markdown)
    app.connect("autodoc-process-docstring", to_directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
