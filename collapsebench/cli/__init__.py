"""The command line: one short module a command group, imported when it is called, so that `--help` is instant."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import click

from collapsebench.errors import CollapsebenchError, Interrupted, UsageError, error_line
from collapsebench.printable import printable

COMMANDS = {
    "run": ("collapsebench.cli.run", "Run contenders on a dataset and store every run."),
    "tune": ("collapsebench.cli.tune", "Try settings of contenders, as many of each, and choose by validation."),
    "suite": ("collapsebench.cli.suite", "List, show and run suites: the tables and figures of papers."),
    "leaderboard": ("collapsebench.cli.leaderboard", "Render the leaderboards of the stored runs."),
    "league": (
        "collapsebench.cli.league",
        "Compare contenders over the tasks of a suite, without mixing their numbers.",
    ),
    "compare": ("collapsebench.cli.compare", "Compare two contenders wherever both have run."),
    "diff": ("collapsebench.cli.diff", "Say in what two protocols or two runs differ."),
    "report": ("collapsebench.cli.report", "Write one HTML page of the stored runs, with the evidence of numbers."),
    "plot": ("collapsebench.cli.plot", "Draw figures of the stored runs."),
    "samples": ("collapsebench.cli.samples", "Show what the trained models of runs make of codes."),
    "runs": ("collapsebench.cli.runs", "List, show, export, import and delete stored runs."),
    "verify": ("collapsebench.cli.verify", "Check a board of others by its records."),
    "data": ("collapsebench.cli.data", "List, show, add, fetch and verify datasets."),
    "methods": ("collapsebench.cli.methods", "List the methods, or show one with its hyperparameters."),
    "components": (
        "collapsebench.cli.components",
        "List encoders, metrics and all else, or show one with its settings.",
    ),
    "plugins": ("collapsebench.cli.plugins", "Show every component: plugin, version, hooks, file."),
    "check": ("collapsebench.cli.check", "Check that a component does what every component must do."),
    "new": ("collapsebench.cli.new", "Write a package for a method, a network, a metric or a dataset of your own."),
    "selfcheck": ("collapsebench.cli.selfcheck", "Check the metrics against exact values."),
    "completion": ("collapsebench.cli.completion", "Print the script that completes commands in a shell."),
}
"""Each module has a click command of the command's name, called `command`."""


class ReaderGoneError(Exception):
    """Nobody reads the output any more, as after `| head`. Click would make an exit code 1 of it."""


@contextmanager
def _reader_may_go() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    @_reader_may_go()
    def make_context(self, *given: Any, **named: Any) -> click.Context:
        """Read the arguments, and print the help that they ask for. Raises ReaderGoneError."""
        return super().make_context(*given, **named)

    @_reader_may_go()
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises ReaderGoneError."""
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of a user's work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="collapsebench")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Compare methods against posterior collapse under one identical budget."""
    if os.name == "nt":
        raise UsageError("collapsebench runs on Linux and macOS; on Windows it runs in WSL alone")
    ctx.obj = debug


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors become one line on standard error and an exit code (2: usage, 1: failed)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_missing_streams()
    _allow_every_letter()
    try:
        sys.exit(cli.main(arguments, prog_name="collapsebench", standalone_mode=False))
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo("interrupted", err=True)
        sys.exit(_exit_code(stop))
    except ReaderGoneError:  # what is left of the output goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - a bug of ours is one line, too
        _report(_reason(error), debug="--debug" in arguments)
        sys.exit(error.exit_code if isinstance(error, CollapsebenchError | click.ClickException) else 1)


def _reason(error: Exception) -> str:
    """Say in one line what went wrong."""
    match error:
        case click.ClickException():
            return error.format_message()
        case CollapsebenchError():
            return str(error)
        case OSError():
            file = "" if error.filename is None else f" '{error.filename}'"
            return f"the system refuses{file}: {error.strerror or error}"
    return f"{error_line(error)} (a bug; --debug shows where)"


def _exit_code(stop: BaseException) -> int:
    """Return the exit code of the signal that has ended the command."""
    signal = stop.__cause__ if isinstance(stop, click.Abort) else stop
    return signal.exit_code if isinstance(signal, Interrupted) else 130


def _report(message: str, *, debug: bool) -> None:
    """One line on standard error, after the traceback if it is wanted."""
    if debug:
        import traceback

        traceback.print_exc()
    click.echo(f"error: {printable(' '.join(message.split()))}", err=True)


def _open_missing_streams() -> None:
    """Open standard streams that were closed before the process began.

    Another file would get their number, and be written to by whoever prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.fstat(number)
                continue
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, "r" if number == 0 else "w"))


def _allow_every_letter() -> None:
    r"""Let a terminal that lacks a letter show its number, as in \u2212, instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
