"""How many processors a process may use: affinity, control groups, OMP_NUM_THREADS."""

from __future__ import annotations

import os

import pytest

from collapsebench.experiment.processors import processors


@pytest.fixture
def many(monkeypatch):
    """A process that may use 64 processors, as far as affinity goes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def groups(folder, own, **quotas):
    """Control groups as Linux shows them: a file for each path, with __ for slashes."""
    for name, content in quotas.items():
        path = folder / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "own").write_text(own)
    return folder, folder / "own"


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({}, 64),
        ({"a__b__cpu_max": "max 100000\n"}, 64),
        ({"a__b__cpu_max": "400000 100000\n"}, 4),
        ({"a__b__cpu_max": "150000 100000\n"}, 2),
        ({"a__b__cpu_max": "10000 100000\n"}, 1),
        ({"a__b__cpu_max": "max 100000\n", "a__cpu_max": "300000 100000\n"}, 3),
        ({"a__b__cpu_max": "nonsense\n"}, 64),
    ],
)
def test_the_quota_of_a_group_and_of_those_around_it_counts(many, tmp_path, quotas, expected):
    assert processors(*groups(tmp_path, "0::/a/b\n", **quotas)) == expected


def test_the_first_version_of_control_groups_counts(many, tmp_path):
    folder = tmp_path / "cpu,cpuacct" / "a"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert processors(*groups(tmp_path, "3:memory:/a\n4:cpu,cpuacct:/a\n")) == 2
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert processors(*groups(tmp_path, "4:cpu,cpuacct:/a\n")) == 64


@pytest.mark.parametrize(("wanted", "expected"), [("3", 3), ("3,2", 3), ("0", 1), ("all", 64), ("1000", 64)])
def test_the_users_number_of_threads_counts(many, tmp_path, monkeypatch, wanted, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert processors(tmp_path, tmp_path / "none") == expected


def test_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if hasattr(os, "sched_getaffinity"):
        assert processors(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))
    else:
        assert processors(tmp_path, tmp_path / "none") == os.cpu_count()
