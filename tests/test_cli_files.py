"""Where commands write: `~` is the home folder, and what cannot be written is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from records import record

from collapsebench.errors import UsageError
from collapsebench.files import expanded
from collapsebench.store import Store

FULL = Path("/dev/full")
NOBODY = "~nobody-of-this-name"


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as opened:
        opened.add(record(label, seed) for label in ("vae", "skip") for seed in (1, 2))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


WRITERS = {
    "board": ("leaderboard", "--output={}.txt"),
    "figure": ("plot", "--dataset", "digits", "--output={}.svg"),
    "export": ("runs", "export", "{}.jsonl"),
}


@pytest.fixture(params=WRITERS)
def write(request, command, store):
    """Call a command that writes to a path with the ending that it wants."""
    words = WRITERS[request.param]
    return lambda stem: command(*(word.format(stem) for word in words), "--store", store)


def test_a_tilde_is_the_home_folder(write, home, tmp_path):
    assert write("~/made/it").code == 0
    (made,) = (home / "made").iterdir()
    assert made.stem == "it"
    assert made.stat().st_size > 0
    assert not (tmp_path / "~").exists()


def test_a_home_that_is_not_known_is_one_line(write, tmp_path):
    answer = write(f"{NOBODY}/it")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: cannot tell which folder is the home of '{NOBODY}/it")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / NOBODY).exists()


def test_a_parent_that_is_a_file_is_one_line(write, tmp_path):
    (tmp_path / "file").write_text("mine")
    answer = write("file/it")
    assert answer.code == 1
    assert answer.err.startswith("error: cannot write 'file/it")
    assert answer.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_links_in_a_circle_are_one_line(write, tmp_path):
    for ending in ("txt", "svg", "jsonl"):
        (tmp_path / f"a.{ending}").symlink_to(f"b.{ending}")
        (tmp_path / f"b.{ending}").symlink_to(f"a.{ending}")
    answer = write("a")
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "Traceback" not in answer.err
    assert "(a bug" not in answer.err


@pytest.mark.skipif(not FULL.exists(), reason="no full device on this system")
def test_a_full_device_is_one_line(write, tmp_path):
    for ending in ("txt", "svg", "jsonl"):
        (tmp_path / f"full.{ending}").symlink_to(FULL)
    answer = write("full")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: cannot write 'full.")
    assert answer.err.endswith(": No space left on device\n")
    assert answer.err.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here that takes no files")
def test_a_folder_that_takes_no_files_is_one_line(write):
    answer = write("/proc/it")
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert answer.err.startswith("error: cannot write '/proc/it")


@pytest.mark.skipif(not FULL.exists(), reason="no full device on this system")
@pytest.mark.parametrize("words", [("leaderboard",), ("leaderboard", "--format", "json"), ("runs", "export", "-")])
def test_a_full_standard_output_is_one_line(words, store):
    command = [sys.executable, "-c", "from collapsebench.cli import main; main()", *words, "--store", store]
    with FULL.open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stderr) == (1, "error: cannot write standard output: No space left on device\n")


def test_plugins_and_data_are_found_below_the_home_folder(command, home):
    (home / "mine.py").write_text("raise ImportError('this file was read')\n")
    assert "this file was read" in command("methods", "--plugin=~/mine.py").err
    (home / "data").mkdir()
    assert "~" not in command("data", "list", "--data-dir=~/data").out
    assert not Path("~").exists()


def test_a_path_without_a_tilde_stays():
    assert expanded("a/~/b") == Path("a/~/b")
    with pytest.raises(UsageError, match="write the folder itself"):
        expanded(NOBODY)


@pytest.mark.parametrize("letters", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", [("leaderboard",), ("compare", "skip", "vae"), ("report", "--output", "-")])
def test_output_that_lacks_a_letter_is_no_error(store, letters, arguments):
    line = [sys.executable, "-c", "from collapsebench.cli import main; main()", *arguments, "--store", str(store)]
    done = subprocess.run(line, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": letters})
    assert (done.returncode, done.stderr) == (0, b"")
    if arguments[0] != "compare":  # boards and pages are UTF-8, as their files are
        assert "−" in done.stdout.decode("utf-8")
