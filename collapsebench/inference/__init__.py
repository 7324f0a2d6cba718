"""The inference strategies that come with the harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapsebench.components.hookspecs import hookimpl
from collapsebench.inference.amortized import Amortized

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Component

__all__ = ["Amortized", "collapsebench_components"]


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the inference strategies that come with the harness."""
    return [Amortized]
