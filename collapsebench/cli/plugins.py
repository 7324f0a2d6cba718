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
    from collapsebench.components import discovery

    components = discovery.load(plugins)
    rows = [
        {
            "kind": kind,
            "name": name,
            "plugin": entry.plugin,
            "version": entry.version,
            "hooks": entry.hooks,
            "file": entry.origin,
        }
        for (kind, name), entry in sorted(components.entries.items())
    ]
    failed = [failure._asdict() for failure in components.failed]
    if as_json:
        click.echo(json.dumps({"components": rows, "failed": failed}, indent=2))
        return
    from tabulate import tabulate

    table = [[*list(row.values())[:4], ", ".join(row["hooks"]), row["file"]] for row in rows]
    click.echo(tabulate(table, headers=list(rows[0]), disable_numparse=True))
    for failure in components.failed:
        click.echo(f"failed: plugin '{failure.plugin}' ({failure.origin}): {failure.reason}")
