"""`collapsebench components`: everything that a plugin can add, and its settings."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options

if TYPE_CHECKING:
    from collapsebench.components.descriptions import Description


@click.command("components")
@click.argument("kind", required=False, shell_complete=completing.kinds)
@click.argument("name", required=False, shell_complete=completing.components)
@options.plugin
@options.as_json
def command(kind: str | None, name: str | None, plugins: tuple[Path, ...], *, as_json: bool) -> None:
    """List encoders, decoders, metrics, methods and all else, those of one kind, or show one with its settings.

    A page has the rule of the component, its formula, its citation, and every setting with its default.
    """
    from collapsebench.components.descriptions import describe_components

    found = describe_components(plugins, kind, name)
    if as_json:
        click.echo(json.dumps([each.as_json() for each in found], indent=2))
    else:
        click.echo(_list(found) if name is None else found[0].as_text())


def _list(components: list[Description]) -> str:
    """Write a line for each component, by kind."""
    width = max(len(component.name) for component in components)
    kinds = groupby(components, key=lambda component: component.entry.component.kind)
    return "\n\n".join(
        "\n".join((kind, *(f"  {component.name:<{width}}  {component.summary}" for component in own)))
        for kind, own in kinds
    )
