"""What every test shares."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from hypothesis import settings

from collapsebench import cli as command_line

# Deadlines are wall time: they say more about the machine than about the code.
settings.register_profile("collapsebench", deadline=None, max_examples=60)
settings.load_profile("collapsebench")

# In the background of a shell SIGINT is ignored; processes that tests start would inherit that, and never hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what was imported: it stays, and to look through it takes long."""
    gc.collect()
    gc.freeze()


class Answer(NamedTuple):
    """What a command left."""

    code: int | str
    out: str
    err: str


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Run the command line in an empty folder; no environment variable of the user reaches it."""
    enter(tmp_path, monkeypatch)

    def run(*arguments: object) -> Answer:
        code = exit_code(arguments)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def prepare() -> Callable[..., None]:
    """Run the command line in a folder; it must succeed. For what takes long and is read by several tests of a file."""

    def run(folder: Path, *arguments: object) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            enter(folder, monkeypatch)
            assert exit_code(arguments) == 0

    return run


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder, without the user's settings of the command line."""
    for name in ("COLLAPSEBENCH_DATA", "COLLAPSEBENCH_STORE", "COLLAPSEBENCH_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)


def exit_code(arguments: Sequence[object]) -> int | str:
    """Run the command line, and return its exit code."""
    with pytest.raises(SystemExit) as stopped:
        command_line.main([str(argument) for argument in arguments])
    return stopped.value.code or 0


SERVER = os.environ.get("COLLAPSEBENCH_TEST_POSTGRES")
"""The URL of a database of a PostgreSQL server on which tests may make others; see `.ci/postgres.py`."""

collect_ignore = ["browser", "cluster", *([] if SERVER else ["test_store_postgres.py"])]
"""The tests of `browser/` and `cluster/` run when they are named: `tox run -e browser`, `tox run -e cluster`."""


def databases() -> list[str]:
    """The databases that the tests of the store run on: SQLite, and PostgreSQL if there is a server."""
    return ["sqlite", "postgresql"] if SERVER else ["sqlite"]


@pytest.fixture(params=databases())
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The place of a new store: a file, or the URL of an empty database."""
    if request.param == "sqlite":
        yield str(tmp_path / "runs.sqlite")
    else:
        with new_database() as url:
            yield url


@contextmanager
def new_database() -> Iterator[str]:
    """Make an empty database on the server, and drop it in the end."""
    import psycopg

    assert SERVER is not None
    name = f"test_{uuid4().hex}"
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{SERVER.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(SERVER, autocommit=True) as server:  # the server may have been restarted
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def a_scheduler() -> Iterator[Path]:
    """The folder of a scheduler of this machine."""
    from local_scheduler import local_scheduler  # other tests need none of what it imports

    with local_scheduler() as folder:
        yield folder


@pytest.fixture
def scheduler(a_scheduler: Path) -> Iterator[Path]:
    """The folder of a scheduler that has nothing to do."""
    from local_scheduler import clear

    yield a_scheduler
    clear(a_scheduler)
