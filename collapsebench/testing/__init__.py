"""Conformance: what every component must do, whatever it does, for tests and for the command line.

A test class of pytest says which component it is about. pytest is not needed for `collapsebench check`.
"""

from collapsebench.testing.checking import Check, Outcome, Report, checks_of
from collapsebench.testing.checks import CheckError
from collapsebench.testing.conformance import (
    Conformance,
    DatasetConformance,
    DecoderConformance,
    EncoderConformance,
    InferenceConformance,
    InitializationConformance,
    MethodConformance,
    MetricConformance,
    PosteriorConformance,
    PriorConformance,
)
from collapsebench.testing.subjects import Subject

__all__ = [
    "Check",
    "CheckError",
    "Conformance",
    "DatasetConformance",
    "DecoderConformance",
    "EncoderConformance",
    "InferenceConformance",
    "InitializationConformance",
    "MethodConformance",
    "MetricConformance",
    "Outcome",
    "PosteriorConformance",
    "PriorConformance",
    "Report",
    "Subject",
    "checks_of",
]
