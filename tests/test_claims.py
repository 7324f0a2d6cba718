"""Claims: one driver at a time has a run computed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from collapsebench.errors import StoreError
from collapsebench.experiment.claims import Claims

RUN = "0123456789abcdef"

CLAIM = """
import sys
from contextlib import ExitStack
from pathlib import Path
from pathlib import Path
from collapsebench.experiment.claims import Claims
with Claims(Path(sys.argv[1])).claim(sys.argv[2]) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_holds_a_run_until_it_ends(tmp_path):
    program = [sys.executable, "-c", CLAIM, str(tmp_path), RUN]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with Claims(tmp_path).claim(RUN) as mine:
            assert not mine
        with Claims(tmp_path).claim("f" * 16) as mine:
            assert mine
        other.kill()
        other.wait()
        with Claims(tmp_path).claim(RUN) as mine:
            assert mine


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write checkpoints to"), Claims(tmp_path / "file").claim(RUN):
        pass


def test_a_process_does_not_hold_a_run_twice(tmp_path):
    with Claims(tmp_path).claim(RUN) as first:
        with Claims(tmp_path).claim(RUN) as again:
            assert (first, again) == (True, False)
        with Claims(tmp_path).claim(RUN) as again:
            assert not again, "the end of a vain try gives nothing back"
    with Claims(tmp_path).claim(RUN) as later:
        assert later


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_thousands_of_claims_take_one_file(tmp_path):
    claims, before = Claims(tmp_path), open_files()
    with ExitStack() as held:
        assert all(held.enter_context(claims.claim(f"{4 * number:016x}")) for number in range(2000))
        assert open_files() == before + 1
        with Claims(tmp_path).claim(f"{4:016x}") as other:
            assert not other
    assert open_files() == before
    with Claims(tmp_path).claim(f"{4:016x}") as later:
        assert later


def test_who_looks_on_sees_what_is_held_and_holds_nothing(tmp_path):
    lookers, free = Claims(tmp_path), "f" * 16
    assert lookers.taken([RUN, free]) == set()
    assert list(tmp_path.iterdir()) == []
    program = [sys.executable, "-c", CLAIM, str(tmp_path), RUN]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        (tmp_path / "claims").chmod(0o444)
        before = open_files()
        assert lookers.taken([RUN, free]) == {RUN}
        assert open_files() == before
        other.kill()
        other.wait()
    assert lookers.taken([RUN, free]) == set()
    (tmp_path / "claims").chmod(0o644)
    with Claims(tmp_path).claim(RUN), Claims(tmp_path).claim(free):
        assert lookers.taken([RUN, free, "0" * 16]) == {RUN, free}
        with Claims(tmp_path).claim(free) as again:
            assert not again, "a look gives nothing back"
