"""The allocator and the collector of a command line process."""

from __future__ import annotations

import gc
import platform
import resource
import subprocess
import sys

import pytest

from collapsebench.experiment import memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

FAULTS = """
import resource, sys
from collapsebench.experiment.memory import keep_mapped
if sys.argv[1] == "kept":
    assert keep_mapped()
def touch():
    bytearray(2**26)[::4096] = b"x" * 2**14
touch(), touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    ran = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(ran.stdout) * resource.getpagesize()


@glibc
def test_freed_memory_is_not_mapped_anew():
    assert faults("kept") < 2**22
    assert faults("default") >= 2**25


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not memory.keep_mapped()


def test_import_changes_nothing():
    code = "import ctypes; ctypes.CDLL = None; import collapsebench.experiment.memory, collapsebench.cli.run"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_collector_is_off_within_and_as_it_was_after():
    with memory.uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with memory.uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.torch
def test_the_end_of_the_process_looks_for_no_garbage_either():
    """What is registered first runs last: after the collector has been told to leave everything alone."""
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "from collapsebench.experiment import memory\n"
        "with memory.uncollected(): pass\n"
        "print(gc.get_freeze_count())"
    )
    within, after = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert int(within) == 0 < int(after)
