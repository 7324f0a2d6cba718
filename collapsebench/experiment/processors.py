"""The processors that this process may use, which are often fewer than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

MOST = 1024
"""The largest number of threads or of workers: more of them only exhaust a system."""

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the control groups of processes."""


def processors(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many threads can run at a time: by affinity, by the quota of control groups, by OMP_NUM_THREADS."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    there = cores(groups, own)
    return max(1, min(there, int(wanted))) if wanted.isdecimal() else there


def cores(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many processes can run at a time: by affinity, and by the quota of control groups."""
    return max(1, min([_affinity(), *_quotas(groups, own)]))


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        return os.cpu_count() or 1


def _quotas(groups: Path, own: Path) -> Iterator[int]:
    """Yield the quotas of the process's group and of those around it, in processors, rounded up."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for group in _upwards(groups / path.lstrip("/"), groups):
                yield from _quota(*_words(group / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for group in _upwards(groups / controllers / path.lstrip("/"), groups):
                yield from _quota(*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us"))


def _upwards(group: Path, top: Path) -> list[Path]:
    return [each for each in (group, *group.parents) if each.is_relative_to(top)]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _quota(*words: str) -> Iterator[int]:
    """Yield the quotient of two numbers; nothing where there is no limit, which is written `max` or -1."""
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield math.ceil(int(words[0]) / int(words[1]))
