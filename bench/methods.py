"""`python -m bench.methods`: the time of a training step of each method over the plain VAE's, beside its FLOPs.

The contenders are those of the suites `field/text` and `field/images`, one for each method, on the models of their
tracks. Each one takes turns with the plain VAE in the same process: some steps of one, and as many of the other on the
same batches. A ratio is that of one turn, and the table has the medians over turns. Seconds are processor time of one
thread, which does not wait for other processes; it shares caches and memory with them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

import click
import torch

from bench.machine import describe
from collapsebench.components import discovery
from collapsebench.data.files import data_folder
from collapsebench.examples import Batch
from collapsebench.experiment import suites, training
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.experiment.runner import Runner
from collapsebench.syntax import BASELINE, parse_composition

SUITES = {"text": "field/text", "images": "field/images"}
SCALE = "small"
WARM_UP = 2
"""Steps of each contender before its turns."""

Setups: TypeAlias = Callable[[str], training.TrainingSetup]


class Spent(NamedTuple):
    """What some steps have taken."""

    seconds: float
    flops: float


class Cost(NamedTuple):
    """A training step of a contender, as multiples of one of the plain VAE."""

    kind: str
    contender: str
    time: float
    """The median over turns."""
    least: float
    largest: float
    """The range of the turns."""
    flops: float
    ms: float
    """Milliseconds of processor time, median."""

    @property
    def line(self) -> str:
        """The line of the table."""
        cells = (f"{self.time:.2f}", f"{self.least:.2f} to {self.largest:.2f}", f"{self.flops:.2f}", f"{self.ms:.1f}")
        return f"| {self.kind} | `{self.contender}` | {' | '.join(cells)} |"


HEAD = "| data | contender | time / vae | turns | FLOPs / vae | ms |\n|---|---|---|---|---|---|"


class Contender:
    """A contender in training."""

    def __init__(self, setup: training.TrainingSetup) -> None:
        self._setup, self._state = setup, training.TrainingState.start(setup)

    def steps(self, batches: list[Batch]) -> Spent:
        """Do a step on each batch."""
        flops, start = self._flops, time.process_time()
        for batch in batches:
            training.step(self._setup, self._state, batch)
        return Spent(time.process_time() - start, self._flops - flops)

    @property
    def _flops(self) -> float:
        return self._state.meter.counters()["flops"]


def contenders(kind: str) -> dict[str, str]:
    """Return a contender for each method of the suite, by the name of the method. The first one is the plain VAE."""
    found = {BASELINE: BASELINE}
    for cell in suites.suite(SUITES[kind]).cells(SCALE):
        for written in cell.contenders.values():
            found.setdefault(parse_composition(written)[0].name, written)
    return found


def setups(kind: str, folder: Path) -> Setups:
    """Return what sets a contender up as a run of the suite does, but with a budget that does not end."""
    cell = suites.suite(SUITES[kind]).cells(SCALE)[0]
    components = discovery.load()
    splits = SplitCache(components, data_folder(None))
    runner = Runner(components, splits, Checkpoints(folder), lambda _: None)

    def make(written: str) -> training.TrainingSetup:
        settings = cell.settings
        request = Request(
            (written,), cell.dataset, cell.track, budget="1e9steps", settings=settings, seeds=(1,), baseline=False
        )
        (spec,) = plan([request], components, splits).specs
        return runner.training_setup(spec)

    return make


def compare(kind: str, written: str, make: Setups, turns: int, steps: int) -> Cost:
    """Let a contender and the plain VAE take turns, the one that is first changing."""
    setup = make(BASELINE)
    batches = list(islice(setup.splits.train.batches(setup.setting.batch_size), steps))
    plain, other = Contender(setup), Contender(make(written))
    for each in (plain, other):
        each.steps((batches * WARM_UP)[:WARM_UP])
    pairs = []
    for turn in range(turns):
        order = (plain, other) if turn % 2 else (other, plain)
        spent = {each: each.steps(batches) for each in order}
        pairs.append((spent[other], spent[plain]))
    ratios = [own.seconds / vae.seconds for own, vae in pairs]
    return Cost(
        kind=kind,
        contender=written,
        time=statistics.median(ratios),
        least=min(ratios),
        largest=max(ratios),
        flops=sum(own.flops for own, _ in pairs) / sum(vae.flops for _, vae in pairs),
        ms=1e3 * statistics.median(own.seconds for own, _ in pairs) / len(batches),
    )


def costs(kinds: tuple[str, ...], only: tuple[str, ...], turns: int, steps: int) -> Iterator[Cost]:
    """Compare every method, or only some."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        for kind in kinds:
            make = setups(kind, Path(folder))
            for name, written in contenders(kind).items():
                if not only or name in only:
                    yield compare(kind, written, make, turns, steps)


@click.command(help=__doc__)
@click.option("--data", "kinds", type=click.Choice(list(SUITES)), multiple=True, default=list(SUITES))
@click.option("--only", multiple=True, metavar="METHOD", help="Only this method; may be repeated.")
@click.option("--turns", default=7, show_default=True, help="Of so many turns, the median.")
@click.option("--steps", default=5, show_default=True, help="Steps of each contender in a turn.")
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="A file for the numbers.")
def main(path: Path | None, **asked: Any) -> None:
    """Print the table, a line as soon as it is measured. The first row of each model is the plain VAE beside itself."""
    found = []
    click.echo(HEAD)
    for cost in costs(**asked):
        click.echo(cost.line)
        found.append(cost)
    if path is not None:
        measured = {"machine": describe(), "costs": [cost._asdict() for cost in found]}
        path.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
