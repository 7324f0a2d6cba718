"""The directive `commands`: every command with its options, as the command line itself tells them."""

from collections.abc import Iterator

import click
from as_markdown import as_markdown
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from collapsebench.cli import cli


def walk(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[click.Context]:
    """The context of a command, and those of all commands below it, in the order of its help."""
    context = click.Context(command, info_name=name, parent=parent)
    yield context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from walk(found, child, context)


def options(context: click.Context) -> Iterator[str]:
    """The rows of a table of the options."""
    parameters = [each for each in context.command.params if isinstance(each, click.Option)]
    records = [record for parameter in parameters if (record := parameter.get_help_record(context))]
    if records:
        yield from ("| option | meaning |", "|---|---|")
    for written, meaning in records:
        yield "| `{}` | {} |".format(*(" ".join(text.split()).replace("|", "\\|") for text in (written, meaning)))


def section(context: click.Context) -> str:
    """One command, as Markdown."""
    usage = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
    parts = [f"## `{context.command_path}`", as_markdown(context.command.help or ""), f"```text\n{usage}\n```"]
    return "\n\n".join([*parts, "\n".join(options(context))])


class Commands(SphinxDirective):
    """All commands."""

    def run(self) -> list[nodes.Node]:
        """One section a command."""
        text = "\n\n".join(map(section, walk(cli, "collapsebench")))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
