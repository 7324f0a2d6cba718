"""The environment of a run: what may explain a difference in time or in the last digits."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any


def known_environment(device: str) -> dict[str, Any]:
    """Return what is known without torch, of the process that hands out runs. No host name and no path is in it."""
    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
        "collapsebench": metadata.version("collapsebench"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "device": device,
    }


def environment(device: str) -> dict[str, Any]:
    """Return the environment of a run in this process."""
    import torch

    return known_environment(device) | {"threads": torch.get_num_threads()}
