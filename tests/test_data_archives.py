"""Archives: files are read by name and never unpacked, and what no honest archive holds is refused."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.data import files
from collapsebench.data.archives import read_files
from collapsebench.errors import DataError

WANTED = frozenset({"train.txt", "test.txt"})
CONTENTS = {"corpus/train.txt": b"one\n" * 100, "corpus/test.txt": b"two\n", "corpus/readme": b"three\n"}


def zipped(contents, method=zipfile.ZIP_DEFLATED, kind=0):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("corpus")
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = kind << 16
            archive.writestr(info, content, method)
    return file.getvalue()


def tarred(contents, mode="w:gz", **attributes):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        folder = tarfile.TarInfo("corpus")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


KINDS = {"zip": zipped, "stored": lambda contents: zipped(contents, zipfile.ZIP_STORED), "tar.gz": tarred}
KINDS |= {"tar": lambda contents: tarred(contents, "w:")}


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_found_by_name_in_any_folder(kind):
    found = read_files("x", KINDS[kind](CONTENTS), WANTED)
    assert found == {"train.txt": CONTENTS["corpus/train.txt"], "test.txt": CONTENTS["corpus/test.txt"]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../train.txt", "/etc/train.txt", "a/../../train.txt", "..\\train.txt", "../other"])
def test_a_path_out_of_the_archive_is_hostile(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"archive 'x' is hostile: it holds .*, a path outside of it"):
        read_files("x", KINDS[kind]({**CONTENTS, name: b"evil"}), WANTED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_a_tar_file_is_hostile(kind):
    with pytest.raises(DataError, match="a link or a device"):
        read_files("x", tarred({"train.txt": b""}, type=kind, linkname="/etc/passwd"), WANTED)


def test_a_link_in_a_zip_file_is_hostile():
    with pytest.raises(DataError, match="a link or a device"):
        read_files("x", zipped({"train.txt": b"/etc/passwd"}, kind=stat.S_IFLNK | 0o777), WANTED)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["train.txt", "other"])
def test_a_bomb_is_not_unpacked(monkeypatch, kind, name):
    """In a zip file, what is not wanted is not unpacked at all; in a tar file, it is on the way."""
    monkeypatch.setattr(files, "ROOM", 1 << 20)
    packed = KINDS[kind]({**CONTENTS, name: bytes(4 << 20)})
    if (kind, name) == ("zip", "other"):
        assert len(read_files("x", packed, WANTED)) == 2
        return
    with pytest.raises(DataError, match=r"archive 'x' unpacks from .* to more than 1,048,576 bytes: a decompr"):
        read_files("x", packed, frozenset({name}))


def test_many_small_files_are_a_bomb_together(monkeypatch):
    monkeypatch.setattr(files, "ROOM", 1 << 20)
    monkeypatch.setattr(files, "GROWTH", 2)
    contents = {f"{i}.txt": bytes(1 << 16) for i in range(32)}
    for pack in (zipped, tarred):
        with pytest.raises(DataError, match="decompression bomb"):
            read_files("x", pack(contents), frozenset(contents))


def test_a_sparse_file_of_a_tar_is_a_bomb(monkeypatch):
    """It claims holes of any size, which take no place in the stream."""
    monkeypatch.setattr(files, "ROOM", 1 << 20)
    size = 1 << 40
    header = bytearray(tarfile.TarInfo("train.txt").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"\x80" + struct.pack(">Q", size).rjust(11, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(DataError, match="decompression bomb"):
        read_files("x", bytes(header) + bytes(1024), frozenset({"train.txt"}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_is_there_twice_or_not_at_all_is_an_error(kind):
    with pytest.raises(DataError, match=r"archive 'x' holds 'train\.txt' twice"):
        read_files("x", KINDS[kind]({**CONTENTS, "other/train.txt": b"four\n"}), WANTED)
    with pytest.raises(DataError, match=r"archive 'x' does not hold 'valid\.txt'"):
        read_files("x", KINDS[kind](CONTENTS), WANTED | {"valid.txt"})


@pytest.mark.parametrize(
    "packed", [b"", b"PK\x03\x04", b"no archive", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b\x08"]
)
def test_what_is_no_archive_is_one_line(packed):
    with pytest.raises(DataError, match="archive 'x' ") as caught:
        read_files("x", packed, WANTED)
    assert "\n" not in str(caught.value)


def test_an_encrypted_zip_is_one_line():
    packed = bytearray(zipped({"train.txt": b"secret"}, zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = packed.rindex(mark) + offset
        packed[at] |= 1
    with pytest.raises(DataError, match=r"cannot be read: .*password"):
        read_files("x", bytes(packed), frozenset({"train.txt"}))


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_a_damaged_archive_gives_the_right_files_or_one_line(kind, data):
    packed = bytearray(KINDS[kind](CONTENTS))
    end = data.draw(st.integers(0, len(packed)))
    for _ in range(data.draw(st.integers(0, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError):
        assert read_files("x", bytes(packed[:end]) if end else bytes(packed), WANTED).keys() == WANTED
