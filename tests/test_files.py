"""A file that is written is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collapsebench.files import replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_by_what_was_written(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    for text in ("first", "second"):
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
            assert not path.exists() or path.read_text(encoding="utf-8") == "first"
        assert path.read_text(encoding="utf-8") == text
        assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_the_old_file_stays_and_nothing_else_if_writing_fails(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def write():
        with replacing(path) as partial:
            partial.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        write()
    assert (names(tmp_path), path.read_text(encoding="utf-8")) == (["a.txt"], "old")


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one", encoding="utf-8")
        other.write_text("other", encoding="utf-8")
    assert (names(tmp_path), path.read_text(encoding="utf-8")) == (["a.txt"], "one")


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    path, events = tmp_path / "a.txt", []
    sync, rename = os.fsync, Path.replace

    def saw_sync(descriptor):
        events.append(("sync", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def saw_rename(self, target):
        events.append(("rename", self.stat().st_ino))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", saw_sync)
    monkeypatch.setattr(Path, "replace", saw_rename)
    with replacing(path) as partial:
        partial.write_text("whole", encoding="utf-8")
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert events == [("sync", file), ("rename", file), ("sync", folder)]


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch):
    sync = os.fsync

    def files_alone(descriptor):
        if os.fstat(descriptor).st_ino == tmp_path.stat().st_ino:
            raise OSError
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("whole", encoding="utf-8")
    assert names(tmp_path) == ["a.txt"]
