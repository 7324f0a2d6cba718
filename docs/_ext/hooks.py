"""The directive `hooks`: every hook with its signature, kind, docstring, users and example, from the specifications."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pluggy
from as_markdown import as_markdown
from click.testing import CliRunner
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from collapsebench.cli import cli
from collapsebench.components.hookspecs import PROJECT, DiscoveryHooks, MethodHooks

EXAMPLES = Path(__file__).parents[1] / "hooks"
"""One whole plugin for each hook, as `HOOK.py`; the tests run them."""

FIRST_RESULT = "*Kind:* first result. At most one method of a contender may give it; two are an error, by name."
ALL = "*Kind:* all. Every method of a contender may give it."


def hooks(specification: type) -> dict[str, pluggy.HookCaller]:
    """The hooks of a class of specifications, in their order."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(specification)
    return {name: getattr(manager.hook, name) for name in vars(specification) if not name.startswith("_")}


def implementations() -> dict[str, list[str]]:
    """The installed methods by the hooks that they implement, as `collapsebench plugins` lists them."""
    answer = CliRunner().invoke(cli, ["plugins", "--json"], catch_exceptions=False)
    users: dict[str, list[str]] = {}
    for component in json.loads(answer.stdout)["components"]:
        for hook in component["hooks"]:
            users.setdefault(hook, []).append(component["name"])
    return users


def section(name: str, specification: type, *notes: str) -> str:
    """One hook, as Markdown."""
    function = inspect.getattr_static(specification, name)
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    head = f"### `{name}({', '.join(each.name for each in parameters)})`"
    definition = f"def {name}{signature.replace(parameters=parameters)}".replace("'", "")
    said = as_markdown(inspect.getdoc(function) or "")
    return "\n\n".join([head, f"```python\n{definition}\n```", said, *notes, example(name)])


def example(name: str) -> str:
    """The example of a hook, as Markdown. Raises ExtensionError if there is none."""
    path = EXAMPLES / f"{name}.py"
    if not path.is_file():
        raise ExtensionError(f"hook '{name}' has no example: write docs/hooks/{name}.py")
    return f"```python\n{path.read_text(encoding='utf-8')}```"


def page() -> Iterator[str]:
    """The Markdown of all hooks."""
    users = implementations()
    yield "## A plugin"
    for name in hooks(DiscoveryHooks):
        yield section(name, DiscoveryHooks)
    yield "## A method"
    for name, caller in hooks(MethodHooks).items():
        first = caller.spec is not None and caller.spec.opts["firstresult"]
        shipped = ", ".join(f"`{user}`" for user in users.get(name, [])) or "none"
        yield section(name, MethodHooks, FIRST_RESULT if first else ALL, f"Shipped methods that give it: {shipped}.")


class Hooks(SphinxDirective):
    """All hooks."""

    def run(self) -> list[nodes.Node]:
        """One section a hook; the page is made again when an example changes."""
        for path in EXAMPLES.glob("*.py"):
            self.env.note_dependency(path)
        return self.parse_text_to_nodes("\n\n".join(page()), allow_section_headings=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("hooks", Hooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
