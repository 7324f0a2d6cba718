"""The command that makes the runs of a board again, with what it needs that no record can know."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from collapsebench.facts import dataset_facts, dataset_names
from collapsebench.reporting.leaderboard.scoring import Board
from collapsebench.syntax import BASELINE, print_value

PLUGIN, DATA = "PLUGIN.py", "DATA"
"""What stands for the file of a plugin, and for the folder of data files. Records name no place of a machine."""


def command(board: Board) -> str:
    """Return the command that makes the runs of a board."""
    protocol = board.protocol
    words = ["collapsebench", "run", "--dataset", protocol.dataset.name, "--track", protocol.track_source]
    words += ["--budget", str(protocol.budget)]
    for key, value in sorted(protocol.overrides.items()):
        words += ["--set", f"{key}={print_value(value)}"]
    contenders = dict.fromkeys(row.contender for row in board.rows)
    for contender in contenders:
        words += [] if contender == BASELINE else ["--method", contender]
    for seed in sorted({seed for row in board.rows for seed in row.seeds}):
        words += ["--seed", str(seed)]
    return shlex.join(words if BASELINE in contenders else [*words, "--no-baseline"])


def whole_command(board: Board) -> str:
    """Return the same with the places of plugins and data, where the runs need them."""
    places = [f"--plugin {PLUGIN}"] if foreign(board) else []
    places += [f"--data-dir {DATA}"] if needs_files(board) else []
    return " ".join([command(board), *places])


def foreign(board: Board) -> list[str]:
    """Return the kinds and names of the components that did not come with the harness, as in `method mine`."""
    return sorted({name for row in board.rows for hashes in row.code.values() for name in hashes})


def needs_files(board: Board) -> bool:
    """Return True if the dataset reads files: one of the registry that says so, or one that `data add` made."""
    name = board.protocol.dataset.name
    if name in dataset_names():
        return not dataset_facts(name).embedded
    return f"dataset {name}" not in foreign(board)


def places(board: Board) -> Iterator[str]:
    """Yield a note for each place that the command leaves open."""
    if own := foreign(board):
        several = " Each file has its own --plugin." if len(own) > 1 else ""
        yield f"{PLUGIN} is the file of {', '.join(own)}; an installed plugin needs none.{several}"
    if needs_files(board):
        name = board.protocol.dataset.name
        yield f"{DATA} is the folder with the files of {name}; the folder of `data fetch` needs no option."
