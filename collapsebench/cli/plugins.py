"""`collapsebench plugins`: the components, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from collapsebench.cli import options


@click.command("plugins")
@options.plugin
@options.as_json
def command(plugins: tuple[Path, ...], *, as_json: bool) -> None:
    """Show every component: kind, name, plugin, version, hooks, file; and the plugins that failed."""
    from tabulate import tabulate

    from collapsebench.components import descriptions, discovery

    components = discovery.load(plugins)
    origins = descriptions.origins(components)
    if as_json:
        failed = [failure._asdict() for failure in components.failed]
        click.echo(json.dumps({"components": [origin._asdict() for origin in origins], "failed": failed}, indent=2))
        return
    rows = [[*origin[:4], ", ".join(origin.hooks), origin.file] for origin in origins]
    click.echo(tabulate(rows, headers=descriptions.ComponentOrigin._fields, disable_numparse=True))
    for failure in components.failed:
        click.echo(f"failed: plugin '{failure.plugin}' ({failure.origin}): {failure.reason}")
