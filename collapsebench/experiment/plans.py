"""Plans of jobs, frozen when they are handed to a scheduler: what is edited afterwards does not reach them."""

from __future__ import annotations

import os
import pickle
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from collapsebench.components.code import harness_hash
from collapsebench.errors import CollapsebenchError, UsageError, error_line
from collapsebench.experiment.jobs import writing
from collapsebench.files import replacing

if TYPE_CHECKING:
    from collapsebench.experiment.work import RunSetup
    from collapsebench.spec import RunSpec

FILE = "plan.pickle"


@dataclass(frozen=True)
class FrozenPlan:
    """What the jobs of a plan compute, and with what."""

    setup: RunSetup
    specs: tuple[RunSpec, ...]
    threads: int | None
    """The threads of torch in each run."""

    @classmethod
    def read(cls, folder: Path) -> FrozenPlan:
        """Read a plan. Raises CollapsebenchError if there is none, or if others than its user could have written it."""
        _check_own(folder, folder / FILE)
        try:
            plan = pickle.loads((folder / FILE).read_bytes())  # noqa: S301
        except Exception as error:
            raise CollapsebenchError(f"cannot read the plan of jobs in '{folder}': {error_line(error)}") from error
        if not isinstance(plan, cls):
            raise CollapsebenchError(f"'{folder}' has no plan of jobs")
        return plan

    def freeze(self) -> Path:
        """Write the plan, with copies of its plugins, and return its folder. Equal plans have one folder.

        What is there is left as it is, as jobs may be reading it. Raises UsageError for a class that jobs cannot
        import, and CollapsebenchError if the folder cannot be written.
        """
        folder = self.setup.jobs.folder.absolute() / self._digest()
        with writing(folder):
            if not _is_plan(folder):
                self._write(folder)
        return folder

    def _write(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        _check_own(folder)
        sources = self.setup.sources.frozen(folder / "plugins")
        frozen = replace(self, setup=replace(self.setup.absolute(), sources=sources))
        with replacing(folder / FILE) as partial:
            partial.touch(0o600)
            partial.write_bytes(_pickled(frozen))

    def _digest(self) -> str:
        """Hash all that a plan consists of: other labels, folders, code or users make another plan."""
        setup, sources = self.setup.absolute(), self.setup.sources
        parts = [
            setup,
            sources.data_folder.absolute(),
            sources.digest,
            harness_hash(),
            os.geteuid(),
            self.threads,
            *self.specs,
        ]
        return sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]


def _check_own(*paths: Path) -> None:
    """Raise CollapsebenchError if others can write a folder or a file: to read a plan is to run what is in it."""
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.stat()
            if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise CollapsebenchError(f"others can write the plan of jobs '{path}': give another --work-dir")


def _is_plan(folder: Path) -> bool:
    with suppress(CollapsebenchError):
        return bool(FrozenPlan.read(folder))
    return False


def _pickled(plan: FrozenPlan) -> bytes:
    try:
        return pickle.dumps(plan)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = error_line(error)
        raise UsageError(f"jobs cannot import a class of these runs ({reason}): give it as --plugin FILE") from error
