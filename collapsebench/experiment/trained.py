"""Trained models: the networks of a stored run with the weights that were tested, and what goes with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from collapsebench.components.interfaces import Dataset
from collapsebench.errors import DataError
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.jobs import JobFiles
from collapsebench.experiment.weights import WEIGHTS, WeightFiles
from collapsebench.experiment.work import RunSetup, Sources, folder_of
from collapsebench.guards.agreement import check_agreement
from collapsebench.record import Outcome

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Inference
    from collapsebench.examples import Splits
    from collapsebench.experiment.runner import Runner
    from collapsebench.experiment.training import TrainingSetup
    from collapsebench.metrics.evaluation import EvaluatedSplit
    from collapsebench.model.vae import VAE
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec


_ENDINGS = {
    Outcome.STARTED: "has not ended",
    Outcome.DIVERGED: "diverged",
    Outcome.FAILED: "failed",
    Outcome.INTERRUPTED: "was interrupted",
}
"""What is said of a run that did not finish, and so has selected no weights."""


@dataclass(frozen=True)
class TrainedModel:
    """The model of one run on the CPU. Each part is made when it is first asked for.

    It is assembled as the run itself assembled it. Its parts raise UsageError for a plugin that is not there, DataError
    for data or weights that are missing or others, and PluginError for a component of another version.
    """

    record: RunRecord
    sources: Sources
    files: WeightFiles
    """The weights."""

    @property
    def vae(self) -> VAE:
        """The model with the weights that were tested, in evaluation mode."""
        return self._loaded.vae

    @property
    def inference(self) -> Inference:
        """The inference strategy of the contender, with what it kept."""
        return self._loaded.inference

    @cached_property
    def splits(self) -> Splits:
        """The data of the run. They have the hashes that its spec has."""
        return self.sources.splits.of(self._spec.protocol.dataset)

    @cached_property
    def words(self) -> tuple[str, ...] | None:
        """The words of the vocabulary by their ids; None for other data, and for words without names."""
        dataset = self.sources.catalog.create(Dataset, self._spec.protocol.dataset)
        words = dataset.words(self.sources.data_folder)
        return None if words is None else tuple(words)

    @property
    def test_split(self) -> EvaluatedSplit:
        """The test split under the model, as the metrics of the run saw it; nothing is computed yet."""
        return self._runner.test_split(self._spec, self._loaded, self.record.points)

    @property
    def _spec(self) -> RunSpec:
        return self.record.spec

    @property
    def _runner(self) -> Runner:
        folder = self.files.folder
        return RunSetup(self.sources, Checkpoints(folder), JobFiles.below(folder)).runner(_ignore)

    @cached_property
    def _loaded(self) -> TrainingSetup:
        """What the run was trained with, with the weights that were tested."""
        if self.record.outcome is not Outcome.FINISHED:
            raise DataError(f"run {self.record.run_id} has no weights: it {_ENDINGS[self.record.outcome]}")
        self.files.check()
        check_agreement(self._spec, self.splits, self.sources.catalog)
        setup = self._runner.training_setup(self._spec)
        for name in self.files.load(setup.vae, setup.keepers):
            warnings.warn(
                f"what '{name}' kept of run {self.record.run_id} in private attributes is not in a file of plain "
                "values: it is as at the start of the run",
                stacklevel=4,
            )
        setup.vae.eval()
        return setup


def _ignore(event: object) -> None:
    del event


@dataclass(frozen=True)
class Models:
    """The models of the runs of one store. They share what they read."""

    sources: Sources
    store: str | Path
    work_folder: Path | None = None
    """The folder of weights and codes; None: beside the store."""

    @classmethod
    def installed(
        cls, store: str | Path, work_folder: Path | None, plugins: Iterable[Path] = (), data_dir: Path | None = None
    ) -> Models:
        """Return those of the installed plugins and of these files, with the data of a folder."""
        from collapsebench.data.files import data_folder

        return cls(Sources(tuple(plugins), (), data_folder(data_dir)), store, work_folder)

    @cached_property
    def folder(self) -> Path:
        """The folder of the weights."""
        return folder_of(WEIGHTS, self.store, self.work_folder)

    def files(self, run_id: str) -> WeightFiles:
        """Return the files of the weights of a run, be they there or not."""
        return WeightFiles(self.folder, run_id)

    def of(self, record: RunRecord) -> TrainedModel:
        """Return the model of a run. Nothing is read yet."""
        return TrainedModel(record, self.sources, self.files(record.run_id))


def stored_models(
    store: str | Path,
    run_ids: Iterable[str],
    plugins: Iterable[Path] = (),
    data_dir: Path | None = None,
    work_folder: Path | None = None,
) -> list[TrainedModel]:
    """Return the models of stored runs, by their ids or the first digits.

    Raises UsageError or StoreError for a run that is not there.
    """
    from collapsebench.store import Store

    models = Models.installed(store, work_folder, plugins, data_dir)
    with Store.reading(store) as opened:
        return [models.of(opened.get(run_id)) for run_id in run_ids]
