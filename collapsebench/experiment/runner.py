"""RunSpec -> RunRecord, and grids of them. Torch is imported when the first run starts."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.components.catalog import Catalog
from collapsebench.components.composition import compose, inference_of
from collapsebench.components.interfaces import Decoder, Encoder, Initialization, Posterior
from collapsebench.errors import CollapsebenchError, DivergedError
from collapsebench.experiment.events import (
    PULSE,
    Evaluated,
    Finished,
    Resumed,
    Skipped,
    Started,
    Stepped,
    Testing,
    Warned,
)
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.codes import ARTIFACT, Codes, codes_file
from collapsebench.metrics.metric import Metric
from collapsebench.record import Outcome, RunRecord, Value
from collapsebench.spec import RunSpec

if TYPE_CHECKING:
    from collapsebench.experiment.checkpoint import Checkpoint, Checkpoints
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.meter import Meter
    from collapsebench.experiment.planning import SplitCache
    from collapsebench.experiment.training import TrainingSetup, TrainingState
    from collapsebench.metrics.evaluation import EvaluatedSplit
    from collapsebench.model.vae import Terms
    from collapsebench.record import Point
    from collapsebench.store import Store


@dataclass(frozen=True)
class Runner:
    """What the runs of one grid share."""

    catalog: Catalog
    splits: SplitCache
    store: Store
    checkpoints: Checkpoints
    observe: Observer
    device: str = "cpu"
    codes_folder: Path | None = None
    """The folder that the codes of every run are written to, None if they are not wanted."""
    pulse: float = PULSE
    """Seconds between two reports of steps."""

    def run(self, spec: RunSpec) -> RunRecord:
        """Run one spec and store it, from its checkpoint if it has one.

        An expected or unexpected failure is stored; an interrupt is stored and raised. A run that another process
        computes, or has stored since the specs were looked up, is left to it: its record here says `started`.
        """
        record = RunRecord.started(spec, _now(), environment(self.device))
        with self.checkpoints.claim(record.run_id) as mine:
            if mine and not self._is_settled(record.run_id):
                return self._run(record)
            if mine:
                self.checkpoints.settle(record.run_id)
        self.observe(Skipped(record, "stored by another process" if mine else "another process computes it"))
        return record

    def lost(self, spec: RunSpec, message: str) -> RunRecord:
        """Store as failed what a process left undone when it died; what it had settled is given back as it is."""
        record = self.store.get(spec.run_id) if spec.run_id in self.store.outcomes([spec.run_id]) else None
        if record is None or not record.outcome.settled:
            started = record or RunRecord.started(spec, _now(), environment(self.device))
            record = _settled(started, RunEnding(Outcome.FAILED, message))
            self.store.finish(record)
        return record

    def _is_settled(self, run_id: str) -> bool:
        """Return whether the store has a result of the run."""
        outcome = self.store.outcomes([run_id]).get(run_id)
        return outcome is not None and outcome.settled

    def _run(self, record: RunRecord) -> RunRecord:
        try:
            self.store.begin(record)
            self.observe(Started(record))
            record = _settled(record, self._attempt(record.spec, record.environment))
            self.store.finish(record)
        except KeyboardInterrupt:
            if self._is_settled(record.run_id):
                self.checkpoints.settle(record.run_id)
            else:
                record = _settled(record, RunEnding(Outcome.INTERRUPTED, "interrupted by the user"))
                self.store.finish(record)
                self.observe(Finished(record))
            raise
        if record.outcome.settled:
            self.checkpoints.settle(record.run_id)
        self.observe(Finished(record))
        return record

    def _attempt(self, spec: RunSpec, conditions: dict[str, Any]) -> RunEnding:
        """What becomes of a run, failures included."""
        try:
            return self._result(spec, self._checkpoint(spec, conditions))
        except CollapsebenchError as error:
            return RunEnding(Outcome.FAILED, _line(error), traceback=traceback.format_exc())
        except Exception as error:  # noqa: BLE001 - one broken run must not take the grid down
            message = f"{type(error).__name__}: {_line(error)}"
            return RunEnding(Outcome.FAILED, message, traceback=traceback.format_exc())

    def _checkpoint(self, spec: RunSpec, conditions: dict[str, Any]) -> Checkpoint:
        """The run's checkpoint: of use only where the run would give the same bits again."""
        decisive = {key: value for key, value in conditions.items() if key != "cpu_count"}
        return self.checkpoints.of(spec.run_id, decisive | {"code": self._code(spec)}, partial(self._warn, spec.run_id))

    def _warn(self, run_id: str, message: str) -> None:
        self.observe(Warned(run_id, message))

    def _code(self, spec: RunSpec) -> str:
        """Hash the source of the spec's components: a user may edit a plugin, and then run the same command again."""
        setting = spec.protocol.setting
        named = [("method", choice.name) for choice in spec.contender.methods]
        named += [("encoder", setting.encoder.name), ("decoder", setting.decoder.name)]
        named += [("posterior", setting.posterior.name), ("initialization", setting.initialization.name)]
        entries = {entry.origin: entry for entry in (self.catalog.entry(*name) for name in named)}
        return sha256(b"".join(entry.code for _, entry in sorted(entries.items()))).hexdigest()

    def _result(self, spec: RunSpec, checkpoint: Checkpoint) -> RunEnding:
        from collapsebench.experiment.training import train

        setup, state = self._resumed(spec, checkpoint)
        parameters = sum(parameter.numel() for parameter in setup.vae.parameters())
        try:
            train(setup, state, RunWatcher(spec.run_id, self.observe, checkpoint, self.pulse))
        except DivergedError as error:
            return RunEnding(Outcome.DIVERGED, str(error), parameters, tuple(state.trajectory.points))
        points = state.trajectory.select(setup.vae)
        self.observe(Testing(spec.run_id))
        test = self._test(spec, setup, points)
        values = self._values(spec, test)
        self._keep_codes(spec, test)
        return RunEnding(Outcome.FINISHED, "", parameters, points, values)

    def _resumed(self, spec: RunSpec, checkpoint: Checkpoint) -> tuple[TrainingSetup, TrainingState]:
        """The model and its state, from the checkpoint or new."""
        from collapsebench.experiment.training import TrainingState

        setup = self.training_setup(spec)
        state, kept = TrainingState.start(setup), checkpoint.load()
        if kept is None:
            return setup, state
        try:
            state.load(kept)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            checkpoint.set_aside(f"does not fit: {_line(error)}")
            return self._resumed(spec, checkpoint)
        self.observe(Resumed(spec.run_id, state.meter.steps))
        return setup, state

    def training_setup(self, spec: RunSpec) -> TrainingSetup:
        """Build the contender's model."""
        import torch

        from collapsebench.experiment.assembly import Architecture, assemble
        from collapsebench.experiment.training import TrainingSetup
        from collapsebench.model.seeding import Purpose, derive

        setting, create = spec.protocol.setting, self.catalog.create
        splits = self.splits.of(spec.protocol.dataset)
        methods = tuple(self.catalog.methods_of(spec.contender))
        hooks = compose(methods)
        inference = inference_of(hooks, Amortized())
        architecture = Architecture(
            latent_dim=setting.latent_dim,
            encoder=create(Encoder, setting.encoder) if inference.uses_encoder else None,
            posterior=create(Posterior, setting.posterior),
            decoder=create(Decoder, setting.decoder),
            initialization=create(Initialization, setting.initialization),
        )
        device = torch.device(self.device)
        vae = assemble(architecture, splits.spec, hooks, derive(spec.seed, Purpose.INIT)).to(device)
        return TrainingSetup(vae, methods, hooks, inference, splits, setting, spec.protocol.budget, spec.seed, device)

    def _test(self, spec: RunSpec, setup: TrainingSetup, points: tuple[Point, ...]) -> EvaluatedSplit:
        """The test split, to be evaluated."""
        from collapsebench.metrics.evaluation import EvaluatedSplit, Provenance
        from collapsebench.model.seeding import Purpose, derive, run_noise

        return EvaluatedSplit(
            vae=setup.vae,
            inference=setup.inference,
            split=setup.splits.test,
            noise=run_noise(spec.seed, Purpose.EVALUATION, "test"),
            batch_size=setup.setting.batch_size,
            device=setup.device,
            provenance=Provenance(
                train=setup.splits.train,
                seed=derive(spec.seed, Purpose.EVALUATION, "train"),
                assemble=lambda: self.training_setup(spec).vae,
                points=points,
                unit=setup.budget.unit,
            ),
        )

    def _values(self, spec: RunSpec, test: EvaluatedSplit) -> tuple[Value, ...]:
        """Every metric of the protocol."""
        metrics = (self.catalog.create(Metric, choice) for choice in spec.protocol.setting.evaluation.metrics)
        return tuple(value for metric in metrics for value in _measured(metric, test))

    def _keep_codes(self, spec: RunSpec, test: EvaluatedSplit) -> None:
        """Write the codes and note their file, before the run is settled; a disk that refuses costs a warning."""
        if self.codes_folder is None:
            return
        path = codes_file(self.codes_folder.resolve(), spec.run_id)
        try:
            Codes.of(test).write(path)
        except OSError as error:
            self._warn(spec.run_id, f"cannot write the codes '{path}': {error.strerror}")
        else:
            self.store.attach(spec.run_id, ARTIFACT, path)


class RunWatcher:
    """Reports the steps of a run now and then, in plain numbers, and looks then if a checkpoint is due."""

    def __init__(
        self,
        run_id: str,
        observe: Observer,
        checkpoint: Checkpoint,
        pulse: float = PULSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pulse` is the time between two reports, in seconds."""
        self._run_id, self._observe, self._checkpoint = run_id, observe, checkpoint
        self._pulse, self._clock, self._next = pulse, clock, clock()

    def stepped(self, meter: Meter, terms: Terms) -> bool:
        """See training.Watcher."""
        if self._clock() < self._next:
            return False
        loss, kl = float(terms.loss), float(terms.kl.sum(-1).mean())
        self._observe(Stepped(self._run_id, meter.steps, meter.progress().fraction, loss, kl))
        self._next = self._clock() + self._pulse
        return self._checkpoint.due()

    def evaluated(self, point: Point) -> None:
        """See training.Watcher."""
        self._observe(Evaluated(self._run_id, point))

    def keep(self, state: dict[str, Any]) -> None:
        """See training.Watcher."""
        self._checkpoint.save(state)


def _settled(record: RunRecord, result: RunEnding) -> RunRecord:
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


class RunEnding(NamedTuple):
    """What became of a run."""

    outcome: Outcome
    message: str
    parameters: int = 0
    points: tuple[Point, ...] = ()
    values: tuple[Value, ...] = ()
    traceback: str = ""


def environment(device: str) -> dict[str, Any]:
    """What may explain a difference in time or in the last digits; no host name and no path."""
    import torch

    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
        "collapsebench": metadata.version("collapsebench"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
