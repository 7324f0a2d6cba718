"""`python -m bench.growth`: how time and memory grow with each size, as slopes in a log-log plot.

Every point is measured in a process of its own, with one thread: processor time is the median of some calls, memory the
peak of the resident set during the first call, above what was resident before it. A call of the smallest size before
that loads the code. Parameters and data are there before; gradients and an optimizer's moments are part of the peak.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate

from bench.work import Text
from bench.workloads import Call, RandomSplit, image_setup, stepping, text_setup
from collapsebench.experiment.memory import keep_mapped
from collapsebench.metrics.estimators import mutual_information_bracket
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise

TOLERANCE = 0.1
"""Of a slope: over a sweep of 16 times it lets the largest point cost 1.3 times as much per unit as the smallest, for
caches that are too small for it and for other processes."""

SECONDS = 0.5
"""What is timed at a point lasts at least."""

HELD = 32 * 8
"""Bytes that an evaluation may hold for each example beside its blocks, with two latent units: parameters, code, noise
and densities in float64, some of them twice while they are put in order. Taken off before the slope."""

TEXT = Text(vocabulary=2000, embedding=64, hidden=128, latent=8, batch=16, tokens=20)
"""Where nothing else is swept: small, but most of the time is spent in products."""

Build = Callable[[int], Call]


class Cost(NamedTuple):
    """Of one call."""

    seconds: float
    bytes: float


@dataclass(frozen=True)
class Sweep:
    """One quantity over powers of two, and the slopes that the algorithm implies."""

    name: str
    quantity: str
    values: tuple[int, ...]
    time: float
    memory: float
    build: Build
    held: int = 0
    """Bytes for each unit of the quantity that are results, and are taken off the peak."""


def doubled(first: int, points: int = 5) -> tuple[int, ...]:
    """So many powers of two times the first."""
    return tuple(first * 2**power for power in range(points))


def slope(values: tuple[int, ...], costs: list[float]) -> float:
    """Of the line through the points in a log-log plot, by least squares."""
    return statistics.linear_regression(list(map(math.log, values)), list(map(math.log, costs))).slope


def verdict(found: float, implied: float) -> str:
    """Whether a slope is what the algorithm implies, or less."""
    return "within" if found <= implied + TOLERANCE else "ABOVE"


def sweeps() -> list[Sweep]:
    """All rows, in the order of the table."""
    return [
        Sweep("text vae, step", "batch", doubled(8), 1, 1, _text("vae", lambda n: replace(TEXT, batch=n))),
        Sweep(
            "text sa-vae, step", "batch", doubled(4), 1, 1, _text("sa-vae[steps=4]", lambda n: replace(TEXT, batch=n))
        ),
        Sweep("mlp vae, step", "batch", doubled(64), 1, 1, _perceptron),
        Sweep("pixelcnn vae, step", "batch", doubled(2), 1, 1, _pixelcnn),
        Sweep("text vae, step", "length", doubled(10), 1, 1, _text("vae", lambda n: replace(TEXT, tokens=n))),
        Sweep(
            "text sa-vae, step", "length", doubled(5), 1, 1, _text("sa-vae[steps=4]", lambda n: replace(TEXT, tokens=n))
        ),
        Sweep("text vae, step", "latent size", doubled(64), 1, 1, _text("vae", lambda n: replace(TEXT, latent=n))),
        Sweep("text skip, step", "latent size", doubled(64), 1, 1, _text("skip", lambda n: replace(TEXT, latent=n))),
        Sweep("text sa-vae, step", "SVI steps", doubled(2), 1, 1, _refined),
        Sweep("-ELBO of a split", "examples", doubled(500), 1, 0, _bound, HELD),
        Sweep("IW-NLL, 20 samples", "examples", doubled(32), 1, 0, _importance_of_many, HELD),
        Sweep("IW-NLL, 8 examples", "IW samples", doubled(200), 1, 0, _importance_of_few),
        Sweep("MI bracket", "examples", doubled(1000), 2, 0, _bracket, HELD),
    ]


def _text(contender: str, size: Callable[[int], Text]) -> Build:
    return lambda value: stepping(text_setup(contender, size(value)))


def _refined(steps: int) -> Call:
    return stepping(text_setup(f"sa-vae[steps={steps}]", replace(TEXT, batch=8)))


def _perceptron(batch: int) -> Call:
    return stepping(image_setup("vae", 50, {"name": "mlp"}, {"name": "mlp"}, batch))


def _pixelcnn(batch: int) -> Call:
    return stepping(image_setup("vae", 32, {"name": "resnet"}, {"name": "pixelcnn"}, batch))


def _evaluated(size: Text, examples: int) -> Callable[[], EvaluatedSplit]:
    """What a run evaluates: nothing is computed yet."""
    setup = text_setup("vae", size)
    documents = RandomSplit(np.random.default_rng(0).integers(4, size.vocabulary, (examples, size.tokens + 1)))
    return lambda: EvaluatedSplit(setup.vae, setup.inference, documents, SeededNoise(1), size.batch, setup.device)


def _bound(examples: int) -> Call:
    evaluated = _evaluated(replace(TEXT, latent=2, batch=64), examples)
    return lambda: evaluated().neg_elbo


def _importance_of_many(examples: int) -> Call:
    evaluated = _evaluated(replace(TEXT, latent=2), examples)
    return lambda: evaluated().importance_bound(20)


def _importance_of_few(samples: int) -> Call:
    """As many latent units as it takes for a block of draws to be smaller than the fewest samples."""
    evaluated = _evaluated(replace(TEXT, latent=512, batch=8), 8)
    return lambda: evaluated().importance_bound(samples)


def _bracket(examples: int) -> Call:
    generator = torch.Generator().manual_seed(0)
    mean, noise, epsilon = torch.randn((3, examples, 2), generator=generator, dtype=torch.float64)
    posterior = DiagonalGaussian(mean, 0.3 * noise - 1)
    z = posterior.sample(epsilon[None])[0]
    return lambda: mutual_information_bracket(z, posterior, StandardNormal(2))


def measure(index: int, value: int) -> Cost:
    """One point; in a process that has measured nothing else."""
    torch.set_num_threads(1)
    keep_mapped()
    sweep = sweeps()[index]
    sweep.build(sweep.values[0])()
    call = sweep.build(value)
    peak = peak_memory(call)
    return Cost(processor_time(call), peak)


def peak_memory(call: Call) -> int:
    """Bytes that are resident at most during the call, above those before it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def processor_time(call: Call) -> float:
    """Seconds of one call, the median of at least three."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < SECONDS:
        begun = time.process_time()
        call()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def main() -> None:
    """Print a row a sweep; exit code 1 if a slope is above what the algorithm implies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="sweeps whose name or quantity contains this")
    given = parser.parse_args()
    context = get_context("forkserver")
    context.set_forkserver_preload(["bench.workloads", "torch._dynamo"])
    rows = []
    for index, sweep in enumerate(sweeps()):
        if given.only not in f"{sweep.name}, {sweep.quantity}":
            continue
        with context.Pool(1, maxtasksperchild=1) as pool:
            costs = [pool.apply(measure, (index, value)) for value in sweep.values]
        rows.append(row(sweep, costs))
        print(*rows[-1], flush=True)
    headers = ("what", "over", "from", "to", "ms", "ms", "slope", "implied", "", "MiB", "MiB", "slope", "implied", "")
    print(tabulate(rows, headers=headers, tablefmt="github"))
    if any("ABOVE" in row for row in rows):
        raise SystemExit(1)


def row(sweep: Sweep, costs: list[Cost]) -> tuple[str | float, ...]:
    """First and last point, slopes and verdicts."""
    seconds, peaks = [cost.seconds for cost in costs], [cost.bytes for cost in costs]
    blocks = [max(1.0, peak - sweep.held * value) for peak, value in zip(peaks, sweep.values, strict=True)]
    time_slope, memory_slope = slope(sweep.values, seconds), slope(sweep.values, blocks)
    return (
        sweep.name,
        sweep.quantity,
        sweep.values[0],
        sweep.values[-1],
        *(round(1e3 * s, 1) for s in (seconds[0], seconds[-1])),
        round(time_slope, 2),
        sweep.time,
        verdict(time_slope, sweep.time),
        *(round(peak / 2**20, 1) for peak in (peaks[0], peaks[-1])),
        round(memory_slope, 2),
        sweep.memory,
        verdict(memory_slope, sweep.memory),
    )


if __name__ == "__main__":
    main()
