"""`collapsebench methods`: the methods and their hyperparameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options
from collapsebench.experiment.memory import uncollected
from collapsebench.syntax import BASELINE

if TYPE_CHECKING:
    from collapsebench.components.descriptions import Description


@click.command("methods")
@click.argument("name", required=False, shell_complete=completing.methods)
@options.plugin
@options.as_json
@uncollected()
def command(name: str | None, plugins: tuple[Path, ...], *, as_json: bool) -> None:
    """List the methods by what they change, or show one: its rule, its citation, hooks and every hyperparameter."""
    from collapsebench.components.descriptions import describe_methods

    methods = describe_methods(plugins, name)
    if as_json:
        click.echo(json.dumps([method.as_json() for method in methods], indent=2))
    else:
        click.echo(_list(methods) if name is None else methods[0].as_text())


def _list(methods: list[Description]) -> str:
    """Write the baseline and the methods, a line for each, by family."""
    from collapsebench.components.interfaces import Family

    width = max(len(method.name) for method in methods)
    parts = [f"{BASELINE}: the plain VAE, the baseline that is run beside every contender"]
    for family in Family:
        own = [f"  {method.name:<{width}}  {method.summary}" for method in methods if method.family is family]
        parts += ["\n".join((family.value, *own))] if own else []
    return "\n\n".join(parts)
