"""The devices of a grid: what they are called, and which one a worker gets."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

from collapsebench.errors import UsageError

KINDS = frozenset({"cpu", "cuda", "mps", "xpu"})
"""The kinds of devices that torch has names for, of those that train networks."""

DEVICE = re.compile(rf"({'|'.join(sorted(KINDS))})(:(0|[1-9][0-9]{{0,2}}))?")
"""A kind and perhaps a number, as torch reads it."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees, and in which order they are numbered."""


def devices_of(text: str) -> tuple[str, ...]:
    """Read `cpu`, `cuda:1` or `cuda:0,cuda:1`. Raises UsageError for what is no name of a device at all.

    Whether a device is there, `check_there` says.

    >>> from collapsebench.experiment.placement import devices_of
    >>> devices_of("cuda:0, cuda:3")
    ('cuda:0', 'cuda:3')
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if DEVICE.fullmatch(name) is None:
            raise UsageError(f"unknown device '{name}'. Known: cpu, cuda, cuda:0, mps, xpu")
    if len(names) > 1 and not all(name.startswith("cuda:") for name in names):
        raise UsageError(f"several devices must be GPUs with numbers, as in cuda:0,cuda:1; got '{text}'")
    if len(set(names)) < len(names):
        raise UsageError(f"a device is named twice in '{text}'; to share it: --per-device 2")
    return names


def check_there(devices: Sequence[str]) -> None:
    """Raise UsageError for a device that torch does not find on this machine."""
    if devices[0].startswith("cpu"):
        return
    import torch

    for name in devices:
        kind, _, index = name.partition(":")
        module = getattr(torch, kind)
        found = module.device_count() if kind == "mps" or module.is_available() else 0
        if int(index or 0) >= found:
            there = ", ".join(["cpu", *(f"{kind}:{number}" for number in range(found))])
            raise UsageError(f"torch finds no device '{name}' on this machine. Known: {there}")


def check_workers(devices: Sequence[str], workers: int, per_device: int) -> None:
    """Raise UsageError if there are more workers than places on the GPUs, or fewer than GPUs. A CPU has any number."""
    if not devices[0].startswith("cuda"):
        return
    if workers < len(devices):
        raise UsageError(
            f"{len(devices)} devices need --workers {len(devices)} at least, as each run is on one of them"
        )
    if workers > len(devices) * per_device:
        shared = math.ceil(workers / len(devices))
        raise UsageError(f"{workers} workers share {', '.join(devices)}: give --per-device {shared} if they are to")


def least_used(devices: Sequence[str], used: Sequence[str]) -> str:
    """Return the device that occurs least often among those in use, the first one of several.

    >>> from collapsebench.experiment.placement import least_used
    >>> least_used(["cuda:0", "cuda:1"], used=["cuda:0"])
    'cuda:1'
    """
    return min(devices, key=used.count)


def alone_with(device: str) -> str:
    """Let this process see one numbered GPU alone, and return its name here. Nothing may have used CUDA before.

    So nothing that a run does reaches another GPU. If the process sees some GPUs only, they are numbered among these.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index:
        return device
    seen = [each.strip() for each in os.environ.get(VISIBLE, "").split(",") if each.strip()]
    if seen and int(index) >= len(seen):
        return device  # torch says that it is not there
    os.environ[VISIBLE] = seen[int(index)] if seen else index
    return "cuda:0"
