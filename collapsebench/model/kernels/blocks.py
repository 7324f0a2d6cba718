"""The sizes of blocks, in which large results are computed part by part."""

from __future__ import annotations

import torch

TIMES = 32
"""A block on another device than the CPU is so many times as large, unless it is said otherwise. It is chosen by its
memory, some hundred megabytes at most, and not by a measurement."""


def block_of(size: int, device: torch.device, times: int = TIMES) -> int:
    """Return the size of a block: `size` on the CPU, where it stays in the cache, and a multiple of it elsewhere.

    Other devices start each operation anew and have no such cache: small blocks leave them idle.

    >>> import torch
    >>> from collapsebench.model.kernels.blocks import block_of
    >>> block_of(320, torch.device("cpu")), block_of(320, torch.device("cuda", 0))
    (320, 10240)
    """
    return size if device.type == "cpu" else times * size
