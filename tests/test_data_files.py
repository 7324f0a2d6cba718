"""Original files: found plain or gzipped, in the dataset's folder or beside it, and refused if they are not right."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from originals import facts_table, npz, write

from collapsebench.data import files
from collapsebench.data.files import CHECKSUMS, available, data_folder, fetch_command, find, read, verify
from collapsebench.errors import DataError, UsageError
from collapsebench.facts import dataset_facts

NAME, CONTENT = "words.txt", b"one\ntwo\n" * 100


def facts(tmp_path, **entries):
    path = tmp_path / "facts.toml"
    path.write_text(facts_table({NAME: CONTENT}, **entries))
    return dataset_facts(path)


@pytest.mark.parametrize("place", ["sub", ""])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_is_found_plain_or_gzipped_in_the_folder_or_beside_it(tmp_path, place, zipped):
    known = facts(tmp_path)
    assert not available(known, tmp_path)
    write(tmp_path / place, {NAME: CONTENT}, zipped=zipped)
    assert available(known, tmp_path)
    original = read(known, NAME, tmp_path)
    assert original.content == CONTENT
    assert original.checksum == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def test_a_gzipped_file_that_someone_unpacked_without_renaming_is_read(tmp_path):
    write(tmp_path, {NAME + ".gz": CONTENT})
    assert read(facts(tmp_path), NAME, tmp_path).content == CONTENT


def test_a_missing_file_says_what_where_and_what_needs_none(tmp_path):
    with pytest.raises(DataError) as caught:
        read(facts(tmp_path), NAME, tmp_path / "data")
    message = str(caught.value)
    assert f"dataset 'facts' needs the file '{NAME}' (plain or .gz) in '{tmp_path / 'data' / 'sub'}'" in message
    assert "ask the author" in message
    assert "the datasets digits, linear-gaussian, synthetic-text need no files" in message
    assert "\n" not in message


def test_a_missing_file_with_an_address_says_how_to_fetch_it(tmp_path):
    known = facts(tmp_path, url="https://example.org/words.txt")
    with pytest.raises(DataError) as caught:
        read(known, NAME, tmp_path / "my data")
    command = f"collapsebench data fetch facts --plugin FILE --data-dir '{tmp_path}/my data'"
    assert f"get it with '{command}', or run with --fetch" in str(caught.value)


def test_the_command_that_fetches_a_shipped_dataset_is_short():
    assert fetch_command("yahoo", data_folder(None)) == "collapsebench data fetch yahoo"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (NAME, CONTENT[:-1], "is not the original: expected sha256 {expected}, got {got}"),
        (NAME, b"", "is empty"),
        (NAME + ".gz", b"", "is empty"),
        (NAME + ".gz", gzip.compress(b"", mtime=0), "is empty"),
        (NAME + ".gz", gzip.compress(CONTENT, mtime=0)[:-9], "is truncated or damaged gzip"),
        (NAME + ".gz", gzip.compress(CONTENT, mtime=0)[:20] + b"\xff" * 30, "is truncated or damaged gzip"),
    ],
)
def test_a_damaged_file_is_one_line_with_its_path(tmp_path, name, content, complaint):
    write(tmp_path, {name: content})
    expected, got = (hashlib.sha256(data).hexdigest() for data in (CONTENT, content))
    with pytest.raises(DataError) as caught:
        read(facts(tmp_path), NAME, tmp_path)
    message = str(caught.value)
    assert complaint.format(expected=expected, got=got) in message
    assert f"'{tmp_path / name}'" in message
    assert "\n" not in message


def test_an_unreadable_file_is_one_line(tmp_path, monkeypatch):
    write(tmp_path, {NAME: CONTENT})

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"cannot read data file '.*': Permission denied"):
        read(facts(tmp_path), NAME, tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in CHECKSUMS if kind != "arrays"])
def test_every_kind_of_checksum_is_checked(tmp_path, kind):
    write(tmp_path, {NAME: CONTENT})
    right = CHECKSUMS[kind](CONTENT)
    assert read(facts(tmp_path, **{"sha256": None, kind: right}), NAME, tmp_path).checksum == f"{kind}:{right}"
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    with pytest.raises(DataError, match=f"expected {kind} {wrong}, got {right}"):
        read(facts(tmp_path, **{"sha256": None, kind: wrong}), NAME, tmp_path)


def test_the_checksum_of_arrays_does_not_depend_on_how_they_are_packed():
    arrays = {"a": np.arange(5), "b": np.eye(2, dtype=np.uint8)}
    packed, plain = npz(**arrays), io.BytesIO()
    np.savez(plain, **dict(reversed(arrays.items())))
    assert packed != plain.getvalue()
    assert CHECKSUMS["arrays"](packed) == CHECKSUMS["arrays"](plain.getvalue())
    others = ({**arrays, "a": np.arange(5)[::-1]}, {**arrays, "a": np.arange(5, dtype=np.int32)}, {"a": arrays["a"]})
    assert CHECKSUMS["arrays"](packed) not in {CHECKSUMS["arrays"](npz(**other)) for other in others}
    with pytest.raises(DataError, match="is not a numpy archive"):
        CHECKSUMS["arrays"](b"anything")


def test_a_file_of_another_size_is_refused_even_if_no_checksum_is_known(tmp_path):
    write(tmp_path, {NAME: CONTENT})
    with pytest.raises(DataError, match=r"is not the original: expected 7 bytes, got 800"):
        read(facts(tmp_path, sha256=None, size="7"), NAME, tmp_path)


def test_a_gzipped_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROOM", 1 << 20)
    write(tmp_path, {NAME: bytes(2 << 20)}, zipped=True)
    with pytest.raises(DataError, match="to more than 1,048,576 bytes: a decompression bomb"):
        read(facts(tmp_path), NAME, tmp_path)


def test_the_git_checksum_is_git_s(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    done = subprocess.run(["git", "hash-object", tmp_path / NAME], capture_output=True, text=True, check=True)
    assert CHECKSUMS["git_blob"](CONTENT) == done.stdout.strip()


def test_a_file_of_unknown_checksum_is_known_by_its_own(tmp_path):
    write(tmp_path, {NAME: CONTENT})
    own = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert read(facts(tmp_path, sha256=None), NAME, tmp_path).checksum == own


def test_verify_reports_what_is_there(tmp_path):
    known = facts(tmp_path)
    assert list(verify(known, tmp_path)) == []
    write(tmp_path, {NAME: CONTENT})
    ((file, path, checksum, error),) = verify(known, tmp_path)
    assert (file.name, path, error) == (NAME, tmp_path / NAME, None)
    assert checksum == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    write(tmp_path, {NAME: CONTENT[1:]})
    ((*_, error),) = verify(known, tmp_path)
    assert "is not the original" in str(error)


def test_the_data_folder_is_the_given_one_or_the_user_s_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder(Path("here")) == Path("here")
    assert data_folder(None).is_relative_to(tmp_path)


def test_a_tilde_is_the_user_s_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder(Path("~")) == tmp_path
    assert data_folder(Path("~/corpora")) == tmp_path / "corpora"
    with pytest.raises(UsageError, match="data folder '~nobody-of-this-name': there is no such home"):
        data_folder(Path("~nobody-of-this-name"))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file", "file/below"])
def test_what_is_no_folder_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"data folder '.*(too long|null byte|ot a)") as caught:
        data_folder(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_folder_that_cannot_be_looked_into_is_one_line(tmp_path):
    known = facts(tmp_path)
    with pytest.raises(DataError, match=f"cannot look for '{NAME}' in '.*': File name too long"):
        find(known.model_copy(update={"folder": "x" * 300}), known.file(NAME), tmp_path)


def test_an_optional_file_need_not_be_there(tmp_path):
    path = tmp_path / "facts.toml"
    path.write_text(facts_table({NAME: CONTENT}) + "\noptional = true\n")
    known = dataset_facts(path)
    assert available(known, tmp_path)
    assert find(known, known.file(NAME), tmp_path) is None
