"""A method that fails at the first step."""

from __future__ import annotations

from typing import ClassVar

from collapsebench import Component, Method, Progress, hookimpl


class Failing(Method):
    """Fails at the first step."""

    name: ClassVar[str] = "failing"

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        """Fail."""
        raise RuntimeError(f"this fails on purpose, at step {progress.step}")


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Register it."""
    return [Failing]
