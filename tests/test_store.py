"""The store: exact round trips, what it refuses, what it finds."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from records import START, point, record, records, spec, started, values

from collapsebench.errors import StoreError, UsageError
from collapsebench.estimates import Estimate
from collapsebench.observation import Observation, TrajectoryPoint
from collapsebench.record import Number, NumberKind, Outcome
from collapsebench.store import Store, Written, observations
from collapsebench.store import records as record_rows
from collapsebench.store.interchange import write_line
from collapsebench.store.mapping import to_json


@pytest.fixture
def store(address):
    with Store.open(address) as opened:
        yield opened


@pytest.fixture
def again(store, address):
    """The same store, as another process opens it."""
    with Store.open(address) as opened:
        yield opened


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def floats(stored) -> list[bytes]:
    """Every float of a record, bit for bit; NaNs are all alike."""
    estimates = [n for v in stored.values for n in (v.estimate, v.standard_error) if n is not None]
    inner = [n for p in stored.points for n in p.values.values()]
    counters = [c for p in stored.points for c in p.counters.values()]
    return [bits(math.nan if math.isnan(x) else x) for x in [*map(float, [*estimates, *inner]), *counters]]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=records())
def test_round_trip_is_exact(store, made):
    store.delete([made.run_id])
    store.finish(made)
    back = store.get(made.run_id)
    assert floats(back) == floats(made)
    assert to_json(back.model_copy(update=times(made))) == to_json(made)
    assert (back.started_at, back.finished_at) == (made.started_at, made.finished_at)
    assert back.spec == made.spec
    assert back.spec.run_id == back.run_id


def times(made) -> dict:
    """Times come back as the same instants, in UTC."""
    return {"started_at": made.started_at, "finished_at": made.finished_at}


@pytest.mark.parametrize("number", [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, math.nan, math.inf, -math.inf])
def test_extreme_numbers_survive(store, number):
    store.finish(record(columns={"kl": number}, points=(point(neg_elbo=number),)))
    back = store.get(spec().run_id)
    assert bits(float(back.values[0].estimate)) == bits(number)
    assert bits(float(back.points[0].values["neg_elbo"])) == bits(number)


def test_a_number_that_contradicts_its_kind_is_refused_by_the_database(store):
    """`Number` refuses it first; whoever gets around that meets the CHECK."""
    for wrong in ({"kind": NumberKind.FINITE, "value": None}, {"kind": NumberKind.NAN, "value": 1.0}):
        value, number = values(kl=1.0)[0], Number.model_construct(**wrong)
        for field in ("estimate", "standard_error"):
            with pytest.raises(StoreError, match=r"(?i)check"):
                store.finish(record(values=(value.model_copy(update={field: number}),)))
    assert store.count() == 0


def test_a_time_without_zone_is_refused(store):
    with pytest.raises(StoreError, match="time zone"):
        store.finish(record(started_at=START.replace(tzinfo=None)))


def test_a_label_that_does_not_read_back_is_kept(store):
    store.finish(record(protocol={"track": "My Track"}))
    (back,) = store.find(track="My Track")
    assert back == record(protocol={"track": "My Track"})


def test_begin_and_finish(store):
    store.begin(started())
    assert store.get(spec().run_id) == started()
    store.finish(record())
    assert store.get(spec().run_id) == record()
    assert store.count() == 1


@pytest.mark.parametrize("outcome", [Outcome.STARTED, Outcome.FAILED, Outcome.INTERRUPTED])
def test_an_unsettled_run_is_begun_again(store, outcome):
    store.finish(record(outcome=outcome, message="first attempt", points=(point(), point())))
    store.begin(started())
    assert store.get(spec().run_id) == started()


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.DIVERGED])
def test_the_first_settled_record_wins_and_the_second_is_told(store, outcome):
    first = record(outcome=outcome)
    assert store.begin(started()) is store.finish(first) is Written.STORED
    for write, later in ((store.begin, started()), (store.finish, record(message="second"))):
        assert write(later) is Written.SETTLED
    assert store.finish(record(outcome=Outcome.INTERRUPTED)) is Written.SETTLED
    assert store.get(first.run_id) == first
    assert store.finish(first) is Written.STORED, "a commit whose answer was lost is tried again"


def test_two_drivers_on_one_run(store, again):
    """Both begin it, both finish it; only the seconds differ."""
    assert store.begin(started()) is again.begin(started()) is Written.STORED
    assert again.finish(record(points=(point(1),))) is Written.STORED
    assert store.finish(record(points=(point(2),))) is Written.SETTLED
    assert store.get(spec().run_id) == again.get(spec().run_id) == record(points=(point(1),))


def test_a_run_that_is_deleted_while_it_computes_does_not_come_back(store, again):
    store.begin(started())
    assert again.delete([spec().run_id]) == 1
    assert store.finish(record()) is Written.DELETED
    assert store.count() == 0
    assert again.add([record()]) == (1, 0), "an import is no run that goes on"
    assert store.finish(record()) is Written.STORED
    again.delete([spec().run_id])
    assert again.finish(record("vae")) is Written.STORED, "nobody has deleted what was not begun here"


def test_outcomes_of_many_runs(store):
    store.finish(record(seed=1))
    store.begin(started(seed=2))
    ids = [spec(seed=seed).run_id for seed in range(2000)]
    assert store.outcomes(ids) == {ids[1]: Outcome.FINISHED, ids[2]: Outcome.STARTED}
    assert store.outcomes([]) == {}


def test_ids_may_be_shortened(store):
    ids = [spec(seed=seed).run_id for seed in range(20)]
    for seed in range(20):
        store.finish(record(seed=seed))
    for run_id in ids:
        assert store.get(run_id[:10]).run_id == run_id
    shared = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    with pytest.raises(UsageError, match="ambiguous"):
        store.get(shared)
    for absent in ("x", "0" * 16, "%", "_" * 16):
        with pytest.raises(UsageError, match=f"no run '{absent}'"):
            store.get(absent)


@pytest.fixture
def filled(store):
    for seed in (1, 2):
        for label in ("vae", "skip", "skip[sites=2]", "skip+sa-vae"):
            store.finish(record(label, seed))
    store.finish(record("skip", 3, outcome=Outcome.DIVERGED))
    store.finish(
        record("skip", 1, protocol={"track": "quick", "overrides": {"decoder.layers": 3}, "budget": "1epochs"})
    )
    store.finish(record("skip", 1, protocol={"dataset": "ptb", "track": "quickly"}))
    return store


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, 11),
        ({"dataset": None, "outcome": None}, 11),
        ({"dataset": "ptb"}, 1),
        ({"dataset": "digit"}, 0),
        ({"track": "quick"}, 10),
        ({"track": "quick[decoder.layers=3]"}, 1),
        ({"contender": "skip"}, 5),
        ({"contender": "skip[ sites=2]".replace(" ", "")}, 2),
        ({"contender": "vae", "dataset": "digits"}, 2),
        ({"outcome": Outcome.DIVERGED}, 1),
        ({"protocol": spec().protocol.protocol_id}, 9),
        ({"protocol": spec().protocol.protocol_id[:8]}, 9),
        ({"protocol": "%"}, 0),
    ],
)
def test_filters_mean_the_same_everywhere(filled, filters, expected):
    found = list(filled.find(**filters))
    assert len(found) == filled.count(**filters) == len(filled.summaries(**filters)) == expected
    assert sum(protocol.runs for protocol in filled.protocols(**filters)) == expected
    assert {r.run_id for r in found} == {s.run_id for s in filled.summaries(**filters)}


def test_find_gives_what_was_stored(filled):
    assert record("skip+sa-vae", 2) in list(filled.find())


@pytest.mark.slow
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=st.lists(records(), max_size=2, unique_by=lambda made: made.run_id))
def test_observations_are_those_of_the_records(store, made):
    store.delete(summary.run_id for summary in store.summaries())
    store.add(made)
    expected = {each.run_id: Observation.of(each) for each in made}
    assert by_id(store.observations(trajectories=True)) == by_id(expected.values())
    ends = (
        (each, tuple(TrajectoryPoint(point.counters, {}) for point in each.points[-1:])) for each in expected.values()
    )
    assert by_id(store.observations()) == by_id(each._replace(points=end) for each, end in ends)


def by_id(observations) -> dict:
    """As NaN differs from itself, numbers are compared as text, which has every digit."""
    return {
        each.run_id: (each.protocol, each.methods, repr(each._replace(protocol=None, methods=())))
        for each in observations
    }


def test_observations_read_only_the_last_point_and_board_values(filled):
    curve = values(kl=1.0)[0].model_copy(update={"column": "kl[3]", "board": False})
    full = record(seed=9, values=(curve, *record().values), points=(point(1), point(2), point(3)))
    filled.finish(full)
    (short,) = (found for found in filled.observations() if found.run_id == full.run_id)
    assert [value.head.column for value in short.values] == ["neg_elbo", "kl"]
    assert short.points == (TrajectoryPoint(point(3).counters, {}),)
    assert short.counters == full.counters


def test_entries_are_read_where_they_are_asked_for(filled):
    hidden = [values(kl=n)[0].model_copy(update={"column": f"kl[{n}]", "board": False}) for n in range(3)]
    full = record(seed=9, values=(*hidden, *record().values))
    filled.finish(full)
    (found,) = (each for each in filled.observations(entries=("kl[1]", "kl[2]")) if each.run_id == full.run_id)
    assert found.entries == {"kl[1]": Estimate(1.0), "kl[2]": Estimate(2.0)}
    assert found == Observation.of(full, ("kl[1]", "kl[2]"))._replace(points=found.points)
    assert all(not each.entries for each in filled.observations())


def test_columns_of_boards_are_those_of_the_runs_that_are_meant(filled):
    entry = values(iw_nll=1.0)[0].model_copy(update={"board": False})
    filled.finish(record("vae", 7, values=(*values(active_units=2.0), entry)))
    assert filled.board_columns(contender="vae") == [
        ("active-units", "active_units"),
        ("elbo", "neg_elbo"),
        ("kl", "kl"),
    ]
    assert filled.board_columns(contender="skip") == [("elbo", "neg_elbo"), ("kl", "kl")]
    assert filled.board_columns(outcome=Outcome.DIVERGED) == []


def test_pages_are_disjoint_and_complete(filled):
    pages = [filled.summaries(limit=4, offset=offset) for offset in (0, 4, 8, 12)]
    assert [len(page) for page in pages] == [4, 4, 3, 0]
    assert [summary for page in pages for summary in page] == filled.summaries()


def test_reading_goes_on_while_runs_are_written(filled):
    stream = filled.find()
    first = next(stream)
    filled.finish(record("vae", 77))
    assert len([first, *stream]) == 11
    assert filled.count() == 12


def test_streams_of_many_parts_are_complete(filled, monkeypatch):
    whole = list(filled.find())
    monkeypatch.setattr(record_rows, "CHUNK", 2)
    assert list(filled.find()) == whole
    observed = by_id(filled.observations())
    monkeypatch.setattr(observations, "CHUNK", 3)
    assert by_id(filled.observations()) == observed


def test_delete_takes_everything_of_a_run(filled, tmp_path):
    kept = filled.count()
    run_id = record("vae", 1).run_id
    (tmp_path / "checkpoint").write_bytes(b"weights")
    filled.attach(run_id, "checkpoint", tmp_path / "checkpoint")
    assert filled.delete([run_id, "0" * 16]) == 1
    assert filled.count() == kept - 1
    filled.begin(started("vae", 1))
    assert filled.get(run_id) == started("vae", 1)
    assert filled.artifacts(run_id) == []


def test_artifacts_outlive_a_new_attempt(store, tmp_path):
    file = tmp_path / "checkpoint"
    file.write_bytes(b"")
    store.begin(started())
    store.attach(spec().run_id, "checkpoint", file)
    file.write_bytes(b"abc")
    noted = store.attach(spec().run_id, "checkpoint", file)
    assert noted.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert noted.size == 3
    store.begin(started())
    assert store.artifacts(spec().run_id) == [noted]
    with pytest.raises(StoreError, match=r"(?i)foreign key"):
        store.attach("0" * 16, "checkpoint", file)


def test_add_fills_gaps_and_refuses_conflicts(store):
    store.finish(record("vae", 1))
    store.begin(started("vae", 2))
    assert store.add([record("vae", 1), record("vae", 2), record("vae", 3), record("vae", 3)]) == (2, 2)
    assert store.get(spec("vae", 2).run_id) == record("vae", 2)
    assert store.add([started("vae", 4)]) == (1, 0)
    assert store.add([record("vae", 4), record("vae", 4)]) == (1, 1)
    assert store.add([started("vae", 1)]) == (0, 1)
    assert store.get(spec("vae", 1).run_id) == record("vae", 1)
    with pytest.raises(StoreError, match="other content"):
        store.add([record("vae", 5), record("vae", 1, columns={"kl": 2.0})])
    assert store.outcomes([spec("vae", 5).run_id]) == {}, "all or none"


def test_records_of_an_export_are_what_is_stored(store):
    store.add([record("skip[sites=2]+sa-vae", seed=2**63 - 1, message="naïve 🙂\n")])
    (back,) = store.find()
    assert write_line(back) == write_line(record("skip[sites=2]+sa-vae", seed=2**63 - 1, message="naïve 🙂\n"))
