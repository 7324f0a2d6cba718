"""A plugin that is another one on the machines of a cluster than where the runs are planned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from collapsebench import Dataset, Method, Progress, hookimpl

if TYPE_CHECKING:
    from collapsebench import Splits

ON_NODE = not {"SLURM_JOB_ID", "RAY_RAYLET_PID"}.isdisjoint(os.environ)


class Moved(Dataset):
    """Vectors that are others there."""

    name: ClassVar[str] = "moved"
    facts: ClassVar[Path | None] = Path(__file__).with_name("other_machine.toml")

    def load(self, folder: Path) -> Splits:
        from collapsebench.data.linear_gaussian import draw
        from collapsebench.examples import Splits, VectorSpec

        train, valid, test = draw([2.0, 1.0], [40, 20, 20], seed=2 if ON_NODE else 1)
        return Splits(VectorSpec(2), train, valid, test)


class Renewed(Method):
    """A method of a newer version there."""

    name: ClassVar[str] = "renewed"
    version: ClassVar[int] = 2 if ON_NODE else 1

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        return 1.0


@hookimpl
def collapsebench_components() -> list[type[Dataset | Method]]:
    return [Moved, Renewed]
