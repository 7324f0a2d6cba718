"""What the machine can do right now: its matrix-product rate, and how much of it others use."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

SIZE = 2048
"""Of the square matrices whose product is the yardstick."""

FOREIGN = 0.06
"""The largest share of the machine that other processes may use while a block is timed."""

SECONDS = 0.4
"""What a block lasts at least: the kernel counts processor time in hundredths of a second."""


@dataclass(frozen=True)
class Block:
    """Some calls of a workload, timed together."""

    seconds: float
    """Of one call."""
    rate: float
    """Single-precision matrix products around it, FLOP/s."""
    foreign: float
    """Share of the machine that other processes used."""


class Yardstick:
    """Times blocks, each between two measurements of the product rate.

    By wall time, where a block is clean if nobody else computed; or, on a machine that is never quiet, by the processor
    time of this process, which says something for a single thread only.
    """

    def __init__(self, *, processor_time: bool = False) -> None:
        """Draw the matrix, and warm up."""
        self._clock = time.process_time if processor_time else time.perf_counter
        self._tolerated = 1.0 if processor_time else FOREIGN
        self._matrix = torch.randn(SIZE, SIZE)
        self.rate()

    def rate(self, repeats: int = 5) -> float:
        """FLOP/s of a product of two square matrices, the median."""
        times = [self._seconds(lambda: torch.mm(self._matrix, self._matrix)) for _ in range(repeats)]
        return 2.0 * SIZE**3 / statistics.median(times)

    def block(self, call: Callable[[], object], calls: int) -> Block:
        """Time so many calls."""
        busy, own, start = _busy(), _own(), time.perf_counter()
        before = self.rate()
        seconds = self._seconds(lambda: [call() for _ in range(calls)]) / calls
        rate = (before + self.rate()) / 2
        elapsed = time.perf_counter() - start
        foreign = (_busy() - busy) - (_own() - own)
        return Block(seconds, rate, max(0.0, foreign / (elapsed * (os.cpu_count() or 1))))

    def blocks(self, call: Callable[[], object], wanted: int, patience: int) -> list[Block]:
        """So many clean blocks after a warm-up, if that many are among `patience` blocks; the clean ones if not."""
        call()
        calls = max(1, round(SECONDS / self._seconds(call)))
        clean: list[Block] = []
        for _ in range(patience):
            block = self.block(call, calls)
            clean += [block] if block.foreign <= self._tolerated else []
            if len(clean) == wanted:
                break
        return clean

    def _seconds(self, call: Callable[[], object]) -> float:
        start = self._clock()
        call()
        return self._clock() - start


def _busy() -> float:
    """Processor seconds that the whole machine was not idle, and those that its host took away."""
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """Processor seconds of this process."""
    times = os.times()
    return times.user + times.system


def describe() -> dict[str, str | int]:
    """What a number of this machine depends on; no host name and no path."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    return {"processor": models[0], "cores": len(models), "threads": threads, "torch": torch.__version__}
