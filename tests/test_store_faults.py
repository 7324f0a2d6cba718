"""What can go wrong with a store: each fault is one line, and nothing that was stored is lost."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from records import record, spec, started
from rights import bound_by_permissions
from sqlalchemy import create_engine, event

from collapsebench.errors import StoreError, UsageError
from collapsebench.store import Store, connection, schema
from collapsebench.store.models import Base


@pytest.fixture
def path(tmp_path):
    """A store with one finished run."""
    file = tmp_path / "runs.sqlite"
    with Store.open(file) as store:
        store.finish(record())
    return file


def refusal(store, **options) -> str:
    """The line with which a store refuses to open, or to take one more record."""
    with pytest.raises(StoreError) as refused, Store.open(store, **options) as opened:
        opened.finish(record("vae"))
    line = str(refused.value)
    assert "\n" not in line
    return line


@contextmanager
def sqlite(path):
    """Another program that has the file open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def pragma(path, name) -> object:
    with sqlite(path) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_store_is_created_with_its_folders(tmp_path):
    for store in (tmp_path / "a" / "b" / "runs.sqlite", f"sqlite:///{tmp_path}/c/runs.sqlite"):
        with Store.open(store) as opened:
            opened.finish(record())
        with Store.open(store, create=False) as opened:
            assert opened.count() == 1
    assert (tmp_path / "c" / "runs.sqlite").is_file()


def test_an_empty_file_becomes_a_store(tmp_path):
    (tmp_path / "empty").touch()
    with Store.open(tmp_path / "empty", create=False) as store:
        assert store.count() == 0


@pytest.mark.parametrize("store", ["sqlite://", "sqlite:///:memory:", ":memory:"])
def test_a_store_in_memory_is_refused_as_its_results_would_be_gone(store):
    with pytest.raises(UsageError, match="gone when the command ends"), Store.open(store):
        pass


def test_a_path_may_begin_with_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for store in ("~/a.sqlite", "sqlite:///~/b.sqlite"):
        with Store.open(store) as opened:
            opened.finish(record())
    assert {each.name for each in tmp_path.iterdir()} == {"a.sqlite", "b.sqlite"}


def test_a_missing_store_is_not_created_by_readers(tmp_path):
    assert "collapsebench run" in refusal(tmp_path / "sub" / "none.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_sqlite(path):
    with Store.open(path) as store, store._database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_not_a_database(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database at all " * 100)
    assert "notes.txt' is not an SQLite database" in refusal(tmp_path / "notes.txt")
    assert "cannot be opened" in refusal(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "not a database at all " * 100


def test_a_database_of_something_else(tmp_path):
    with sqlite(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    assert "not a store of collapsebench: it has other tables (songs)" in refusal(tmp_path / "other.sqlite")


def test_a_damaged_file(path):
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    assert "is damaged" in refusal(path)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot create the folder" in refusal(tmp_path / "file" / "runs.sqlite")


@pytest.fixture
def open_folder():
    """A folder whose right to write is given back at the end."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def test_a_read_only_file(open_folder):
    file = open_folder / "runs.sqlite"
    with Store.open(file) as store:
        store.finish(record())
    file.chmod(0o400)
    with bound_by_permissions():
        assert f"the store '{file}' is read-only" in refusal(file)
        with Store.open(file, create=False) as store:
            assert list(store.find()) == [record()], "reading needs no right to write"


def test_a_read_only_folder(open_folder):
    open_folder.chmod(0o500)
    with bound_by_permissions():
        assert "cannot be opened" in refusal(open_folder / "runs.sqlite")
        assert "cannot create the folder" in refusal(open_folder / "sub" / "runs.sqlite")


def test_locked(path):
    with sqlite(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "is locked by another program" in refusal(path, timeout=0.05)
        with Store.open(path) as store:
            assert list(store.find()) == [record()], "readers do not wait for writers"
        other.execute("ROLLBACK")
    with Store.open(path, timeout=0.05) as store:
        store.finish(record("vae"))


def test_a_newer_schema(path):
    with sqlite(path) as newer:
        newer.execute("UPDATE collapsebench_version SET version_num = '9999'")
    line = refusal(path)
    assert "schema 9999" in line
    assert "pip install --upgrade collapsebench" in line


def test_a_full_disk_loses_nothing(path):
    with Store.open(path) as store:
        store.begin(started("vae"))
        store._database.engine.dispose()
        pages = pragma(path, "page_count")
        event.listen(store._database.engine, "connect", lambda new, _: new.execute(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(StoreError, match="the disk is full"):
            store.finish(record("vae", message="x" * 1_000_000))
        assert store.get(spec("vae").run_id) == started("vae")
        assert store.get(spec().run_id) == record()
    assert pragma(path, "integrity_check") == "ok"


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        ("", "write a file, or postgresql://USER@HOST/DATABASE"),
        ("a\0b", "write a file, or postgresql://USER@HOST/DATABASE"),
        ("~nobody-of-this-name/runs.sqlite", "which folder is the home of"),
        ("sqlite:://x", "write a file, or postgresql://USER@HOST/DATABASE"),
        ("sqlite:///runs.sqlite?mode=ro", "write the file alone, as in sqlite:///runs.sqlite"),
        ("sqlite:///file:runs.sqlite", "write the file alone"),
        ("sqlite://runs.sqlite", "write the file alone"),
        ("nosuch://host/runs", "stores are SQLite or PostgreSQL"),
        ("mysql://user:secret@host/runs", "stores are SQLite or PostgreSQL"),
        ("postgresql+asyncpg://user:secret@host/runs", "stores are SQLite or PostgreSQL"),
        ("postgresql+psycopg2://user:secret@host/runs?password=secret", "stores are SQLite or PostgreSQL"),
        ("postgresql://user:secret@host:port/runs", "write a file, or postgresql://USER@HOST/DATABASE"),
        ("postgresql://user:secret@[::1/runs", "write a file, or postgresql://USER@HOST/DATABASE"),
        ("postgresql:/user:secret@host/runs", "write a file, or postgresql://USER@HOST/DATABASE"),
        ("postgresql://user:se@secret@host/runs", "an @ in a password is written %40"),
    ],
)
def test_urls_that_are_none_are_one_line_without_their_password(store, complaint):
    with pytest.raises(UsageError) as refused, Store.open(store):
        pass
    assert complaint in str(refused.value)
    assert not re.search("secret|\n", str(refused.value))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "Postgres"])
def test_every_spelling_of_postgresql_is_one_database(scheme):
    url = connection.store_url(f"{scheme}://user:secret@host/runs?sslpassword=secret")
    assert url.drivername == "postgresql+psycopg"
    assert connection.store_name(url) == "postgresql://user:***@host/runs"


def test_a_missing_driver_is_named_and_the_password_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    line = refusal("postgresql://user:secret@host/runs")
    assert "needs the Python package 'psycopg': pip install 'collapsebench[postgres]'" in line
    assert "secret" not in line


DIE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from records import record, started
from sqlalchemy import event
from sqlalchemy.orm import Session
from collapsebench.store import Store

with Store.open({path!r}) as store:
    store.begin(started("vae"))
    event.listen(Session, {moment!r}, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    store.finish(record("vae"))
"""


@pytest.mark.parametrize("moment", ["do_orm_execute", "before_commit"])
def test_a_killed_writer_leaves_the_started_row_and_nothing_else(path, moment):
    script = DIE.format(tests=str(Path(__file__).parent), path=str(path), moment=moment)
    died = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert pragma(path, "integrity_check") == "ok"
    with Store.open(path) as store:
        assert store.get(spec("vae").run_id) == started("vae")
        store.finish(record("vae"))
        assert {found.run_id: found for found in store.find()} == {r.run_id: r for r in (record(), record("vae"))}


@pytest.mark.slow
def test_one_store_opened_new_by_several_processes(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from records import record\nfrom collapsebench.store import Store\n"
        "with Store.open(sys.argv[1]) as store: store.finish(record(seed=int(sys.argv[3])))"
    )
    arguments = [str(tmp_path / "runs.sqlite"), str(Path(__file__).parent)]
    writers = [
        subprocess.Popen([sys.executable, "-c", script, *arguments, str(seed)], stderr=subprocess.PIPE)
        for seed in range(3)
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 3
    with Store.open(tmp_path / "runs.sqlite") as store:
        assert store.count() == 3


def clauses(statements):
    """The clauses of each statement, in any order: a column that is added to a table comes last in its text."""
    split = re.compile(r",(?![^(]*\))|\n")
    return {
        name: sorted(filter(None, (part.strip() for part in split.split((sql or "").removesuffix(")").strip()))))
        for name, sql in statements
    }


def test_a_new_store_is_what_all_migrations_make(path):
    written = "SELECT name, sql FROM sqlite_master ORDER BY name"
    engine, migrated = create_engine(f"sqlite:///{path}"), create_engine("sqlite://")
    with engine.connect() as new, migrated.begin() as connection:
        schema.migrate(connection, None, "migrated")
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSIONS.name})
        assert context.get_current_revision() == schema.version(new, "new") == schema.HEAD
        assert compare_metadata(context, Base.metadata) == []
        assert clauses(new.exec_driver_sql(written)) == clauses(connection.exec_driver_sql(written))
    engine.dispose()
    migrated.dispose()


NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0005", "0004"
def upgrade():
    op.add_column("runs", sa.Column("note", sa.Text))
"""


def test_an_older_schema_is_upgraded_and_keeps_its_runs(path, tmp_path, monkeypatch):
    scripts = tmp_path / "100% new migrations"
    shutil.copytree(schema.MIGRATIONS, scripts)
    (scripts / "versions" / "m0005_note.py").write_text(NEXT)
    monkeypatch.setattr(schema, "HEAD", "0005")
    monkeypatch.setattr(schema, "MIGRATIONS", scripts)
    for _ in range(2):
        with Store.open(path) as store, store._database.engine.connect() as connection:
            assert list(store.find()) == [record()]
            assert connection.exec_driver_sql("SELECT note FROM runs").all() == [(None,)]
            assert schema.version(connection, "runs") == "0005"


def test_a_failed_upgrade_changes_nothing(path, tmp_path, monkeypatch):
    scripts = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, scripts)
    (scripts / "versions" / "m0005_note.py").write_text(NEXT + '    op.execute("DROP TABLE nowhere")')
    monkeypatch.setattr(schema, "HEAD", "0005")
    monkeypatch.setattr(schema, "MIGRATIONS", scripts)
    assert "no such table: nowhere" in refusal(path)
    monkeypatch.undo()
    with Store.open(path) as store:
        assert list(store.find()) == [record()]


def test_the_store_loads_no_torch():
    script = "import sys, collapsebench.store; sys.exit('torch' in sys.modules or 'alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_spec_of_another_version_is_one_clear_line(path):
    """A field that this version does not know is not silently dropped: it is part of the identity."""
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("UPDATE protocols SET content = json_set(content, '$.moon', 'full')")
    with Store.reading(path) as store:
        assert list(store.find()) == list(store.observations()) == store.summaries() == []
        (found,) = store.unreadable
        with pytest.raises(StoreError, match=rf"`collapsebench runs delete {spec().run_id}` removes it"):
            store.get(spec().run_id)
    assert found.run_id == spec().run_id
    assert "stored by collapsebench 0.1.0 with a protocol that this version cannot read: unknown field" in found.reason
