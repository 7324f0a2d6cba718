"""`python -m bench.loop`: the training loop of `collapsebench run` against its steps called bare.

Two equal models take turns on the same batches: one in `training.train` with its meter, schedule,
checkpoints and live progress, the other in the few lines of `Bare`. In the end their parameters are equal. Evaluations
are no part of either. Medians are of single steps; sums hold what only some steps do, as counting FLOPs and drawing
progress. Times are processor times of this process with one thread.
"""

from __future__ import annotations

import io
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import torch
from rich.console import Console

from collapsebench.components import discovery
from collapsebench.data.files import data_folder
from collapsebench.examples import Batch
from collapsebench.experiment import training
from collapsebench.experiment.assembly import objective_at
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.environment import environment
from collapsebench.experiment.events import Started
from collapsebench.experiment.extrapolation import CostPolynomial
from collapsebench.experiment.live import TerminalLines
from collapsebench.experiment.memory import keep_mapped
from collapsebench.experiment.meter import Meter
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.experiment.progress import Screen
from collapsebench.experiment.runner import Runner, RunWatcher
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import Purpose, derive, run_noise
from collapsebench.model.vae import Terms
from collapsebench.record import Point, RunRecord
from collapsebench.spec import RunSpec

WARM_UP = 10
"""Steps that are left out."""

clock = time.process_time


class Bare:
    """The steps of a run and nothing else."""

    def __init__(self, setup: training.TrainingSetup) -> None:
        self._setup, self._step = setup, 0
        self._optimizer = training.make_optimizer(setup.setting.optimizer, setup.vae)
        self._batches = self._endless()

    def __call__(self) -> None:
        """Make the next step."""
        setup = self._setup
        progress = Progress(min(1.0, self._step / setup.budget.amount), self._step)
        objective = objective_at(setup.hooks, progress, run_noise(setup.seed, Purpose.TRAINING, self._step))
        x = torch.from_numpy(next(self._batches).x)
        self._optimizer.zero_grad()
        setup.inference.gradients(setup.vae, x, objective)
        torch.nn.utils.clip_grad_norm_(setup.vae.parameters(), setup.setting.optimizer.clip)
        self._optimizer.step()
        self._step += 1

    def _endless(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            seed = derive(self._setup.seed, Purpose.DATA, epoch)
            yield from self._setup.splits.train.batches(self._setup.setting.batch_size, seed)
            epoch += 1


@dataclass
class Turns:
    """A watcher that times the loop's steps, and after every other one two bare steps.

    So each is the first on every second batch: what touches a batch first waits for memory.
    """

    pulse: RunWatcher
    bare: Bare
    loop_seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)
    since: float = 0.0

    def stepped(self, meter: Meter, terms: Terms) -> bool:
        """See training.Watcher."""
        keep = self.pulse.stepped(meter, terms)
        self.loop_seconds.append(clock() - self.since)
        for _ in range(2 * (meter.steps % 2)):
            start = clock()
            self.bare()
            self.bare_seconds.append(clock() - start)
        self.since = clock()
        return keep

    def evaluated(self, point: Point) -> None:
        """See training.Watcher."""

    def keep(self, state: dict[str, Any]) -> None:
        """See training.Watcher."""
        self.pulse.keep(state)


class Added(NamedTuple):
    """What the loop adds to the steps of one run, as shares of bare steps."""

    bare: float
    """Milliseconds of a bare step, median."""
    median: float
    total: float
    """In the sum of all steps."""
    counted: int
    """At how many steps FLOPs were counted."""

    def __str__(self) -> str:
        return (
            f"bare {self.bare:.3f} ms a step; the loop adds {self.median:.1%} in the median, {self.total:.1%} in the "
            f"sum; FLOPs were counted at {self.counted} steps"
        )


def compare(runner: Runner, spec: RunSpec, folder: Path) -> Added:
    """Run both. Raises AssertionError if their parameters differ in the end."""
    setup, twin = runner.training_setup(spec), runner.training_setup(spec)
    state = training.TrainingState.start(setup)
    checkpoint = Checkpoints(folder).of(spec.run_id, {}, click.echo)
    runner.observe(Started(RunRecord.started(spec, datetime.now(UTC), environment("cpu"))))
    turns = Turns(RunWatcher(spec.run_id, runner.observe, checkpoint), Bare(twin), since=clock())
    training.train(setup, state, turns)
    if not all(map(torch.equal, setup.vae.parameters(), twin.vae.parameters())):
        raise AssertionError("loop and bare steps do not compute the same")
    loop, bare = turns.loop_seconds[WARM_UP:], turns.bare_seconds[WARM_UP:]
    return Added(
        bare=1e3 * statistics.median(bare),
        median=statistics.median(loop) / statistics.median(bare) - 1,
        total=sum(loop) / sum(bare) - 1,
        counted=len(state.meter.state()["costs"]["counted"]),
    )


def measure(dataset: str, track: str, method: str, steps: int, data_dir: Path | None, every_shape: bool) -> Added:
    """Set everything up as a command on a terminal does, with one thread, and compare."""
    keep_mapped()
    torch.set_num_threads(1)
    components = discovery.load()
    splits = SplitCache(components, data_folder(data_dir))
    rare = f"evaluation.every={steps + 1}steps"
    request = Request((method,), dataset, track, budget=f"{steps}steps", settings=(rare,), baseline=False)
    (spec,) = plan([request], components, splits).specs
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    with (
        TemporaryDirectory() as folder,
        closing(TerminalLines(terminal, shared=False)) as live,
        patch.object(CostPolynomial, "predict", return_value=None) if every_shape else nullcontext(),
    ):
        screen = Screen(live=live, quiet=False, verbose=False, names={})
        runner = Runner(components, splits, Checkpoints(Path(folder)), screen.observe)
        return compare(runner, spec, Path(folder))


def summary(calls: Sequence[Added]) -> str:
    """Medians over calls, and their ranges."""
    bare, median, total, _ = (sorted(values) for values in zip(*calls, strict=True))
    return (
        f"{len(calls)} calls: bare {statistics.median(bare):.3f} ms ({bare[0]:.3f} to {bare[-1]:.3f}); the loop adds "
        f"{statistics.median(median):.1%} ({median[0]:.1%} to {median[-1]:.1%}) in the median, "
        f"{statistics.median(total):.1%} ({total[0]:.1%} to {total[-1]:.1%}) in the sum"
    )


@click.command(help=__doc__)
@click.option("--dataset", default="linear-gaussian", show_default=True, help="The default has the smallest model.")
@click.option("--track", default="quick", show_default=True)
@click.option("--method", default="vae", show_default=True, help="The contender.")
@click.option("--steps", default=1000, show_default=True, help="An even number.")
@click.option("--every-shape", is_flag=True, help="Count FLOPs of every batch shape, as if none followed from others.")
@click.option("--calls", default=1, show_default=True, help="Of so many, each in a process of its own.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="The folder of original data files.")
def main(calls: int, **asked: Any) -> None:
    """Print one line a call, and one about all of them."""
    fresh = multiprocessing.get_context("spawn")
    done = []
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as pool:
        for _ in range(calls):
            done.append(pool.submit(measure, **asked).result())
            click.echo(f"{asked['dataset']} {asked['track']} {asked['method']}: {done[-1]}")
    if calls > 1:
        click.echo(summary(done))


if __name__ == "__main__":
    main()
