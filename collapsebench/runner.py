"""RunSpec -> RunRecord, and grids of them. Torch is imported when the first run starts."""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from collapsebench.catalog import Catalog, compose, inference_of
from collapsebench.components import Component, Decoder, Encoder, Executor, Initialization, Metric, Posterior
from collapsebench.errors import CollapsebenchError, DivergedError
from collapsebench.hookspecs import hookimpl
from collapsebench.inference import Amortized
from collapsebench.record import Outcome, RunRecord, Value
from collapsebench.spec import RunSpec

if TYPE_CHECKING:
    from collapsebench.budget import Meter
    from collapsebench.examples import Splits
    from collapsebench.metrics.evaluation import EvaluatedSplit
    from collapsebench.record import Point
    from collapsebench.training import Job
    from collapsebench.vae import Terms


class Observer(Protocol):
    """Who follows the runs of a grid."""

    def started(self, record: RunRecord) -> None:
        """A run begins."""

    def stepped(self, meter: Meter, terms: Terms) -> None:
        """One step is done."""

    def evaluated(self, point: Point) -> None:
        """One scheduled evaluation is done."""

    def testing(self) -> None:
        """Training is over and the metrics are being computed."""

    def finished(self, record: RunRecord) -> None:
        """A run is over, whatever became of it."""


class Store(Protocol):
    """Where records go; see collapsebench.store."""

    def begin(self, record: RunRecord) -> None:
        """Write the row of a run that starts."""

    def finish(self, record: RunRecord) -> None:
        """Replace it by what became of the run, in one transaction."""

    def outcomes(self, run_ids: Iterable[str]) -> dict[str, Outcome]:
        """What is stored of these runs."""


class InProcess(Executor):
    """One run after the other, in this process."""

    name: ClassVar[str] = "in-process"

    def submit(self, run: Callable[[RunSpec], RunRecord], specs: Iterable[RunSpec]) -> Iterator[RunRecord]:
        """Run each spec in turn."""
        return map(run, specs)


@dataclass(frozen=True)
class Runner:
    """What the runs of one grid share."""

    catalog: Catalog
    splits: Splits
    store: Store
    observer: Observer
    device: str = "cpu"

    def missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """The specs whose result is not stored yet."""
        wanted = list(specs)
        stored = self.store.outcomes(spec.run_id for spec in wanted)
        return [spec for spec in wanted if spec.run_id not in stored or not stored[spec.run_id].settled]

    def run(self, spec: RunSpec) -> RunRecord:
        """Run one spec and store it. An expected or unexpected failure is stored; an interrupt is stored and raised."""
        record = RunRecord.started(spec, _now(), environment(self.device))
        self.store.begin(record)
        self.observer.started(record)
        try:
            record = _settled(record, self._result(spec))
        except KeyboardInterrupt:
            self._finish(_settled(record, Result(Outcome.INTERRUPTED, "interrupted by the user")))
            raise
        except CollapsebenchError as error:
            record = _settled(record, Result(Outcome.FAILED, _line(error), traceback=traceback.format_exc()))
        except Exception as error:  # noqa: BLE001 - one broken run must not take the grid down
            message = f"{type(error).__name__}: {_line(error)}"
            record = _settled(record, Result(Outcome.FAILED, message, traceback=traceback.format_exc()))
        self._finish(record)
        return record

    def _finish(self, record: RunRecord) -> None:
        self.store.finish(record)
        self.observer.finished(record)

    def _result(self, spec: RunSpec) -> Result:
        from collapsebench.budget import Meter
        from collapsebench.training import Trajectory, train

        job = self._job(spec)
        meter, trajectory = Meter(job.budget, len(job.splits.train)), Trajectory()
        parameters = sum(parameter.numel() for parameter in job.vae.parameters())
        try:
            train(job, meter, trajectory, self.observer)
        except DivergedError as error:
            return Result(Outcome.DIVERGED, str(error), parameters, tuple(trajectory.points))
        points = trajectory.select(job.vae)
        self.observer.testing()
        return Result(Outcome.FINISHED, "", parameters, points, self._values(spec, job))

    def _job(self, spec: RunSpec) -> Job:
        """Build the contender's model."""
        import torch

        from collapsebench.seeding import Purpose, derive
        from collapsebench.training import Job
        from collapsebench.vae import Architecture, assemble

        setting, create = spec.protocol.setting, self.catalog.create
        hooks = compose(self.catalog.methods_of(spec.contender))
        inference = inference_of(hooks, Amortized())
        architecture = Architecture(
            latent_dim=setting.latent_dim,
            encoder=create(Encoder, setting.encoder) if inference.uses_encoder else None,
            posterior=create(Posterior, setting.posterior),
            decoder=create(Decoder, setting.decoder),
            initialization=create(Initialization, setting.initialization),
        )
        device = torch.device(self.device)
        vae = assemble(architecture, self.splits.spec, hooks, derive(spec.seed, Purpose.INIT)).to(device)
        return Job(vae, hooks, inference, self.splits, setting, spec.protocol.budget, spec.seed, device)

    def _values(self, spec: RunSpec, job: Job) -> tuple[Value, ...]:
        """Every metric of the protocol on the test split."""
        from collapsebench.metrics.evaluation import EvaluatedSplit
        from collapsebench.seeding import Purpose, run_noise

        setting = spec.protocol.setting
        test = EvaluatedSplit(
            vae=job.vae,
            inference=job.inference,
            split=self.splits.test,
            noise=run_noise(spec.seed, Purpose.EVALUATION, "test"),
            batch_size=setting.batch_size,
            device=job.device,
        )
        metrics = (self.catalog.create(Metric, choice) for choice in setting.evaluation.metrics)
        return tuple(value for metric in metrics for value in _measured(metric, test))


def _settled(record: RunRecord, result: Result) -> RunRecord:
    return record.model_copy(update={"finished_at": _now(), **result._asdict()})


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _now() -> datetime:
    return datetime.now(UTC)


def _measured(metric: Metric, test: EvaluatedSplit) -> Iterator[Value]:
    columns = {column.name: column for column in metric.columns}
    for name, estimate in metric.evaluate(test).items():
        column = columns.get(name)
        if column is None:
            yield Value.of(metric.name, name, estimate)
        else:
            shown = {"unit": column.unit, "title": column.title, "direction": column.direction}
            yield Value.of(metric.name, name, estimate, board=True, **shown)


class Result(NamedTuple):
    """What became of a run."""

    outcome: Outcome
    message: str
    parameters: int = 0
    points: tuple[Point, ...] = ()
    values: tuple[Value, ...] = ()
    traceback: str = ""


def environment(device: str) -> dict[str, Any]:
    """What may explain a difference in time or in the last digits; no host name and no path."""
    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
        "collapsebench": metadata.version("collapsebench"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "device": device,
    }


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """The executors that come with the harness."""
    return [InProcess]
