"""One task of a scheduler, as a process: `python -m collapsebench.experiment.job PLAN-FOLDER BATCH TASK`.

It computes the runs of its task one after the other, and leaves what has become of them in files. It needs no driver.
Told to stop, it writes a checkpoint. At the end of its time it asks to be queued again, by exit code 75.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from socket import gethostname
from typing import Final

from collapsebench.errors import CollapsebenchError, Interrupted, StoreError
from collapsebench.experiment.claims import Claims
from collapsebench.experiment.events import Event, Stepped
from collapsebench.experiment.jobs import AGAIN, Batch, JobKey
from collapsebench.experiment.output import write_line
from collapsebench.experiment.plans import FrozenPlan
from collapsebench.experiment.relay import EventFile
from collapsebench.experiment.runner import Runner
from collapsebench.experiment.signals import STOPPING, Interrupts
from collapsebench.experiment.worker import at_work
from collapsebench.spec import RunSpec

OUT_OF_TIME: Final = (signal.SIGUSR1, signal.SIGUSR2)
"""The signals that say that the time limit is near."""


class Task:
    """The runs of one task of a batch."""

    def __init__(self, folder: Path, number: int, task: int) -> None:
        """Read them. Raises CollapsebenchError if they are not there."""
        self._plan = FrozenPlan.read(folder)
        try:
            self._batch = Batch.read(folder, number)
            run_ids = self._batch.tasks[task]
        except (OSError, ValueError, LookupError) as error:
            raise CollapsebenchError(f"there is no task {task} of batch {number} in '{folder}'") from error
        specs = {spec.run_id: spec for spec in self._plan.specs}
        self._key, self._jobs = JobKey(self._batch.name, task), self._plan.setup.jobs
        self._specs = tuple(specs[run_id] for run_id in run_ids)
        self._moved = False

    def work_off(self) -> int:
        """Compute what is left of the task, and return the exit code of the process."""
        try:
            with (
                Interrupts((*STOPPING, *OUT_OF_TIME)) as interrupts,
                at_work(self._plan.setup, self._plan.threads, self._tell, interrupts) as runner,
            ):
                for spec in filter(self._mine, self._specs):
                    self._compute(runner, spec, interrupts)
        except Interrupted as stop:
            return self._leave(stop)
        return 0

    def _mine(self, spec: RunSpec) -> bool:
        """Return True for a run that is not over, not stopped, and not handed to another task meanwhile."""
        ticket = self._jobs.ticket(spec.run_id)
        here = ticket is not None and ticket.key == self._key and not ticket.stopped
        return here and not self._jobs.record(spec.run_id).exists()

    def _compute(self, runner: Runner, spec: RunSpec, interrupts: Interrupts) -> None:
        """Compute one run, unless another process is at it. A record that is made is written, whatever comes."""
        with self._claim(spec) as claimed, printing_to(self._jobs.log(spec.run_id)):
            if claimed:
                who = f"{spec.contender.label} seed {spec.seed} on {gethostname()}, process {os.getpid()}"
                write_line(who, sys.stderr)
                record = runner.run(spec)
                with interrupts.held():
                    self._jobs.write_record(record)
                    self._moved = True

    @contextmanager
    def _claim(self, spec: RunSpec) -> Iterator[bool]:
        """Hold the run in the block. Where files cannot be locked, its ticket alone says who computes it."""
        with ExitStack() as held:
            try:
                claimed = held.enter_context(Claims(self._jobs.folder).claim(spec.run_id))
            except StoreError:
                claimed = True
            yield claimed

    def _tell(self, event: Event) -> None:
        self._moved = self._moved or isinstance(event, Stepped)
        EventFile(self._batch.progress(event.run_id)).append(event)

    def _leave(self, stop: Interrupted) -> int:
        """Say why the next run is left. One that has no time to move at all is to blame, or it went on for ever."""
        if not self._moved:
            return stop.exit_code
        for spec in islice(filter(self._mine, self._specs), 1):
            EventFile(self._batch.progress(spec.run_id)).leave(str(stop))
        return AGAIN if stop.exit_code - 128 in OUT_OF_TIME else stop.exit_code


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Append to a file whatever this process prints in the block, also from C."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        kept = [os.dup(1), os.dup(2)]
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)


def main(arguments: list[str]) -> int:
    """Work off one task, and return the exit code."""
    folder, number, task = arguments
    try:
        return Task(Path(folder), int(number), int(task)).work_off()
    except CollapsebenchError as error:
        write_line(f"error: {error}", sys.stderr)
        return 1


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
