"""The benchmark harness for methods against posterior collapse in variational autoencoders.

A plugin needs only these names; importing them loads no torch.
"""

from collapsebench.components import (
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
from collapsebench.hookspecs import Progress, hookimpl

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
