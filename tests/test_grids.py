"""Grids: what is planned, what is stored of it, and what is run."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import toys
from test_runner import Listener

from collapsebench.errors import UsageError
from collapsebench.experiment import events
from collapsebench.experiment.engines import executor_for
from collapsebench.experiment.grids import look_up, prepare, run_grid
from collapsebench.experiment.planning import Request
from collapsebench.experiment.work import GridSetup
from collapsebench.record import Outcome
from collapsebench.store import Store


@pytest.fixture
def setup(tmp_path):
    return GridSetup(
        requests=(Request(methods=("skip",), dataset="toy"),),
        plugins=(toys.PLUGIN,),
        data_folder=Path("nowhere"),
        store=str(tmp_path / "store.sqlite"),
    )


def with_seeds(setup, *seeds):
    return replace(setup, requests=tuple(replace(request, seeds=seeds) for request in setup.requests))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_grid_runs_what_is_missing_and_tells_of_every_run(setup, workers):
    executor = executor_for(workers, threads=1)
    first = run_grid(prepare(with_seeds(setup, 1)), executor, Listener())
    assert {(record.contender, record.spec.seed) for record in first} == {("vae", 1), ("skip", 1)}
    grid, listener = prepare(with_seeds(setup, 1, 2)), Listener()
    assert set(grid.settled) == {record.run_id for record in first}
    assert [spec.seed for spec in grid.missing] == [2, 2]
    second = run_grid(grid, executor, listener)
    assert {record.outcome for record in second} == {Outcome.FINISHED}
    for record in second:
        heard = [event for event in listener.events if event.run_id == record.run_id]
        assert (heard[0].record.outcome, heard[-1]) == (Outcome.STARTED, events.Finished(record))
    assert len({event.run_id for event in listener.events}) == 2
    with Store.open(setup.store) as store:
        assert all(store.get(record.run_id) == record for record in second)
    assert run_grid(prepare(with_seeds(setup, 1, 2)), executor, Listener()) == []


def test_to_look_up_changes_nothing_and_to_prepare_clears_up(setup, tmp_path):
    grid = look_up(setup)
    assert (len(grid.missing), grid.stored) == (2, {})
    assert list(tmp_path.iterdir()) == []
    (run_id, _) = (record.run_id for record in run_grid(prepare(setup), executor_for(1), Listener()))
    left = setup.checkpoints.folder / f"{run_id}.pt"
    left.touch()
    assert look_up(setup).missing == ()
    assert left.exists()
    assert prepare(setup).missing == ()
    assert not left.exists()


def test_results_without_the_codes_that_are_asked_for_are_named(setup):
    finished = [record.run_id for record in run_grid(prepare(setup), executor_for(1), Listener())]
    kept = replace(with_seeds(setup, 1, 2), keep_codes=True)
    assert look_up(setup).without_codes == ()
    assert list(look_up(kept).without_codes) == finished
    assert len(run_grid(prepare(kept), executor_for(1), Listener())) == 2
    assert list(look_up(kept).without_codes) == finished


def test_all_names_of_a_store_have_one_place_of_work(setup, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    file, link = (replace(setup, store=str(tmp_path / name / "a.sqlite")) for name in ("folder", "link"))
    assert file.checkpoints == link.checkpoints
    hosts = ("localhost", "127.0.0.1", "[::1]:5432", "me:secret@localhost")
    remote = {replace(setup, store=f"postgresql://{host}/runs").checkpoints for host in hosts}
    assert len(remote) == 1
    assert replace(setup, store="postgresql://localhost/other").checkpoints not in remote


def test_a_folder_of_work_holds_claims_checkpoints_and_codes(setup, tmp_path):
    work = tmp_path / "work"
    shared = replace(setup, work_folder=work, keep_codes=True)
    (record, _) = run_grid(prepare(shared), executor_for(1), Listener())
    assert (work / "checkpoints" / "claims").exists()
    with Store.open(setup.store) as store:
        (artifact,) = store.artifacts(record.run_id)
    assert artifact.location == str(work / "codes" / f"{record.run_id}.npz")
    assert not list(tmp_path.glob("store.sqlite.*"))


def test_a_setup_is_sent_without_what_can_be_made_again(setup):
    sent = pickle.dumps(setup.runs)
    assert setup.plan.specs
    assert pickle.dumps(setup.runs) == sent


def test_workers_get_no_password(setup):
    remote = replace(setup, store="postgresql+psycopg://me:secret@db.example/runs", keep_codes=True)
    assert b"secret" not in pickle.dumps(remote.runs)


@pytest.mark.parametrize("device", ["gpu", "cuda:first", ""])
def test_what_is_no_name_of_a_device_is_refused(setup, device):
    with pytest.raises(UsageError, match=f"unknown device '{device}'"):
        replace(setup, device=device)
