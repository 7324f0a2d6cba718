"""The setup of a grid: what its runs need, in this process or in another, and what their driver needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.components import discovery
from collapsebench.components.freezing import FrozenPlugins
from collapsebench.data.own import with_own
from collapsebench.errors import CollapsebenchError, PluginError, UsageError, error_line
from collapsebench.experiment import planning
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.events import PULSE, ToAll
from collapsebench.experiment.failures import place_in_plugin
from collapsebench.experiment.jobs import JOBS, RECORDS, JobFiles
from collapsebench.experiment.placement import check_there, check_workers, devices_of
from collapsebench.experiment.pulses import Pulses
from collapsebench.experiment.weights import WEIGHTS
from collapsebench.files import expanded
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.components.interfaces import Component
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.planning import Plan, Request, SplitCache
    from collapsebench.experiment.runner import Runner
    from collapsebench.experiment.signals import Interrupts


@dataclass(frozen=True)
class Sources:
    """Where the components and the data of runs come from."""

    plugins: tuple[Path, ...]
    """Python files to load beside the installed plugins."""
    components: tuple[type[Component], ...]
    """Classes of a notebook or a script, beside those of plugins."""
    data_folder: Path
    """The folder of original data files."""

    @cached_property
    def catalog(self) -> Catalog:
        """Every component, and the datasets that were added to the data folder."""
        return discovery.extended(with_own(discovery.load(self.plugins), self.data_folder), self.components)

    @cached_property
    def splits(self) -> SplitCache:
        """The data of the runs."""
        return planning.SplitCache(self.catalog, self.data_folder)

    def frozen(self, folder: Path) -> Sources:
        """Copy the plugin files into a folder, and return sources that read these copies.

        Classes that lie in no file stay as they are: they reach a worker if it can import their module.
        """
        _ = self.catalog  # what it has loaded is copied
        return replace(self, plugins=FrozenPlugins(self.plugins).write(folder.absolute()))

    @property
    def digest(self) -> str:
        """The SHA-256 of the plugin files."""
        _ = self.catalog
        return FrozenPlugins(self.plugins).digest

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what another process can make again. It may have another working folder."""
        plugins = tuple(path.absolute() for path in self.plugins)
        return Sources, (plugins, self.components, self.data_folder.absolute())


@dataclass(frozen=True)
class RunSetup:
    """What computing runs needs, in this process or in another: it can be pickled. It has no store."""

    sources: Sources
    checkpoints: Checkpoints
    jobs: JobFiles
    """The files of runs that a scheduler computes."""
    codes_folder: Path | None = None
    """The folder that the codes of every run but trials are written to; None if nobody wants them."""
    weights_folder: Path | None = None
    """The folder that the selected weights of every run but trials are written to; None if nobody wants them."""
    device: str = "cpu"
    """Where torch computes, as in `GridSetup`."""
    timeout: float | None = None
    """The seconds after which a run is ended."""

    def absolute(self) -> RunSetup:
        """Return the same for a process with another working folder. Pickled sources are absolute anyway."""
        return replace(
            self,
            checkpoints=replace(self.checkpoints, folder=self.checkpoints.folder.absolute()),
            jobs=self.jobs.absolute(),
            codes_folder=self.codes_folder and self.codes_folder.absolute(),
            weights_folder=self.weights_folder and self.weights_folder.absolute(),
        )

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices, of which each worker gets one."""
        return devices_of(self.device)

    def runner(self, observe: Observer, pulse: float = PULSE, interrupts: Interrupts | None = None) -> Runner:
        """Return what computes runs. Every executor is built on it: a spec in, its record out, events to `observe`.

        Pulses say, too, how far a run is. It reports steps every `pulse` seconds. With `interrupts`, a run writes its
        checkpoint before a signal ends it.
        """
        from collapsebench.experiment.runner import Runner

        return Runner(
            catalog=self.sources.catalog,
            splits=self.sources.splits,
            checkpoints=self.checkpoints,
            observe=ToAll([Pulses(self.checkpoints.folder), observe]),
            device=self.device,
            codes_folder=self.codes_folder,
            weights_folder=self.weights_folder,
            pulse=pulse,
            timeout=self.timeout,
            interrupts=interrupts,
        )


@dataclass(frozen=True)
class GridSetup:
    """Everything that the runs of some requests need, and where they are stored."""

    requests: tuple[Request, ...]
    plugins: tuple[Path, ...]
    """Python files to load beside the installed plugins."""
    data_folder: Path
    """The folder of original data files."""
    store: str
    """A file, or a URL of SQLAlchemy."""
    device: str = "cpu"
    """Where torch computes; several GPUs, as in `cuda:0,cuda:1`, are for as many workers at least."""
    keep_checkpoints: bool = False
    keep_codes: bool = False
    weights: bool = True
    """True to keep the selected weights of every run but trials."""
    components: tuple[type[Component], ...] = ()
    """Classes of a notebook or a script, beside those of plugins."""
    work_folder: Path | None = None
    """The folder of claims, checkpoints, codes and weights, which machines may share; None: beside the store."""
    timeout: float | None = None
    """The seconds after which a run is ended, and stored as failed; None: never."""
    resume_anywhere: bool = False
    """True to go on from checkpoints of other environments, and to note that in the record."""
    rerun: bool = False
    """True to run again the stored runs of other code than there is now, or without the codes that are asked for."""
    per_device: int = 1
    """So many workers may share a GPU."""

    def __post_init__(self) -> None:
        """Raise UsageError for what is no name of a device at all."""
        devices_of(self.device)

    def check_workers(self, workers: int) -> None:
        """Raise UsageError if so many workers do not fit the devices, or share one whose time is a budget."""
        devices = devices_of(self.device)
        check_workers(devices, workers, self.per_device)
        if devices[0].startswith("cuda") and workers > len(devices) and self.timed:
            raise UsageError("a budget in seconds is for a GPU that no other run shares: give fewer --workers")

    def check_devices(self) -> None:
        """Raise UsageError for a device that is not there. This imports torch for others than the CPU."""
        check_there(devices_of(self.device))

    @property
    def timed(self) -> bool:
        """True if a budget is in seconds."""
        return any(spec.protocol.budget.unit is Unit.SECONDS for spec in self.plan.specs)

    @cached_property
    def sources(self) -> Sources:
        """Where components and data come from."""
        return Sources(self.plugins, self.components, self.data_folder)

    @property
    def catalog(self) -> Catalog:
        """Every component."""
        return self.sources.catalog

    @cached_property
    def plan(self) -> Plan:
        """The runs. Raises UsageError or DataError, and PluginError for what a plugin raises meanwhile."""
        try:
            return planning.plan(self.requests, self.catalog, self.sources.splits)
        except (CollapsebenchError, KeyboardInterrupt):
            raise
        except BaseException as error:
            where = place_in_plugin(error, self.catalog)
            if not where:
                raise
            raise PluginError(f"{error_line(error)} ({where})") from error

    @property
    def runs(self) -> RunSetup:
        """What computing the runs needs."""
        return RunSetup(
            sources=self.sources,
            checkpoints=self.checkpoints,
            codes_folder=self.codes_folder,
            weights_folder=self.weights_folder,
            device=self.device,
            timeout=self.timeout,
            jobs=self.jobs,
        )

    @property
    def jobs(self) -> JobFiles:
        """The files of runs that a scheduler computes."""
        return JobFiles(self._folder(JOBS), self._folder(RECORDS))

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the runs."""
        return Checkpoints(self._folder("checkpoints"), self.keep_checkpoints, self.resume_anywhere)

    @property
    def codes_folder(self) -> Path | None:
        """The folder that codes are written to; None if they are not to be kept."""
        return self._folder("codes") if self.keep_codes else None

    @property
    def weights_folder(self) -> Path | None:
        """The folder that weights are written to; None if they are not to be kept."""
        return self._folder(WEIGHTS) if self.weights else None

    @property
    def logs_folder(self) -> Path:
        """The usual folder of logs."""
        return self._folder("logs")

    def _folder(self, what: str) -> Path:
        return folder_of(what, self.store, self.work_folder)


def folder_of(what: str, store: str | Path, work_folder: Path | None) -> Path:
    """Return a folder of files that belong to runs, as `codes`: in the folder of work, or beside the store."""
    if work_folder is not None:
        return expanded(work_folder).resolve() / what
    from collapsebench.store import connection

    return connection.companion(connection.store_url(str(store)), what)
