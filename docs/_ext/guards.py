"""The directive `guards`: what each guard catches and what it cannot, from the docstrings of `collapsebench/guards`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from as_markdown import as_markdown
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

import collapsebench

FOLDER = Path(collapsebench.__file__).parent / "guards"


def section(path: Path) -> str:
    """One guard, as Markdown: the docstring of its module, and those of its functions that raise or find something."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = ast.get_docstring(tree)
    if said is None:
        raise ExtensionError(f"guard '{path.name}' has no docstring")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    entries = [(node.name, text) for node in functions if (text := judging(node))]
    parts = [f"### `{path.stem}`", as_markdown(said)]
    parts += [f"`{name}`: {as_markdown(text)}" for name, text in entries]
    return "\n\n".join(parts)


def judging(function: ast.FunctionDef) -> str:
    """The docstring of a function if it refuses a run, or has a finding about one; empty otherwise."""
    text = ast.get_docstring(function) or ""
    returned = "" if function.returns is None else ast.unparse(function.returns)
    return text if "Finding" in returned or "Raise PluginError" in text or "Raise DataError" in text else ""


def sections() -> Iterator[str]:
    """All guards, by name."""
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem != "__init__":
            yield section(path)


class Guards(SphinxDirective):
    """All guards."""

    def run(self) -> list[nodes.Node]:
        """One section a guard."""
        return self.parse_text_to_nodes("\n\n".join(sections()), allow_section_headings=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("guards", Guards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
