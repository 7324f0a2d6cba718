"""`collapsebench methods`: the methods and their hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import options
from collapsebench.experiment.memory import uncollected
from collapsebench.syntax import BASELINE

if TYPE_CHECKING:
    from collapsebench.components.descriptions import Description


@click.command("methods")
@click.argument("name", required=False)
@options.plugin
@options.as_json
@uncollected()
def command(name: str | None, plugins: tuple[Path, ...], *, as_json: bool) -> None:
    """List the methods, or show one: citation, hooks, and every hyperparameter with type, default, description."""
    from collapsebench.components.descriptions import describe_methods

    methods = describe_methods(plugins, name)
    if as_json:
        click.echo(json.dumps([method.as_json() for method in methods], indent=2))
    else:
        click.echo(_list(methods) if name is None else methods[0].as_text())


def _list(methods: Iterable[Description]) -> str:
    """Write the baseline and the methods, a line for each."""
    lines = {BASELINE: "the plain VAE: the baseline, run beside every contender"}
    lines |= {method.name: method.summary for method in methods}
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())
