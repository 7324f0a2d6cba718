"""The benchmark harness for methods against posterior collapse in variational autoencoders.

A plugin needs only these names; importing them loads no torch. They are imported when they are asked for, so that a
command that needs none of them, as `--help`, does not wait for pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collapsebench.components.hookspecs import Progress, hookimpl
    from collapsebench.components.interfaces import (
        Component,
        Dataset,
        Decoder,
        Encoder,
        Inference,
        Initialization,
        Method,
        Metric,
        Posterior,
        Prior,
        Site,
        SiteKind,
    )

__all__ = [
    "Component",
    "Dataset",
    "Decoder",
    "Encoder",
    "Inference",
    "Initialization",
    "Method",
    "Metric",
    "Posterior",
    "Prior",
    "Progress",
    "Site",
    "SiteKind",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'collapsebench' has no attribute '{name}'")
    module = "hookspecs" if name in {"Progress", "hookimpl"} else "interfaces"
    return getattr(import_module(f"collapsebench.components.{module}"), name)
