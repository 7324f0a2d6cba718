"""The directive `public-names`: what `collapsebench.__all__` names, with signatures and docstrings."""

import inspect
from collections.abc import Iterator
from typing import Any

import public
from as_markdown import as_markdown
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

import collapsebench

logger = logging.getLogger(__name__)


def room(name: str) -> str:
    """The heading that a name stands under."""
    value = getattr(collapsebench, name)
    if inspect.isroutine(value):
        return "Functions"
    if not inspect.isclass(value):
        return "Other names"
    return "Components" if issubclass(value, collapsebench.Component) else "Values"


def entry(name: str) -> str:
    """The reStructuredText of one name."""
    value = getattr(collapsebench, name)
    if inspect.isclass(value):
        return f".. autoclass:: collapsebench.{name}"
    if inspect.isroutine(value):
        return f".. autofunction:: collapsebench.{name}"
    said = "\n".join(f"      {line}" for line in as_markdown(public.documentation(name)).splitlines())
    return f".. py:data:: collapsebench.{name}\n\n   .. markdown::\n\n{said}"


def page(names: list[str]) -> Iterator[str]:
    """The Markdown of all names, by heading and in the order of `names`."""
    for heading in ("Functions", "Components", "Values", "Other names"):
        found = [entry(name) for name in names if room(name) == heading]
        if found:
            yield "\n\n".join([f"### {heading}", "```{eval-rst}", *found, "```"])


class PublicNames(SphinxDirective):
    """All public names."""

    def run(self) -> list[nodes.Node]:
        """One entry a name; a name without a docstring is a warning, which the strict build refuses."""
        for name in public.undocumented():
            logger.warning("public name 'collapsebench.%s' has no docstring", name, location=self.get_location())
        return self.parse_text_to_nodes("\n\n".join(page(public.names())), allow_section_headings=True)


def to_public(_app: Sphinx, _name: str, _value: type, _options: Any, bases: list[Any]) -> None:
    """Put the nearest public ancestor in the place of a base class that is not public."""
    bases[:] = dict.fromkeys(public_ancestor(base) if inspect.isclass(base) else base for base in bases)


def public_ancestor(base: type) -> type:
    """The nearest class that readers know: a public name, or a class of another library."""
    return next(
        each
        for each in inspect.getmro(base)
        if each.__name__ in public.names() or not each.__module__.startswith("collapsebench")
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive, and what calls `to_public`."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-bases", to_public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
