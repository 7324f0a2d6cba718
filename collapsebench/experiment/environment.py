"""The environment of a run: what may explain a difference in time or in the last digits."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

LIBRARIES = {"mkl": r"Math Kernel Library Version ([0-9.]+)", "onednn": r"(?:MKL-DNN|oneDNN) v(\S+)"}
"""Where torch tells the versions of the libraries that compute products."""

CODE = ("collapsebench", "harness", "code")
"""What a checkpoint must be of, wherever it was written."""


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
    """Return the environment of a run in this process: versions, kinds of processors, and the number of threads."""
    import torch

    built = torch.__config__.show()
    libraries = {name: found[1] for name, pattern in LIBRARIES.items() if (found := re.search(pattern, built))}
    own = {"threads": torch.get_num_threads(), "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    return known_environment(device) | own | libraries | (_gpu(device) if device.startswith("cuda") else {})


def _gpu(device: str) -> dict[str, Any]:
    import torch

    from collapsebench.experiment.arithmetic import arithmetic

    if not torch.cuda.is_available():  # torch says so itself, where the model is moved
        return {}
    versions = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
    return {"gpu": torch.cuda.get_device_name(device)} | versions | arithmetic()


def kind_of_device(environment: Mapping[str, Any]) -> str:
    """Return the kind of device of a run, such as `cpu` or `cuda`; two kinds draw other noise from the same seed."""
    return str(environment["device"]).partition(":")[0]


def decisive(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides about the bits of a result. Two devices of one model compute the same."""
    own = {name: value for name, value in environment.items() if name != "cpu_count"}
    return own | {"device": kind_of_device(environment)}
