"""A third party's dataset with a track of its own, small enough for tests; and methods that misbehave."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PrivateAttr

from collapsebench import Component, Dataset, Method, Progress, Site, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench import Splits
    from collapsebench.data.splits import TextSplit


class Toy(Dataset):
    """Three words of noise a document."""

    name: ClassVar[str] = "toy"
    facts: ClassVar[Path | None] = Path(__file__).with_suffix(".toml")

    documents: int = Field(24, description="documents of the training split")

    def load(self, folder: Path) -> Splits:
        import numpy as np

        from collapsebench.data.splits import TextSplit
        from collapsebench.examples import Splits, TextSpec

        def split(number: int, seed: int) -> TextSplit:
            words = np.random.default_rng(seed).integers(4, 8, (number, 3))
            documents = np.pad(words, ((0, 0), (1, 1)), constant_values=((0, 0), (2, 3))).astype(np.int32)
            return TextSplit(documents.ravel(), np.full(number, 5, np.int32))

        return Splits(TextSpec(8), split(self.documents, 0), split(8, 1), split(8, 2))


class Explode(Method):
    """Its KL weight becomes infinite."""

    name: ClassVar[str] = "explode"
    at: int = Field(2, description="the step")

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        return float("inf") if progress.step >= self.at else 1.0


class Crash(Method):
    """Its KL weight is a bug."""

    name: ClassVar[str] = "crash"

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        return 1 / (progress.step - 1)


class Interrupt(Method):
    """The user loses patience."""

    name: ClassVar[str] = "interrupt"

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        if progress.step == 1:
            signal.raise_signal(signal.SIGINT)
        return 1.0


class Remember(Method):
    """Its KL weight depends on what it has seen: state of a method, in a private attribute."""

    name: ClassVar[str] = "remember"
    _seen: int = PrivateAttr(0)

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        self._seen += 1
        return 1 / self._seen


class Die(Method):
    """The kernel needs the memory."""

    name: ClassVar[str] = "die"

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0


class WrongShape(Method):
    """Its connection forgets the sequence."""

    name: ClassVar[str] = "wrong-shape"

    @hookimpl
    def connect_latent(self, site: Site) -> nn.Module:
        from torch import nn

        class Forget(nn.Module):
            width = site.required_width or site.width

            def forward(self, h: Tensor, z: Tensor) -> Tensor:
                return h[:, 0]

        return Forget()


class NoModule(Method):
    """Its connection is no module."""

    name: ClassVar[str] = "no-module"

    @hookimpl
    def connect_latent(self, site: Site) -> int:
        return 3


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    return [Toy, Explode, Crash, Interrupt, Remember, Die, WrongShape, NoModule]
