"""Verifies a file of runs that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from collapsebench.data.files import data_folder
from collapsebench.experiment.work import Sources
from collapsebench.verification.boards import WHAT as BOARD
from collapsebench.verification.boards import check_board
from collapsebench.verification.records import check_records, marks, read_records
from collapsebench.verification.report import Check, Report, Verdict, merged
from collapsebench.verification.rerun import WHAT, check_again, chosen

NOT_SHOWN = Check(Verdict.UNCHECKED, BOARD, "means and intervals are compared with those of a board: --board")
NOT_RUN = Check(Verdict.UNCHECKED, WHAT, "numbers of training and testing are seen by computing a run again: --rerun")


def verify(
    source: Path | IO[bytes],
    name: str,
    plugins: Sequence[Path] = (),
    data_dir: Path | None = None,
    *,
    board: Path | None = None,
    rerun: str | None = None,
) -> Report:
    """Check every run of an export.

    `board` is a board as CSV that should follow from the runs. `rerun` names a run that is computed again: by its id or
    its contender. `name` is what messages call the source. Components come from installed plugins and from the files
    `plugins`; a record is data, and nothing is imported because a record names it. Raises UsageError for a file without
    runs and for a `rerun` that names no run or several, and CollapsebenchError for a file that cannot be read.
    """
    sources = Sources(tuple(plugins), (), data_folder(data_dir))
    records, unread = read_records(source, name)
    run = None if rerun is None else chosen(records, rerun)
    checks = (*merged(unread), *check_records(records, sources))
    checks += (NOT_SHOWN,) if board is None else merged(check_board(records, sources.catalog, board))
    checks += (NOT_RUN,) if run is None else check_again(run, sources)
    return Report(name, len(records), checks, marks(records))
