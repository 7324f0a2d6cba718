"""Events: plain values that know their run, and are told at the rate of who listens."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import get_args

import pytest
import records
import tiny
import torch

from collapsebench.experiment import events
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.meter import Meter
from collapsebench.experiment.runner import RunWatcher
from collapsebench.model.vae import Terms
from collapsebench.spec import Budget

RECORD = records.record("skip")
RUN = RECORD.run_id
EVENTS = (
    events.Started(RECORD),
    events.Skipped(RECORD, "another process computes it"),
    events.Warned(RUN, "the disk is full"),
    events.Resumed(RUN, 3),
    events.Stepped(RUN, 4, 0.5, 30.0, 1.0),
    events.Evaluated(RUN, records.point()),
    events.Testing(RUN),
    events.Finished(RECORD),
)


def test_every_event_is_here():
    assert {type(event) for event in EVENTS} == set(get_args(events.Event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_knows_its_run_and_passes_a_pipe(event):
    assert event.run_id == RUN
    ours, its = Pipe()
    its.send(event)
    passed = ours.recv()
    assert passed == event
    assert passed.run_id == RUN


def test_events_of_two_kinds_with_one_record_differ():
    assert events.Started(RECORD) != events.Finished(RECORD)


class CountedLoss:
    """A loss on a device: to read it would wait for the device."""

    def __init__(self):
        self.read = 0

    def __float__(self):
        self.read += 1
        return 30.0


def test_steps_are_told_at_the_pulse_and_between_two_of_them_nothing_is_read(tmp_path):
    now, told, loss = [0.0], [], CountedLoss()
    checkpoint = Checkpoints(tmp_path).of(RUN, {}, print)
    watcher = RunWatcher(RUN, told.append, checkpoint, pulse=1.0, clock=lambda: now[0])
    meter = Meter(Budget.parse("40steps"), 100)
    for _ in range(40):
        tiny.step(meter, 1)
        watcher.stepped(meter, Terms(torch.zeros(1), torch.ones(1, 2), 1.0, loss))
        now[0] += 0.125
    assert told == [events.Stepped(RUN, steps, steps / 40, 30.0, 2.0) for steps in (1, 9, 17, 25, 33)]
    assert loss.read == len(told)
