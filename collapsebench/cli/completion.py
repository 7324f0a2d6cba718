"""`collapsebench completion`: the script with which a shell completes commands."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}

VARIABLE = "_COLLAPSEBENCH_COMPLETE"
"""The environment variable through which the script asks this program. Click reads it."""


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options and names after a Tab.

    For bash: write it to a file, as with `collapsebench completion bash > ~/.collapsebench.bash`, and add the line
    `. ~/.collapsebench.bash` to ~/.bashrc. For zsh: the same with ~/.zshrc, after the line with compinit. For fish:
    write it to ~/.config/fish/completions/collapsebench.fish.
    """
    script = SHELLS[shell](context.find_root().command, {}, "collapsebench", VARIABLE)
    click.echo(script.source())
