"""Logs of runs in the formats of other programs. A log is an observer: it writes numbers while runs go on.

A run that goes on from a checkpoint goes on in its log, too: what was logged after the checkpoint is dropped. A run
that begins anew begins a new log.
"""

from __future__ import annotations

import csv
import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from collapsebench.errors import UsageError, unknown
from collapsebench.experiment.events import Evaluated, Finished, Resumed, Skipped, Started, Stepped
from collapsebench.files import expanded, replacing
from collapsebench.metrics import TRACKED
from collapsebench.record import json_number

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event, Observer
    from collapsebench.record import RunRecord

LONGEST = 80
"""The number of letters of a contender in the name of a file."""
ODD = re.compile(r"[^\w.+=,\[\]-]+")
"""The letters of a contender that no name of a file has."""
UNITS = {"neg_elbo": "nats", "kl": "nats", "loss": "nats", "seconds": "s", "flops": "FLOP"} | {
    column.name: column.unit for metric in TRACKED for column in metric.columns
}
"""The units of what is measured while a run goes on, and of counters. The others have no unit."""


class Part(StrEnum):
    """What a logged number is about."""

    TRAINING = "training"
    """The last batch."""
    VALIDATION = "validation"
    TEST = "test"
    COST = "cost"
    """The counters of the meter."""


class LoggedNumber(NamedTuple):
    """One number of a run at one step."""

    step: int
    part: Part
    name: str
    value: float
    unit: str


def numbers(event: Event) -> Iterator[LoggedNumber]:
    """Yield the numbers that an event tells."""
    match event:
        case Stepped():
            yield LoggedNumber(event.steps, Part.TRAINING, "loss", event.loss, "nats")
            yield LoggedNumber(event.steps, Part.TRAINING, "kl", event.kl, "nats")
        case Evaluated(_, point):
            step = int(point.counters["steps"])
            for name, number in point.values.items():
                yield LoggedNumber(step, Part.VALIDATION, name, float(number), UNITS.get(name, ""))
            for name, amount in point.counters.items():
                yield LoggedNumber(step, Part.COST, name, amount, UNITS.get(name, ""))
        case Finished(record):
            step = int(record.counters.get("steps", 0))
            for value in record.values:
                if value.board:
                    yield LoggedNumber(step, Part.TEST, value.column, float(value.estimate), value.unit)


class OpenLog(Protocol):
    """The log of one run that goes on."""

    def write(self, found: Iterable[LoggedNumber]) -> None:
        """Write numbers."""

    def close(self) -> None:
        """End the log."""


class RunLog(ABC):
    """An observer that writes the numbers of each run below a folder."""

    def __init__(self, folder: str | Path) -> None:
        """Write below this folder, which is made when the first run has a number."""
        self._folder = expanded(folder)
        self._records: dict[str, RunRecord] = {}
        self._resumed: dict[str, int] = {}
        self._open: dict[str, OpenLog] = {}

    def __call__(self, event: Event) -> None:
        """Log the numbers of an event. Raises OSError if they cannot be written."""
        match event:
            case Started(record):
                self._records[record.run_id] = record
            case Resumed(run_id, steps):
                self._resumed[run_id] = steps
            case Stepped() | Evaluated() | Finished() if event.run_id in self._records:
                found = list(numbers(event))
                if found:
                    self._log(event.run_id).write(found)
        if isinstance(event, Finished | Skipped):
            self._end(event.run_id)

    def _log(self, run_id: str) -> OpenLog:
        if run_id not in self._open:
            record = self._records[run_id]
            place = self._folder / record.spec.protocol.dataset.name / _stem(record)
            place.parent.mkdir(parents=True, exist_ok=True)
            self._open[run_id] = self._begin(place, record, self._resumed.get(run_id, 0))
        return self._open[run_id]

    def _end(self, run_id: str) -> None:
        self._records.pop(run_id, None)
        self._resumed.pop(run_id, None)
        log = self._open.pop(run_id, None)
        if log is not None:
            log.close()

    @abstractmethod
    def _begin(self, place: Path, record: RunRecord, steps: int) -> OpenLog:
        """Open the log of a run at a place without an ending. Numbers up to so many steps stay, and no others."""


def _stem(record: RunRecord) -> str:
    label = ODD.sub("_", record.contender)[:LONGEST]
    return f"{label}-seed-{record.spec.seed}-{record.run_id}"


class Lines:
    """A text file that is written line by line."""

    def __init__(self, path: Path, kept: Sequence[str]) -> None:
        """Begin with the lines that are kept."""
        with replacing(path) as partial:
            partial.write_text("".join(kept), encoding="utf-8")
        self._path = path

    def write(self, lines: Iterable[str]) -> None:
        """Write lines. The file is closed in between, as nobody says when a run is killed."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(lines)


def _read(path: Path) -> list[str]:
    """Return the whole lines of a file; none if it is not there."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _head(record: RunRecord) -> dict[str, str | int]:
    """Return what every number of a run stands with."""
    return {
        "run_id": record.run_id,
        "dataset": record.spec.protocol.dataset.name,
        "track": record.track,
        "contender": record.contender,
        "seed": record.spec.seed,
    }


class JsonLinesLog(RunLog):
    """A log with a file of JSON lines for each run, a line for each number.

    >>> import collapsebench
    >>> from pathlib import Path
    >>> log = collapsebench.JsonLinesLog("logs")
    >>> run = collapsebench.run(
    ...     dataset="linear-gaussian", budget="2steps", store="l.sqlite", progress=False, log=[log]
    ... )[0]
    >>> lines = Path(f"logs/linear-gaussian/vae-seed-1-{run.run_id}.jsonl").read_text().splitlines()
    >>> [line.partition('"step": ')[2][:60] for line in lines if '"test", "name": "kl"' in line]
    ['2, "part": "test", "name": "kl", "value": 1.1...']
    """

    def _begin(self, place: Path, record: RunRecord, steps: int) -> OpenLog:
        return _JsonLines(place.with_name(f"{place.name}.jsonl"), record, steps)


class _JsonLines:
    def __init__(self, path: Path, record: RunRecord, steps: int) -> None:
        self._head = _head(record)
        kept = [line for line in _read(path) if _step_of(line) <= steps] if steps else []
        self._lines = Lines(path, kept)

    def write(self, found: Iterable[LoggedNumber]) -> None:
        """See OpenLog."""
        self._lines.write(f"{json.dumps(self._head | _as_json(number))}\n" for number in found)

    def close(self) -> None:
        """See OpenLog."""


def _as_json(number: LoggedNumber) -> dict[str, Any]:
    return number._asdict() | {"value": json_number(number.value)}


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return float("inf")


class CsvLog(RunLog):
    """A log with a CSV file for each run, a row for each number.

    >>> import collapsebench
    >>> from pathlib import Path
    >>> log = collapsebench.CsvLog("logs")
    >>> run = collapsebench.run(
    ...     dataset="linear-gaussian", budget="2steps", store="c.sqlite", progress=False, log=[log]
    ... )[0]
    >>> Path(f"logs/linear-gaussian/vae-seed-1-{run.run_id}.csv").read_text().splitlines()[0]
    'run_id,dataset,track,contender,seed,step,part,name,value,unit'
    """

    def _begin(self, place: Path, record: RunRecord, steps: int) -> OpenLog:
        return _CsvRows(place.with_name(f"{place.name}.csv"), record, steps)


class _CsvRows:
    def __init__(self, path: Path, record: RunRecord, steps: int) -> None:
        head = _head(record)
        self._head = tuple(head.values())
        names = (*head, *LoggedNumber._fields)
        rows = list(csv.DictReader(_read(path))) if steps else []
        kept = [[row[name] for name in names] for row in rows if _logged_until(row, names, steps)]
        self._lines = Lines(path, list(_csv_lines([names, *kept])))

    def write(self, found: Iterable[LoggedNumber]) -> None:
        """See OpenLog."""
        self._lines.write(_csv_lines((*self._head, *number) for number in found))

    def close(self) -> None:
        """See OpenLog."""


def _csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yield rows as lines of CSV."""
    written: list[str] = []
    writer = csv.writer(_Appending(written), lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        yield written.pop()


class _Appending:
    """What the writer of CSV writes to."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, line: str) -> None:
        """Keep a line."""
        self._lines.append(line)


def _logged_until(row: Mapping[str, str | None], names: Iterable[str], steps: int) -> bool:
    """Say if a row is whole and of one of the first steps."""
    try:
        return all(row[name] is not None for name in names) and int(row["step"] or "") <= steps
    except (KeyError, ValueError):
        return False


EVENTS = "events.out.tfevents.*"
"""The files of TensorBoard. The second in which one was begun comes next in its name."""


class TensorBoardLog(RunLog):
    """A log with a folder for each run, as TensorBoard shows them. It needs the extra `tensorboard`.

    Raises UsageError if TensorBoard is not installed.

    >>> import collapsebench
    >>> from pathlib import Path
    >>> log = collapsebench.TensorBoardLog("logs")
    >>> run = collapsebench.run(
    ...     dataset="linear-gaussian", budget="2steps", store="t.sqlite", progress=False, log=[log]
    ... )[0]
    >>> len(list(Path(f"logs/linear-gaussian/vae-seed-1-{run.run_id}").glob("events.*")))
    1
    """

    def __init__(self, folder: str | Path) -> None:
        """Write below this folder. Raises UsageError if TensorBoard is not installed."""
        super().__init__(folder)
        if find_spec("tensorboard") is None:
            raise UsageError("a log for TensorBoard needs it: pip install 'collapsebench[tensorboard]'")

    def _begin(self, place: Path, record: RunRecord, steps: int) -> OpenLog:
        del record  # the name of the folder says whose numbers these are
        return _Scalars(place, steps)


class _Scalars:
    def __init__(self, place: Path, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        before = steps + 1 if steps else 0  # TensorBoard forgets what was written from this step on
        if not steps:
            _remove_events(place)
        _await_later_name(place)
        self._writer: Any = SummaryWriter(str(place), purge_step=before)

    def write(self, found: Iterable[LoggedNumber]) -> None:
        """See OpenLog."""
        for number in found:
            unit = f" [{number.unit}]" if number.unit else ""
            self._writer.add_scalar(f"{number.part}/{number.name}{unit}", number.value, number.step)
        self._writer.flush()

    def close(self) -> None:
        """See OpenLog."""
        self._writer.close()


def _remove_events(place: Path) -> None:
    for path in place.glob(EVENTS):
        path.unlink(missing_ok=True)


def _await_later_name(place: Path) -> None:
    """Wait until a new file comes after those that are there: they are read in the order of their seconds."""
    last = max((int(path.name.split(".")[3]) for path in place.glob(EVENTS)), default=0)
    while last == int(time.time()):
        time.sleep(0.05)


KINDS: Mapping[str, type[RunLog]] = {"tensorboard": TensorBoardLog, "csv": CsvLog, "jsonl": JsonLinesLog}
"""The logs by the names that a user writes."""


class LogRequest(NamedTuple):
    """A log that a user wants, as in `csv` or `csv=FOLDER`."""

    kind: type[RunLog]
    folder: Path | None
    """The folder; None for the usual one."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `KIND` or `KIND=FOLDER`. Raises UsageError."""
        name, given, folder = text.partition("=")
        if name not in KINDS:
            raise UsageError(unknown("log", name, KINDS))
        if given and not folder:
            raise UsageError(f"--log '{text}' names no folder: write {name}=FOLDER, or {name} alone")
        return cls(KINDS[name], expanded(folder) if folder else None)

    @classmethod
    def parsed(cls, texts: Iterable[str], usual: Path) -> list[Self]:
        """Read several. Raises UsageError for two of one kind in one folder: both would write the same files."""
        requests: dict[tuple[type[RunLog], Path], Self] = {}
        for text in texts:
            request = cls.parse(text)
            place = (request.kind, (request.folder or usual).resolve())
            if place in requests:
                raise UsageError(f"--log '{text}' is there already: each kind writes once to a folder")
            requests[place] = request
        return list(requests.values())

    def observer(self, usual: Path) -> Observer:
        """Return the log, in the `usual` folder if the user gave none. Raises UsageError if a library is missing."""
        return self.kind(self.folder or usual)
