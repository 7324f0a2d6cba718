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
        Posterior,
        Prior,
        Site,
        SiteKind,
    )
    from collapsebench.data import Images, Text
    from collapsebench.metrics.metric import Metric

__all__ = [
    "Component",
    "Dataset",
    "Decoder",
    "Encoder",
    "Images",
    "Inference",
    "Initialization",
    "Method",
    "Metric",
    "Posterior",
    "Prior",
    "Progress",
    "Site",
    "SiteKind",
    "Text",
    "hookimpl",
]


_MODULES = {
    "Images": "data",
    "Text": "data",
    "Metric": "metrics.metric",
    "Progress": "components.hookspecs",
    "hookimpl": "components.hookspecs",
}
"""Where names stand that are not in components.interfaces."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'collapsebench' has no attribute '{name}'")
    return getattr(import_module(f"collapsebench.{_MODULES.get(name, 'components.interfaces')}"), name)
