"""Computes one spec after the other: what a worker does, wherever it is. It opens no store.

Torch is imported when the first run starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.components.belongings import Belongings
from collapsebench.components.catalog import Catalog
from collapsebench.components.code import harness_hash
from collapsebench.components.composition import compose, inference_of
from collapsebench.components.footprint import Footprint
from collapsebench.components.interfaces import Decoder, Encoder, Initialization, Posterior
from collapsebench.errors import DivergedError, Interrupted, TimeLimitError, error_line
from collapsebench.estimates import Declined
from collapsebench.experiment.arithmetic import reproducible
from collapsebench.experiment.endings import RunEnding, ended, now, timed_out
from collapsebench.experiment.environment import decisive, environment
from collapsebench.experiment.events import PULSE, Evaluated, Resumed, Started, Stepped, Testing, Warned
from collapsebench.experiment.failures import failure
from collapsebench.experiment.weights import WeightFiles
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.codes import Codes, codes_file
from collapsebench.metrics.metric import Metric
from collapsebench.record import DeclinedColumn, Finding, Guard, Outcome, RunRecord, Value
from collapsebench.spec import RunSpec

if TYPE_CHECKING:
    from collapsebench.experiment.checkpoint import Checkpoint, Checkpoints
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.meter import Meter
    from collapsebench.experiment.planning import SplitCache
    from collapsebench.experiment.signals import Interrupts
    from collapsebench.experiment.training import TrainingSetup, TrainingState
    from collapsebench.metrics.evaluation import EvaluatedSplit
    from collapsebench.model.vae import Terms
    from collapsebench.record import Point


@dataclass(frozen=True)
class Runner:
    """Computes specs, one at a time."""

    catalog: Catalog
    splits: SplitCache
    checkpoints: Checkpoints
    observe: Observer
    device: str = "cpu"
    codes_folder: Path | None = None
    """The folder that the codes of every run but trials are written to; None if nobody wants them."""
    weights_folder: Path | None = None
    """The folder that the selected weights of every run but trials are written to; None if nobody wants them."""
    pulse: float = PULSE
    """Seconds between two reports of steps."""
    timeout: float | None = None
    """The seconds of training after which a run is ended at its next step."""
    interrupts: Interrupts | None = None
    """If it is there, a signal to stop ends training at its next step, behind a checkpoint."""

    def run(self, spec: RunSpec) -> RunRecord:
        """Compute one spec, from its checkpoint if it has one, and return its record.

        A failure is an ending like any other, be it expected or not. Raises Interrupted.
        """
        with reproducible(self.device):
            record = RunRecord.started(spec, now(), environment(self.device), self.catalog.code_of(spec))
            self.observe(Started(record))
            return ended(record, self._attempt(record.spec, record.environment))

    def training_setup(self, spec: RunSpec) -> TrainingSetup:
        """Build the contender's model, and gather what it is trained with."""
        import torch

        from collapsebench.experiment.assembly import Architecture, assemble
        from collapsebench.experiment.flops import FlopCounter
        from collapsebench.experiment.training import TrainingSetup
        from collapsebench.model.seeding import Purpose, derive

        setting, create = spec.protocol.setting, self.catalog.create
        optimizer = setting.optimizer.scaled(spec.contender.rate)
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
        with FlopCounter() as building:
            vae = assemble(architecture, splits.spec, hooks, derive(spec.seed, Purpose.INIT)).to(device)
        return TrainingSetup(
            vae=vae,
            methods=methods,
            hooks=hooks,
            inference=inference,
            splits=splits,
            setting=setting.model_copy(update={"optimizer": optimizer}),
            budget=spec.protocol.budget,
            seed=spec.seed,
            device=device,
            rows=architecture.decoder.rows,
            building_flops=building.flops,
            plugin_modules=lambda: self.catalog.modules,
            rebuild=lambda: self.training_setup(spec).vae,
        )

    def _attempt(self, spec: RunSpec, conditions: dict[str, Any]) -> RunEnding:
        """Train and test, and put back what that changed of the process."""
        from collapsebench.guards.patches import Originals

        footprint, belongings, originals = Footprint(), Belongings(self.catalog.modules), Originals()
        try:
            ending = self._ending(spec, conditions)
        finally:
            changes = footprint.undo()
            belongings.put_back()
            originals.put_back()
        noted = tuple(Finding(guard=Guard.ENVIRONMENT, text=f"the run changed {each}") for each in changes.noted)
        if changes.breaking:
            text = f"the run changed {' and '.join(changes.breaking)}, with which later runs would compute"
            if ending.outcome is Outcome.FAILED:
                return ending._replace(message=f"{text}; {ending.message}")
            return RunEnding.failed(text)
        return ending._replace(findings=(*ending.findings, *noted))

    def _ending(self, spec: RunSpec, conditions: dict[str, Any]) -> RunEnding:
        """Train and test. A failure is an ending like any other, and a plugin may raise anything."""
        try:
            checkpoint = self._checkpoint(spec, conditions)
            ending = self._train_and_test(spec, checkpoint)
            return ending._replace(findings=(*ending.findings, *_moves(checkpoint)))
        except Interrupted:
            raise
        except TimeLimitError as error:
            return RunEnding.failed(str(error))
        except BaseException as error:  # noqa: BLE001 - one broken run must not take the grid down
            return failure(error, self.catalog)

    def _checkpoint(self, spec: RunSpec, conditions: dict[str, Any]) -> Checkpoint:
        """Return the checkpoint of the run. It is of use only under conditions that give the same bits again."""
        code = {"harness": harness_hash(), "code": self.catalog.code_of(spec)}
        return self.checkpoints.of(spec.run_id, decisive(conditions) | code, partial(self._warn, spec.run_id))

    def _train_and_test(self, spec: RunSpec, checkpoint: Checkpoint) -> RunEnding:
        from collapsebench.experiment.guarding import (
            check_after_testing,
            check_before_training,
            findings_after_training,
        )
        from collapsebench.guards.traces import without_trace
        from collapsebench.guards.use import unused_rate
        from collapsebench.model.seeding import Purpose, own_generators, seed_torch

        setup, state = self._new_or_resumed(spec, checkpoint)
        check_before_training(spec, setup, self.catalog)
        parameters = sum(parameter.numel() for parameter in setup.vae.parameters())
        try:
            self._train(setup, state, self._watcher(spec.run_id, checkpoint))
        except DivergedError as error:
            return RunEnding(Outcome.DIVERGED, str(error), parameters, tuple(state.trajectory.points))
        if state.idle:
            self._warn(spec.run_id, f"{len(state.idle)} parameters never had a gradient, such as '{min(state.idle)}'")
        points = state.trajectory.select(setup.vae, setup.keepers)
        self.observe(Testing(spec.run_id))
        findings = findings_after_training(setup, state, points, self.catalog)
        with own_generators(setup.device), without_trace(setup.vae, setup.keepers, setup.plugin_modules()):
            seed_torch(spec.seed, Purpose.EVALUATION, "test")
            test = self.test_split(spec, setup, points)
            values, declined = self._evaluated(spec, test)
            self._keep_codes(spec, test)
        check_after_testing(spec, setup, self.catalog)
        self._keep_weights(spec, setup)
        findings += unused_rate(values)
        return RunEnding(Outcome.FINISHED, "", parameters, points, values, findings=tuple(findings), declined=declined)

    def _watcher(self, run_id: str, checkpoint: Checkpoint) -> RunWatcher:
        return RunWatcher(
            run_id, self.observe, checkpoint, self.pulse, timeout=self.timeout, interrupts=self.interrupts
        )

    def _train(self, setup: TrainingSetup, state: TrainingState, watcher: RunWatcher) -> None:
        from collapsebench.experiment.training import train

        with nullcontext() if self.interrupts is None else self.interrupts.held():
            train(setup, state, watcher)

    def _new_or_resumed(self, spec: RunSpec, checkpoint: Checkpoint) -> tuple[TrainingSetup, TrainingState]:
        """Build the model and its state, from the checkpoint if that fits."""
        from collapsebench.experiment.training import TrainingState, check_trained

        setup = self.training_setup(spec)
        state, kept = TrainingState.start(setup), checkpoint.load(str(setup.device))
        if kept is None:
            return setup, state
        try:
            state.load(kept)
            check_trained(setup, state)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            checkpoint.set_aside(f"does not fit: {error_line(error)}")
            return self._new_or_resumed(spec, checkpoint)
        self.observe(Resumed(spec.run_id, state.meter.steps))
        return setup, state

    def test_split(self, spec: RunSpec, setup: TrainingSetup, points: tuple[Point, ...]) -> EvaluatedSplit:
        """Return the test split under the trained model; nothing is computed yet."""
        from collapsebench.metrics.evaluation import EvaluatedSplit, Provenance
        from collapsebench.model.seeding import Purpose, derive, run_noise

        return EvaluatedSplit(
            vae=setup.vae,
            inference=setup.inference,
            split=setup.splits.test,
            noise=run_noise(spec.seed, Purpose.EVALUATION, "test"),
            batch_size=setup.setting.batch_size,
            device=setup.device,
            rows=setup.rows,
            provenance=Provenance(
                train=setup.splits.train,
                seed=derive(spec.seed, Purpose.EVALUATION, "train"),
                assemble=lambda: self.training_setup(spec).vae,
                points=points,
                unit=setup.budget.unit,
            ),
        )

    def _evaluated(self, spec: RunSpec, test: EvaluatedSplit) -> tuple[tuple[Value, ...], tuple[DeclinedColumn, ...]]:
        """Compute every metric of the protocol: the numbers, and the columns without one."""
        metrics = (self.catalog.create(Metric, choice) for choice in spec.protocol.setting.evaluation.metrics)
        found = [each for metric in metrics for each in metric_values(metric, test)]
        values = tuple(each for each in found if isinstance(each, Value))
        return values, tuple(each for each in found if isinstance(each, DeclinedColumn))

    def _keep_codes(self, spec: RunSpec, test: EvaluatedSplit) -> None:
        """Write the codes, if they are wanted. A disk that refuses costs a warning."""
        if self.codes_folder is None or spec.protocol.of_trials:
            return
        path = codes_file(self.codes_folder, spec.run_id)
        try:
            Codes.of(test).write(path)
        except OSError as error:
            self._warn(spec.run_id, f"cannot write the codes '{path}': {error.strerror}")

    def _keep_weights(self, spec: RunSpec, setup: TrainingSetup) -> None:
        """Write the weights that were tested, if they are wanted. A disk that refuses costs a warning."""
        if self.weights_folder is None or spec.protocol.of_trials:
            return
        files = WeightFiles(self.weights_folder, spec.run_id)
        try:
            files.write(setup.vae, setup.keepers)
        except OSError as error:
            self._warn(spec.run_id, f"cannot write the weights '{files.parameters}': {error.strerror}")

    def _warn(self, run_id: str, message: str) -> None:
        self.observe(Warned(run_id, message))


class RunWatcher:
    """Reports the steps of one run now and then, and keeps its checkpoint. It is a `training.Watcher`."""

    def __init__(  # noqa: PLR0913 - whom it tells, and what ends the run
        self,
        run_id: str,
        observe: Observer,
        checkpoint: Checkpoint,
        pulse: float = PULSE,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout: float | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        """`pulse` are the seconds between two reports, `timeout` those after which the run is ended.

        A signal that `interrupts` hold back ends the run at its next step.
        """
        self._interrupts = interrupts
        self._timeout, self._end = timeout, math.inf if timeout is None else clock() + timeout
        self._run_id, self._observe, self._checkpoint = run_id, observe, checkpoint
        self._pulse, self._clock, self._next = pulse, clock, clock()

    def stepped(self, meter: Meter, terms: Terms) -> bool:
        """Report a step if it is time to. Only then are numbers read, and is it looked whether a checkpoint is due."""
        now = self._clock()
        stopping = self._interrupts is not None and self._interrupts.pending
        if now < min(self._next, self._end) and not stopping:
            return False
        if now >= self._end or stopping:
            return True
        loss, kl = float(terms.loss), float(terms.kl.sum(-1).mean())
        self._observe(Stepped(self._run_id, meter.steps, meter.progress().fraction, loss, kl))
        self._next = self._clock() + self._pulse
        return not math.isfinite(loss) or self._checkpoint.due()  # before a state is kept, divergence ends the run

    def evaluated(self, point: Point) -> None:
        """Report a scheduled evaluation."""
        self._observe(Evaluated(self._run_id, point))

    def keep(self, state: dict[str, Any]) -> None:
        """Write the checkpoint. Raises TimeLimitError if the time is over, and Interrupted after a signal."""
        self._checkpoint.save(state)
        if self._interrupts is not None:
            self._interrupts.check()
        if self._timeout is not None and self._clock() >= self._end:
            raise TimeLimitError(timed_out(self._timeout))


def _moves(checkpoint: Checkpoint) -> tuple[Finding, ...]:
    """Return what is to be said of a run that went on in another environment."""
    texts = (f"went on from a checkpoint that was written with {note}" for note in checkpoint.notes)
    return tuple(Finding(guard=Guard.ENVIRONMENT, text=text) for text in texts)


def metric_values(metric: Metric, test: EvaluatedSplit) -> Iterator[Value | DeclinedColumn]:
    """Compute one metric. Its declared columns are for boards; other entries are for `runs show`."""
    columns = {column.name: column for column in metric.columns}
    for name, estimate in metric.evaluate(test).items():
        column = columns.get(name)
        if isinstance(estimate, Declined):
            yield DeclinedColumn(metric=metric.name, column=name, reason=estimate.reason)
        elif column is None:
            yield Value.of(metric.name, name, estimate)
        else:
            shown = {"unit": column.unit, "title": column.title, "direction": column.direction}
            yield Value.of(metric.name, name, estimate, board=True, **shown)
