"""PostgreSQL is as good as SQLite: many processes, two drivers, a restart of the server. See `.ci/postgres.py`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import stored
from conftest import new_database
from racing import begin_first, import_all, race
from records import record, spec, started

from collapsebench.errors import StoreError
from collapsebench.record import DeclinedColumn, Outcome
from collapsebench.store import Store, Written, connection
from collapsebench.store.interchange import import_runs, write_line

PASSWORD = "not-to-be-printed"  # noqa: S105 - that of the server of the tests
GRID = ["--method", "skip", "--dataset", "linear-gaussian", "--track", "quick", "--budget", "40steps", "--seeds", "3"]
DECLINED = (
    DeclinedColumn(metric="kl", column="kl[j]", reason="no KL per unit: δ"),
    DeclinedColumn(metric="probe", column="probe", reason="no labels"),
)


@pytest.fixture
def database():
    with new_database() as url:
        yield url


def restart():
    """Restart the server: connections that are open end."""
    words = shlex.split(os.environ["COLLAPSEBENCH_TEST_POSTGRES_RESTART"])
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(words, user=user, group=user, cwd="/", stdout=subprocess.DEVNULL, check=True)


def driver(database, folder, *arguments) -> subprocess.Popen:
    """A `run` command with a home and a cache of its own, as on another machine."""
    home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "COLLAPSEBENCH_STORE": database}
    script = "import sys; from collapsebench.cli import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", script, "run", *GRID, *arguments]
    return subprocess.Popen(
        words, env=os.environ | home, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_eight_processes_open_a_new_database_and_begin_the_same_run(database):
    assert race(begin_first, [database, started(), [record(seed=seed) for seed in range(2, 10)]]) == []
    with Store.reading(database) as store:
        assert len(list(store.find())) == 9


def test_eight_processes_import_the_same_runs(database):
    assert race(import_all, [database, [record(seed=seed) for seed in range(8)]]) == []
    with Store.reading(database) as store:
        assert store.count() == 8


@pytest.mark.slow
@pytest.mark.torch
def test_two_drivers_of_one_grid_with_different_caches(database, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    drivers = [driver(database, folder) for folder in folders]
    outputs = [each.communicate()[0] for each in drivers]
    assert [each.returncode for each in drivers] == [0, 0], outputs
    assert all(PASSWORD not in output for output in outputs)
    with Store.reading(database) as store:
        assert [run.outcome for run in store.find()] == [Outcome.FINISHED] * 6


@pytest.mark.slow
@pytest.mark.torch
def test_a_restart_of_the_server_in_the_middle_of_a_grid(database, tmp_path):
    grid = driver(database, tmp_path, "--seeds", "6")
    with psycopg.connect(database, autocommit=True) as other:
        while not _finished(other):
            assert grid.poll() is None
            time.sleep(0.05)
    restart()
    output = grid.communicate()[0]
    assert grid.returncode == 0, output
    assert PASSWORD not in output
    with Store.reading(database) as store:
        assert [run.outcome for run in store.find()] == [Outcome.FINISHED] * 12


def _finished(other) -> bool:
    try:
        return other.execute("SELECT count(*) FROM runs WHERE outcome = 'finished'").fetchone()[0] > 0
    except psycopg.errors.UndefinedTable:
        return False


def test_transactions_and_claims_outlive_a_restart(database):
    run = spec().run_id
    with Store.open(database) as store, Store.open(database) as other, store.claim(run) as claimed:
        assert claimed
        store.begin(started())
        restart()
        with store.claim(spec(seed=2).run_id) as next_claimed, other.claim(run) as theirs:
            assert next_claimed
            assert not theirs, "the claim was taken again"
        assert store.finish(record()) is Written.STORED
        assert other.get(run) == record()


def test_a_transaction_waits_for_a_server_that_is_down(database):
    with Store.open(database) as store:
        store.begin(started())
        restarting = Thread(target=restart)
        restarting.start()
        for seed in range(2, 40):
            store.begin(started(seed=seed))
        restarting.join()
        assert store.finish(record()) is Written.STORED
        assert store.count() == 39


def test_claims_are_seen_by_other_drivers_and_given_back(database):
    run = spec().run_id
    with Store.open(database) as one, Store.open(database) as two:
        with one.claim(run) as mine, two.claim(run) as theirs, one.claim(run) as twice:
            assert (mine, theirs, twice) == (True, False, False)
        with two.claim(run) as theirs:
            assert theirs


def test_who_looks_on_sees_which_runs_are_held(database):
    runs = [spec(seed=seed).run_id for seed in range(1, 20)]
    with Store.open(database) as driver, Store.reading(database) as looker, new_database() as other:
        assert looker.taken(runs) == set()
        with driver.claim(runs[0]), driver.claim("0" * 16), driver.claim("f" * 16), Store.open(other) as elsewhere:
            assert looker.taken([*runs, "0" * 16, "f" * 16]) == {runs[0], "0" * 16, "f" * 16}
            assert elsewhere.taken(runs) == set()
        assert looker.taken(runs) == set()


def test_a_driver_that_is_killed_gives_its_claims_back(database):
    script = (
        "import os, sys\nfrom collapsebench.store import Store\n"
        "with Store.open(sys.argv[1]) as store, store.claim(sys.argv[2]): os.kill(os.getpid(), 9)"
    )
    run = spec().run_id
    assert subprocess.run([sys.executable, "-c", script, database, run], check=False).returncode == -9
    with Store.open(database) as store:
        deadline, claimed = time.monotonic() + 10, False
        while not claimed and time.monotonic() < deadline:
            with store.claim(run) as claimed:
                pass
        assert claimed


def test_a_driver_needs_two_connections(database):
    with Store.open(database) as store, store.claim(spec().run_id):
        for seed in range(1, 40):
            store.begin(started(seed=seed))
            assert store.outcomes([spec(seed=seed).run_id])
        with psycopg.connect(database) as other:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'collapsebench' AND datname = %s"
            assert other.execute(query, [database.rpartition("/")[2]]).fetchone() == (2,)


def test_an_empty_database_is_no_store_yet_for_readers(database):
    with pytest.raises(StoreError, match="there is no store 'postgresql://"), Store.reading(database):
        pass
    with psycopg.connect(database) as other:
        assert other.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_a_role_that_may_only_read_can_read(database):
    with Store.open(database) as store:
        store.finish(record())
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS reader")
        owner.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        reader = database.replace(f"collapsebench:{PASSWORD}", "reader:reader")
        with Store.reading(reader) as store:
            assert list(store.find()) == [record()]
        owner.execute("DROP OWNED BY reader")
        owner.execute("DROP ROLE reader")


@pytest.mark.parametrize("first", ["a reader", "a writer"])
def test_a_database_of_an_older_schema_keeps_its_records_and_its_boards(database, tmp_path, first, command):
    stored.fill(database, "0003", tmp_path)
    if first == "a writer":
        with Store.open(database):
            pass
    assert command("runs", "export", "-", "--store", database).out.encode() == stored.unpacked("0003", "runs.jsonl")
    boards = command("leaderboard", "--format", "json", "--store", database).out.encode()
    assert boards == stored.unpacked("0003", "boards.json")
    told = record(seed=2, declined=DECLINED)
    with Store.open(database) as store:
        store.finish(told)
        assert store.get(told.run_id) == told


def test_drivers_and_an_import_that_store_the_first_runs_of_one_protocol_do_not_wait_for_each_other(database):
    """Each of them writes protocols and contenders that others write, too, in an order of its own."""
    labels = ["vae", "skip", "sa-vae", "skip+sa-vae"]
    made = [record(label, seed, protocol={"track": track}) for track in "abc" for label in labels for seed in (1, 2)]
    assert race(import_all, [database, made]) == []
    assert race(begin_first, [database, started("vae", 9), made]) == []
    with Store.reading(database) as store:
        assert store.count() == len(made) + 1
        assert {each.track: each.runs for each in store.protocols()} == {"a": 8, "b": 8, "c": 8, "quick": 1}


def test_every_message_leaves_the_password_out(database, command):
    wrong = database.replace(PASSWORD, "a-wrong-one")
    for store in (wrong, f"{database}_none", database.replace("127.0.0.1", "127.0.0.1:1@")):
        answer = command("runs", "list", "--store", store)
        assert answer.code in {1, 2}
        assert len(answer.err.splitlines()) == 1
        assert not {PASSWORD, "a-wrong-one"} & set(answer.err.replace("'", " ").replace(":", " ").split())
        assert PASSWORD not in answer.err
        assert "a-wrong-one" not in answer.err


def test_export_and_import_between_the_databases(database, tmp_path):
    made = [record(seed=seed, declined=DECLINED[: seed - 1]) for seed in range(1, 4)]
    exported = tmp_path / "runs.jsonl"
    exported.write_text("".join(f"{write_line(each)}\n" for each in made))
    for place in (database, str(tmp_path / "runs.sqlite")):
        assert import_runs(place, {"runs.jsonl": exported}) == (3, 0)
        with Store.reading(place) as store:
            assert sorted(map(write_line, store.find())) == sorted(map(write_line, made))


def test_the_folder_of_the_files_of_a_database_is_named_without_its_password(database):
    assert PASSWORD not in str(connection.companion(connection.store_url(database), "codes"))
    assert Path(connection.companion(connection.store_url(database), "codes")).is_absolute()
