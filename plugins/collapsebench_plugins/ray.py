"""The executor that computes runs on the machines of a Ray cluster. Ray is an extra of the package."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from collapsebench import Component, hookimpl
from collapsebench.errors import UsageError
from collapsebench.experiment.executors import Executor
from collapsebench.experiment.processors import cores

if TYPE_CHECKING:
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.work import GridSetup, RunSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec


class Ray(Executor):
    """Computes each run as a task of a Ray cluster. A run whose worker or machine dies is tried again.

    It goes on from its checkpoint. The machines have the same packages, and share the folders of data and of work.
    """

    name: ClassVar[str] = "ray"
    citation: ClassVar[str] = "Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, OSDI 2018"

    address: str = Field(
        "",
        pattern=r"^(auto|[\w.-]+:\d+)?$",
        description="HOST:PORT of a running cluster, or auto for the one of this machine; empty: this machine alone",
    )
    cpus: PositiveInt = Field(1, description="processors of a run")
    gpus: float = Field(0, ge=0, le=1, description="GPUs of a run, with --device cuda; 0.5: two runs share one")
    threads: PositiveInt | None = Field(None, description="threads of torch in a run; default: cpus")
    retries: NonNegativeInt = Field(2, description="times that a run is tried again after its worker or machine died")

    @property
    def at_once(self) -> int:
        """The number of runs that this machine has room for. Only a cluster itself knows how large it is."""
        return max(1, cores() // self.cpus)

    def warm_up(self) -> None:
        """See Executor. Ray must be installed."""
        try:
            metadata.version("ray")  # a module of this name may also lie beside the plugin file of a user
        except metadata.PackageNotFoundError:
            raise UsageError("executor 'ray' needs the package ray: pip install 'collapsebench[ray]'") from None

    def check(self, setup: GridSetup) -> None:
        """See Executor. The device must fit the GPUs of a run, and a run this machine."""
        from collapsebench.experiment.worker import check_importable

        self.warm_up()
        check_importable(setup.components)
        if setup.device not in {"cpu", "cuda", "cuda:0"}:
            raise UsageError(f"a task of Ray sees its own GPU as cuda:0: give --device cuda, not {setup.device}")
        if (setup.device == "cpu") == (self.gpus > 0):
            raise UsageError(f"--device {setup.device} does not go with ray[gpus={self.gpus:g}]")
        if 0 < self.gpus < 1 and setup.timed:
            raise UsageError("a budget in seconds is for a GPU that no other run shares: give ray[gpus=1]")
        if not self.address and self.cpus > cores():
            raise UsageError(f"ray[cpus={self.cpus}] does not fit this machine, of which {cores()} may be used")

    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """See Executor. Runs are stopped together, and not while Ray waits: that would be another error."""
        from collapsebench.experiment.signals import Interrupts
        from collapsebench_plugins.ray_connection import connected
        from collapsebench_plugins.ray_tasks import Tasks

        with (
            Interrupts() as interrupts,
            interrupts.held(),
            connected(self.address, self.retries),
            Tasks(self, setup, observe) as tasks,
        ):
            waiting = iter(specs)
            try:
                interrupts.check()
                while tasks.employ(islice(waiting, tasks.room())):
                    yield from tasks.received()
                    interrupts.check()
            except KeyboardInterrupt:
                yield from tasks.stop()
                raise


def places(machine: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Return how many runs a machine with these resources can compute at a time.

    >>> from collapsebench_plugins.ray import places
    >>> places({"CPU": 16.0, "GPU": 1.0}, cpus=2, gpus=0.25)
    4
    """
    found = machine.get("CPU", 0) / cpus
    return math.floor(min(found, machine.get("GPU", 0) / gpus) if gpus else found)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the executor of this plugin."""
    return [Ray]
