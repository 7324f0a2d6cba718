"""Pulses: how far runs are, said by the processes that compute them."""

from __future__ import annotations

import json
import math
import time
from socket import gethostname

import pytest
import records
import toys
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.experiment import events
from collapsebench.experiment.engines import executor_for
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.experiment.pulses import Pulse, Pulses, forget_pulse, read_pulse
from collapsebench.record import Outcome

RUN = "0123456789abcdef"
HERE = gethostname()


def step(share: float, steps: int = 1) -> events.Stepped:
    return events.Stepped(RUN, steps, share, 30.0, 1.0)


def begun() -> events.Started:
    return events.Started(records.started().model_copy(update={"run_id": RUN}))


def evaluated(bound: float) -> events.Evaluated:
    return events.Evaluated(RUN, records.point(14, neg_elbo=bound))


def test_a_pulse_says_who_computes_a_run_how_far_it_is_and_how_good(tmp_path):
    now = [0.0]
    pulses = Pulses(tmp_path, clock=lambda: now[0], now=lambda: 1000 + now[0])

    def told(event: events.Event) -> Pulse | None:
        now[0] += 10
        pulses(event)
        return read_pulse(tmp_path, RUN)

    assert read_pulse(tmp_path, RUN) is None
    assert told(begun()) == Pulse(0.0, 1010, None, None, HERE)
    assert told(step(0.25, 7)) == Pulse(0.25, 1020, 7, None, HERE)
    told(evaluated(31.5))
    assert told(step(0.5, 14)) == Pulse(0.5, 1040, 14, 31.5, HERE)
    assert told(events.Testing(RUN)) == Pulse(1.0, 1050, 14, 31.5, HERE)
    forget_pulse(tmp_path, RUN)
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_of_a_process_begins_with_nothing(tmp_path):
    pulses, other = Pulses(tmp_path), "f" * 16
    for event in (begun(), step(0.5, 14), evaluated(31.5), events.Stepped(other, 1, 0.1, 30.0, 1.0)):
        pulses(event)
    assert read_pulse(tmp_path, other)[2:] == (1, None, HERE)


@pytest.mark.parametrize("resumed", [True, False])
def test_a_run_that_goes_on_in_another_process_keeps_its_bound_and_one_that_begins_anew_does_not(tmp_path, resumed):
    first, second = Pulses(tmp_path), Pulses(tmp_path)
    for event in (begun(), evaluated(31.5), step(0.5, 14)):
        first(event)
    for event in (begun(), *([events.Resumed(RUN, 12)] if resumed else []), step(0.4, 13)):
        second(event)
    assert read_pulse(tmp_path, RUN)[2:4] == (13, 31.5 if resumed else None)


def test_pulses_are_rare(tmp_path):
    now = [0.0]
    pulses = Pulses(tmp_path, clock=lambda: now[0])
    seen = []
    for moment in range(100):
        now[0] = moment / 10
        pulses(step(moment / 100))
        seen.append(read_pulse(tmp_path, RUN).share)
    assert len(set(seen)) == 5


def test_a_bound_may_be_no_number(tmp_path):
    pulses = Pulses(tmp_path)
    pulses(evaluated(math.nan))
    pulses(step(0.5))
    assert math.isnan(read_pulse(tmp_path, RUN).bound)


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    pulses = Pulses(tmp_path / "file")
    for event in (begun(), step(0.5), events.Testing(RUN)):
        pulses(event)
    forget_pulse(tmp_path / "file", RUN)


@given(st.binary(max_size=60) | st.floats().map(lambda at: json.dumps({"share": at, "at": at}).encode()))
def test_what_is_no_pulse_says_nothing(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("pulses")
    (folder / f"{RUN}.pulse").write_bytes(content)
    found = read_pulse(folder, RUN)
    assert found is None or 0 <= found.share <= 1


@pytest.mark.parametrize(
    "content",
    ["[]", '"share"', "3", *('{"share": 0.5, "at": 1.0, ' + f'"{key}": []}}' for key in ("steps", "bound"))],
)
def test_json_that_is_no_pulse_says_nothing(tmp_path, content):
    (tmp_path / f"{RUN}.pulse").write_text(content)
    assert read_pulse(tmp_path, RUN) is None


def test_a_pulse_of_an_older_program_is_read(tmp_path):
    (tmp_path / f"{RUN}.pulse").write_text('{"share": 0.5, "at": 1000.0}')
    assert read_pulse(tmp_path, RUN) == Pulse(0.5, 1000.0)


@pytest.mark.torch
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_engine_leaves_pulses_while_a_run_goes_on_and_none_afterwards(tmp_path, workers):
    setup, seen = toys.setup(store=tmp_path / "runs.sqlite", budget="2steps"), []

    def look(event):
        if isinstance(event, events.Testing):
            seen.append(read_pulse(setup.checkpoints.folder, event.run_id))

    (record,) = run_grid(prepare(setup), executor_for(workers), look)
    assert record.outcome is Outcome.FINISHED
    (pulse,) = seen
    bound = float(record.points[-1].values["neg_elbo"])
    assert (pulse.share, pulse.steps, pulse.bound, pulse.node) == (1.0, 2, bound, HERE)
    assert pulse.at == pytest.approx(time.time(), abs=60)
    assert not list(setup.checkpoints.folder.glob("*.pulse*"))
    assert HERE not in record.model_dump_json()


@pytest.mark.torch
def test_a_run_that_failed_or_was_interrupted_leaves_no_pulse(tmp_path):
    setup = toys.setup(store=tmp_path / "runs.sqlite", budget="50steps")

    def interrupt(event):
        if isinstance(event, events.Stepped):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_grid(prepare(setup), executor_for(1), interrupt)
    assert not list(setup.checkpoints.folder.glob("*.pulse*"))
