"""Runs on Ray: a worker or a node that dies costs its runs nothing but the time since their checkpoint."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest
from beds import kill, wait_until
from conftest import SERVER, new_database
from ray_bed import ADDRESS, SECOND
from trials import ALONE, LONG, SHORTER, TINY, Grid, ended, gone_on, interrupt, other_data_and_another_version_fail

from collapsebench.record import Outcome

PLUGIN = str(Path(__file__).with_name("other_machine.py"))
EXECUTOR = f"ray[address={ADDRESS}]"


@pytest.fixture
def grid(ray, tmp_path):
    """Make grids of a folder, each with a store of its own."""
    first = Grid(ray, tmp_path, (), EXECUTOR)
    yield lambda *arguments, **given: replace(first, arguments=arguments, **given)
    first.end()


@pytest.mark.slow
@pytest.mark.short
def test_other_data_and_another_version_on_a_node_fail_their_runs_by_name(grid):
    other_data_and_another_version_fail(grid, PLUGIN)


@pytest.mark.slow
def test_the_runs_of_a_killed_worker_and_of_a_dead_node_go_on_and_no_others(grid, ray):
    long = grid(*LONG, "--budget", "10000steps", "--method", "skip", "--seeds", "2")
    driver = long.start()
    try:
        long.wait_for_checkpoints(2)
        kill(ray.workers()[:1])
        wait_until(lambda: len(ray.workers()) == 2, "a worker has taken the place of the killed one")
        long.wait_for_checkpoints(2)
        kill([ray.raylet(SECOND)])
        answer = ended(driver)
    finally:
        ray.start_second()
    assert answer.code == 0, answer.out
    assert 1 <= len(gone_on(answer.out)) <= 2
    assert long.outcomes() == [Outcome.FINISHED] * 4
    assert long.values() == long.alone()


@pytest.mark.slow
def test_ctrl_c_ends_the_tasks_and_stores_what_was_interrupted(grid, ray):
    stopped = grid(*LONG, "--method", "skip")
    driver = stopped.start()
    stopped.wait_for_checkpoints(2)
    answer = interrupt(driver)
    assert answer.code == 130, answer.out
    wait_until(lambda: not ray.workers(), "no task is left", seconds=10)
    assert stopped.outcomes() == [Outcome.INTERRUPTED] * 2


@pytest.mark.slow
def test_a_killed_driver_leaves_no_task_and_the_next_one_goes_on(grid, ray):
    killed = grid(*SHORTER, *ALONE)
    driver = killed.start()
    killed.wait_for_checkpoints(1)
    driver.kill()
    driver.communicate()
    wait_until(lambda: not ray.workers(), "no task is left")
    answer = killed.run()
    assert answer.code == 0, answer.out
    assert gone_on(answer.out) == ["skip seed 1"]
    assert killed.values() == killed.alone()


@pytest.mark.slow
def test_a_ray_of_its_own_is_started_and_ended(grid, ray):
    before = ray.pids()
    own = grid(*TINY, "--method", "skip", executor="ray")
    answer = own.run()
    assert answer.code == 0, answer.out
    assert "ray" not in re.sub(r"^next:.*", "", answer.out, flags=re.MULTILINE).lower(), answer.out
    assert own.outcomes() == [Outcome.FINISHED] * 2
    assert own.values() == own.alone()
    wait_until(lambda: ray.pids() <= before, "the processes of the Ray of its own have ended")


@pytest.mark.slow
@pytest.mark.skipif(SERVER is None, reason="there is no PostgreSQL: see .ci/postgres.py")
def test_98_runs_take_two_connections_to_postgresql_at_most(grid):
    with new_database() as url:
        many = grid(*TINY, *ALONE, "--seeds", "98", store=by_socket(url))
        with counting(url) as connections:
            answer = ended(many.start())
        assert answer.code == 0, answer.out
        assert many.outcomes() == [Outcome.FINISHED] * 98
        assert max(connections) in {1, 2}
        assert many.values() == many.alone()


def by_socket(url):
    """Return the URL of the same database by its Unix socket: a network namespace cannot reach 127.0.0.1 of another."""
    with psycopg.connect(url) as server:
        (folder,) = server.execute("SHOW unix_socket_directories").fetchone()
    head, _, rest = url.rpartition("@")
    address, _, name = rest.partition("/")
    return f"{head}@/{name}?host={folder}&port={address.rpartition(':')[2]}"


@contextmanager
def counting(url):
    """Count the connections to a database, but the one that counts, again and again. Yield these numbers."""
    numbers, over = [], Event()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"

    def count():
        with psycopg.connect(url, autocommit=True) as server:
            while not over.wait(0.05):
                numbers.append(server.execute(others).fetchone()[0])

    counter = Thread(target=count)
    counter.start()
    try:
        yield numbers
    finally:
        over.set()
        counter.join()
