"""One run in a process that an engine lends for it: it tells its driver of it by a file, and stops when told to."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

from collapsebench.experiment import events
from collapsebench.experiment.events import Resumed, Started, Stepped, Warned
from collapsebench.experiment.relay import EventFile
from collapsebench.experiment.worker import _kept
from collapsebench.record import Outcome

PROGRAM = """
import pickle, sys
from pathlib import Path
from collapsebench.experiment.worker import compute
given, result = map(Path, sys.argv[1:])
result.write_bytes(pickle.dumps(compute(*pickle.loads(given.read_bytes()))))
"""


def lent(folder: Path, budget: str) -> subprocess.Popen[bytes]:
    """A process that computes a run."""
    grid = toys.setup("skip", store=folder / "s.sqlite", budget=budget)
    (spec,) = (spec for spec in grid.plan.specs if spec.contender.label == "skip")
    given, result = folder / "given", folder / "result"
    given.write_bytes(pickle.dumps((grid.runs, 1, EventFile(folder / "events"), spec)))
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(given), str(result)], stderr=subprocess.PIPE)


def kinds(folder: Path) -> list[type]:
    """The events that were told."""
    return [type(event) for event in EventFile(folder / "events").news()]


def wait_for(kind: type, folder: Path, start: int = 0) -> None:
    """Until there is such an event, not counting the first ones; fails after a minute."""
    for _ in range(600):
        if kind in kinds(folder)[start:]:
            return
        time.sleep(0.1)
    raise AssertionError(f"the run tells of no {kind.__name__}")


@pytest.mark.slow
def test_a_lent_process_returns_the_record_when_all_events_are_in_the_file(tmp_path):
    process = lent(tmp_path, "3steps")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    record = pickle.loads((tmp_path / "result").read_bytes())  # noqa: S301 - of this test
    assert record.outcome is Outcome.FINISHED
    told = kinds(tmp_path)
    assert (told[0], told[-1]) == (Started, events.Testing)
    assert Warned not in told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_lent_process_that_ends_before_its_run_is_followed_by_one_that_says_so(number, tmp_path):
    first = lent(tmp_path, "600seconds")
    wait_for(Stepped, tmp_path)
    first.send_signal(number)
    first.communicate(timeout=60)
    assert first.returncode == (1 if number == signal.SIGTERM else -number)
    assert not (tmp_path / "result").exists()
    before = len(kinds(tmp_path))
    second = lent(tmp_path, "600seconds")
    wait_for(Stepped, tmp_path, before)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)
    told = kinds(tmp_path)[before:]
    assert told[:2] == [Warned, Started]
    # One that is killed has a checkpoint only if it came to an evaluation before.
    assert Resumed in told or number == signal.SIGKILL


def test_a_process_that_becomes_a_worker_again_has_the_same_sources_already(tmp_path):
    first, same, other = (toys.setup(store=tmp_path / "s.sqlite").sources for _ in range(3))
    assert _kept(first) is first
    assert _kept(same) is first
    changed = toys.with_plugins(toys.setup(store=tmp_path / "s.sqlite"), tmp_path / "other.py").sources
    assert _kept(changed) is changed
    assert _kept(other) is other
