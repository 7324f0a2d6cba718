"""`collapsebench new`: a package for a component of your own."""

from __future__ import annotations

from pathlib import Path

import click

from collapsebench.cli import completing, options


@click.command("new")
@click.argument("kind", metavar="method|metric|decoder|encoder|dataset", shell_complete=completing.templates)
@click.argument("name")
@click.option(
    "--output",
    "folder",
    type=options.PATH,
    default=None,
    metavar="FOLDER",
    help="The new folder of the package.  [default: collapsebench-NAME]",
)
@options.plugin
def command(kind: str, name: str, folder: Path | None, plugins: tuple[Path, ...]) -> None:
    """Write a package that can be installed, with a component that works: change it into yours.

    It has the component, its tests, and what `pip install` needs. Its tests and `collapsebench check` pass as it is.
    """
    from collapsebench.components import discovery
    from collapsebench.templates import new_package

    module = new_package(kind, name, folder, discovery.load(plugins).names(kind))
    click.echo(f"wrote the package '{module.parent}': {module.name} is the {kind}")
    click.echo(f"next: collapsebench check {module}")
