"""Reading a store writes nothing, and needs no right to write. Several processes may make a store at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from racing import begin_first, import_all, new_file, race
from records import record, spec, started
from rights import bound_by_permissions
from stored import unpacked

from collapsebench.errors import StoreError
from collapsebench.store import Store, schema
from collapsebench.store.connection import _reason
from collapsebench.store.journal import choose_journal, file_system


@pytest.fixture
def folder():
    """A folder with a store."""
    made = Path(tempfile.mkdtemp())
    with Store.open(made / "runs.sqlite") as store:
        store.finish(record())
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


@contextmanager
def unwritable(folder, *, files: int = 0o444, itself: int = 0o555):
    """Take the right to write away."""
    for each in folder.iterdir():
        each.chmod(files)
    folder.chmod(itself)
    with bound_by_permissions():
        yield


def content(folder) -> dict[str, str]:
    """The files of a folder, with their hashes."""
    return {each.name: sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


def abandon(path):
    """Write to a store in a process that is killed: its journal stays beside the file."""
    script = (
        "import os, sys\nsys.path.insert(0, sys.argv[2])\nfrom records import record\n"
        "from collapsebench.store import Store\n"
        "with Store.open(sys.argv[1]) as store:\n    store.finish(record('vae'))\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, path, Path(__file__).parent], check=False)


def read(path) -> list[str]:
    with Store.reading(path) as store:
        assert len(store.summaries()) == len(list(store.observations())) == store.count()
        return [each.contender for each in store.find()]


def test_reading_changes_nothing(folder):
    before = content(folder)
    assert read(folder / "runs.sqlite") == ["skip"]
    assert content(folder) == before


@pytest.mark.parametrize(("files", "itself"), [(0o444, 0o555), (0o444, 0o777), (0o666, 0o555)])
def test_a_finished_store_that_may_not_be_written_can_be_read(folder, files, itself):
    before = content(folder)
    with unwritable(folder, files=files, itself=itself):
        assert read(folder / "runs.sqlite") == ["skip"]
    assert content(folder) == before


@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",), ()])
def test_what_a_killed_writer_has_left_is_read_without_the_right_to_write(folder, left):
    abandon(folder / "runs.sqlite")
    with closing(sqlite3.connect(folder / "runs.sqlite")) as reader:  # the log stays if somebody reads
        reader.execute("SELECT count(*) FROM runs").fetchone()
        kept = {each.name: each.read_bytes() for each in folder.iterdir()}
    for name, bytes_ in kept.items():
        (folder / name).write_bytes(bytes_)
    for end in {"-wal", "-shm"} - set(left):
        (folder / f"runs.sqlite{end}").unlink(missing_ok=True)
    before = content(folder)
    with unwritable(folder):
        assert set(read(folder / "runs.sqlite")) == ({"skip", "vae"} if left else {"skip"})
    assert content(folder) == before


def test_a_store_on_a_medium_that_nobody_can_write_to(folder):
    """The superuser mounts one; for others it is a folder without the right to write, as above."""
    place = folder.with_name(f"{folder.name}-mounted")
    place.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.run(["mount", "--bind", folder, place], check=False).returncode
    try:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
            assert os.statvfs(place).f_flag & os.ST_RDONLY
            assert read(place / "runs.sqlite") == ["skip"]
        else:
            with unwritable(folder):
                assert read(folder / "runs.sqlite") == ["skip"]
    finally:
        if mounted:
            subprocess.run(["umount", place], check=True)
        place.rmdir()


OLDER = {"0001": ("code", "findings", "declined"), "0002": ("declined",), "0003": ()}
"""By the version of a schema: the columns that runs got later, up to 0003."""


@pytest.mark.parametrize("version", OLDER)
def test_a_store_of_an_older_schema_is_read_in_a_copy(folder, version):
    path = folder / "runs.sqlite"
    path.write_bytes(unpacked("0003", "runs.sqlite"))
    with closing(sqlite3.connect(path)) as older:
        for column in OLDER[version]:
            older.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        older.execute("UPDATE collapsebench_version SET version_num = ?", (version,))
        older.commit()
    before = content(folder)
    with unwritable(folder):
        found = read(path)
    assert len(found) == 24
    assert read(path) == found, "nor does a reader upgrade what it could write"
    assert content(folder) == before
    with Store.open(path), closing(sqlite3.connect(path)) as upgraded:
        assert upgraded.execute("SELECT version_num FROM collapsebench_version").fetchone() == (schema.HEAD,)


def test_a_reader_cannot_write(folder):
    with Store.reading(folder / "runs.sqlite") as store, pytest.raises(StoreError, match="is read-only"):
        store.finish(record("vae"))


def test_an_empty_file_is_a_store_without_runs(tmp_path):
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == []
    assert (tmp_path / "empty").stat().st_size == 0


def test_every_reading_command_works_on_a_read_only_store(folder, command):
    with unwritable(folder):
        for words in ("leaderboard", "runs list", f"runs show {spec().run_id}", "runs export -"):
            answer = command(*words.split(), "--store", folder / "runs.sqlite")
            assert answer.code == 0, answer
            assert spec().run_id in answer.out + answer.err or "skip" in answer.out


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(6))
def test_eight_processes_make_a_store_and_begin_the_same_run(tmp_path, trial):
    """Every second store is an empty file already."""
    ended = [record(seed=seed) for seed in range(2, 10)]
    path = new_file(tmp_path, trial)
    assert race(begin_first, [path, started(), ended]) == []
    with Store.reading(path) as store:
        assert len(list(store.find())) == 9


@pytest.mark.slow
def test_eight_processes_import_the_same_runs(tmp_path):
    path = new_file(tmp_path, 0)
    assert race(import_all, [path, [record(seed=seed) for seed in range(8)]]) == []
    with Store.reading(path) as store:
        assert store.count() == 8


MOUNTED = r"""
22 27 0:20 / /proc rw,relatime shared:5 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 27 0:39 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
41 27 0:40 / /home/me/scratch\040disk rw - xfs /dev/sdb1 rw
42 27 0:41 / /mnt/host rw - 9p host rw
43 27 0:42 / /mnt/far rw master:3 propagate_from:2 - fuse.sshfs me@far:/ rw
44 27 0:43 / /mnt/usb rw - fuseblk /dev/sdc1 rw
45 27 0:44 / /lustre rw - lustre server:/fs rw
46 27 0:45 / /twice rw - tmpfs tmpfs rw
47 46 0:46 / /twice rw - cifs //server/twice rw
""".lstrip()


@pytest.mark.parametrize(
    ("path", "type_", "journal"),
    [
        ("/srv/runs.sqlite", "ext4", "wal"),
        ("/home/me/runs.sqlite", "nfs4", "delete"),
        ("/home/me/scratch disk/runs.sqlite", "xfs", "wal"),
        ("/mnt/host/runs.sqlite", "9p", "delete"),
        ("/mnt/far/a/b/runs.sqlite", "fuse.sshfs", "delete"),
        ("/mnt/usb/runs.sqlite", "fuseblk", "wal"),
        ("/lustre/runs.sqlite", "lustre", "delete"),
        ("/twice/runs.sqlite", "cifs", "delete"),
    ],
)
def test_there_is_no_write_ahead_log_on_the_file_system_of_a_network(tmp_path, path, type_, journal):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTED)
    assert file_system(Path(path), mounts) == type_
    with closing(sqlite3.connect(tmp_path / "moved.sqlite", isolation_level=None)) as connection:
        for before in ("wal", "delete"):
            connection.execute(f"PRAGMA journal_mode = {before}")
            choose_journal(connection, Path(path), mounts)
            assert connection.execute("PRAGMA journal_mode").fetchone() == (journal,)


def test_where_file_systems_are_not_listed_all_are_local(tmp_path):
    assert file_system(tmp_path, tmp_path / "none") == ""


def test_a_journal_that_is_in_use_stays(folder):
    path = folder / "runs.sqlite"
    (folder / "mountinfo").write_text(MOUNTED)
    with Store.open(path), closing(sqlite3.connect(path, isolation_level=None)) as other:
        choose_journal(other, Path("/lustre/runs.sqlite"), folder / "mountinfo")
        assert other.execute("PRAGMA journal_mode").fetchone()[0] in {"wal", "delete"}
        assert other.execute("PRAGMA busy_timeout").fetchone() == (5000,)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK, sqlite3.SQLITE_PROTOCOL])
def test_a_file_system_without_locks_is_one_line(code):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    assert _reason(error) == "cannot be locked: move it to a local disk, or use a PostgreSQL database"


def test_new_files_are_as_private_as_the_user_wants(tmp_path):
    before = os.umask(0o077)
    try:
        with Store.open(tmp_path / "runs.sqlite"):
            assert stat.S_IMODE((tmp_path / "runs.sqlite").stat().st_mode) == 0o600
    finally:
        os.umask(before)
