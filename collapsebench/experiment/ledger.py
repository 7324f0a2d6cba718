"""The ledger: what the driver of a grid writes down of every run. Those who compute runs see no store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from collapsebench.errors import Interrupted, StoreError
from collapsebench.experiment.claims import Claims
from collapsebench.experiment.endings import RunEnding, begun, ended
from collapsebench.experiment.events import Finished, Skipped, Started
from collapsebench.experiment.pulses import forget_pulse
from collapsebench.experiment.signals import Interrupts
from collapsebench.metrics.codes import ARTIFACT, codes_file
from collapsebench.record import Outcome, RunRecord
from collapsebench.store import Store, Written, connection

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event, Observer
    from collapsebench.experiment.jobs import Ticket
    from collapsebench.experiment.work import GridSetup
    from collapsebench.spec import RunSpec


LOG = "log"
"""The name, among the artifacts of a run, of what the processes of its jobs have printed."""
REASONS = {Written.SETTLED: "stored by another process", Written.DELETED: "deleted while it was computed"}
"""The reasons why the record of a run is not stored."""


class Ledger:
    """Claims each run and stores it as `started` before it is handed out, and stores its record when it is over.

    A signal to stop is held back while it writes.
    """

    def __init__(self, setup: GridSetup, store: Store, observe: Observer, interrupts: Interrupts) -> None:
        self._setup, self._store, self._observe, self._interrupts = setup, store, observe, interrupts
        self._jobs = setup.jobs
        self._url = connection.store_url(str(setup.store))
        self._inode = connection.inode(self._url)
        self._claims = Claims(setup.checkpoints.folder)
        self._running: dict[str, tuple[RunRecord, ExitStack]] = {}
        self.records: list[RunRecord] = []
        """The records of all runs that are over or not run here, in this order."""

    @classmethod
    @contextmanager
    def open(cls, setup: GridSetup, observe: Observer, interrupts: Interrupts) -> Iterator[Ledger]:
        """Open the store. Runs that are not over at the end of the block are stored as interrupted."""
        with Store.open(setup.store) as store:
            ledger = cls(setup, store, observe, interrupts)
            try:
                yield ledger
            except KeyboardInterrupt as interrupt:
                ledger._interrupt(str(interrupt) or str(Interrupted(2)))
                raise
            except BaseException as error:
                with suppress(StoreError):
                    ledger._interrupt(f"its grid ended: {error}")
                raise
            finally:
                ledger._let_go()

    def begun(self, specs: Iterable[RunSpec], follows: Callable[[Ticket], bool]) -> Iterator[RunSpec]:
        """Yield the specs that are to be computed here, each claimed and stored as started when it is asked for.

        The record of a run that a job has left is taken in. A run that a scheduler still has is passed over, unless
        `follows` says that it is followed.
        """
        for spec in specs:
            self._interrupts.check()
            with self._interrupts.held():
                mine = not self._elsewhere(spec, follows) and self._begin(spec)
            record = self._jobs.read_record(spec.run_id) if mine else None
            if record is not None:
                self.finish(record)
            elif mine:
                yield spec

    def release(self, handed_out: Collection[str]) -> None:
        """Leave runs to their jobs, which go on without this process. Those that have none are interrupted."""
        for run_id in self._running.keys() & handed_out:
            self._running.pop(run_id)[1].close()
        self._interrupt("no job was to be had for it")

    def observe(self, event: Event) -> None:
        """Take note of an event of a run, and pass it on."""
        if isinstance(event, Started) and event.run_id in self._running:
            self._running[event.run_id] = event.record, self._running[event.run_id][1]
        self._observe(event)

    def finish(self, record: RunRecord) -> None:
        """Store a run that is over. Its checkpoint is settled when a result is safe, be it this one. Raises StoreError.

        The first result of a run counts. A run that was deleted meanwhile does not come back.
        """
        with self._interrupts.held():
            self._attach_files(record)
            written = self._store.finish(record)
            self._check_store()
            if record.outcome.settled or written is Written.SETTLED:
                self._setup.checkpoints.settle(record.run_id)
            forget_pulse(self._setup.checkpoints.folder, record.run_id)
            self._jobs.forget(record.run_id)
            self._running.pop(record.run_id)[1].close()
        self.records.append(record)
        self._observe(Finished(record) if written is Written.STORED else Skipped(record, REASONS[written]))

    def _check_store(self) -> None:
        """Raise StoreError if the file was deleted: what is written to it is lost, and all else must stay."""
        if connection.inode(self._url) != self._inode:
            name = connection.store_name(self._url)
            raise StoreError(f"the store '{name}' was deleted while runs went on: the same command makes it anew")

    def stop(self, run_id: str, message: str) -> None:
        """Store a run whose job was ended as interrupted, and forget its ticket. If a driver holds it, it does that."""
        with self._interrupts.held(), ExitStack() as claim:
            if not claim.enter_context(self._claiming.claim(run_id)):
                return
            record = self._store.look(run_id) if self._store.has(run_id) else None
            if isinstance(record, RunRecord) and not record.outcome.settled:
                self._running[run_id] = record, claim.pop_all()
                self.finish(ended(record, RunEnding.interrupted(message)))
            else:
                self._jobs.forget(run_id)

    @property
    def _claiming(self) -> Store | Claims:
        """What knows who computes which run."""
        return self._store if self._store.has_claims else self._claims

    def _elsewhere(self, spec: RunSpec, follows: Callable[[Ticket], bool]) -> bool:
        """Return True if a scheduler has the run, and nobody here follows it. Say so."""
        ticket = self._jobs.ticket(spec.run_id)
        if ticket is None or follows(ticket) or self._jobs.record(spec.run_id).exists():
            return False
        record = begun(spec, self._setup.device)
        self.records.append(record)
        how = f"`collapsebench runs stop {spec.run_id[:8]}` takes it back"
        self._observe(Skipped(record, f"{ticket.executor} has it; {how}"))
        return True

    def _begin(self, spec: RunSpec) -> bool:
        """Claim a run and store it as started. Return False if it is not to be computed here."""
        record = begun(spec, self._setup.device)
        with ExitStack() as claim:
            claimed = claim.enter_context(self._claiming.claim(spec.run_id))
            written = self._store.begin(record) if claimed else None
            if written is Written.STORED:
                self._running[spec.run_id] = record, claim.pop_all()
                return True
            if written is Written.SETTLED:
                self._setup.checkpoints.settle(spec.run_id)
        self.records.append(record)
        self._observe(Skipped(record, "another process computes it" if written is None else REASONS[written]))
        return False

    def _attach_files(self, record: RunRecord) -> None:
        """Store where the codes and the log of a run are, if there are any."""
        folder, run_id = self._setup.codes_folder, record.run_id
        files = {LOG: self._jobs.log(run_id)}
        if folder is not None and record.outcome is Outcome.FINISHED:
            files[ARTIFACT] = codes_file(folder, run_id)
        there = {name: path for name, path in files.items() if path.is_file()}
        if there and run_id in self._store.outcomes([run_id]):
            for name, path in there.items():
                self._store.attach(run_id, name, path)

    def _let_go(self) -> None:
        """Give back the claims of runs that could not be stored: this process may live on, as a notebook does."""
        for _, claim in self._running.values():
            with suppress(StoreError):
                claim.close()
        self._running.clear()

    def _interrupt(self, message: str) -> None:
        """Store the runs that are not over as interrupted. One whose result was stored last is settled."""
        with self._interrupts.held():
            for run_id, (record, claim) in list(self._running.items()):
                stopped = ended(record, RunEnding.interrupted(message))
                if self._store.finish(stopped) is Written.SETTLED:
                    self._setup.checkpoints.settle(run_id)
                else:
                    self._observe(Finished(stopped))
                forget_pulse(self._setup.checkpoints.folder, run_id)
                del self._running[run_id]
                claim.close()
