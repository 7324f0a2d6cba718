"""Classes for pytest: a test class that inherits from one has a test for every check of its component.

    from collapsebench.testing import MethodConformance
    from mine import Mine


    class TestMine(MethodConformance):
        component = Mine

pytest is not imported here: a class says by `pytest_generate_tests` what its tests are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
)
from collapsebench.metrics.metric import Metric
from collapsebench.testing.checking import Check, checks_of
from collapsebench.testing.subjects import Subject

if TYPE_CHECKING:
    from collapsebench.syntax import ParameterValue


class Conformance:
    """The tests of one component. The class below it sets `component`."""

    component: ClassVar[type[Component]]
    settings: ClassVar[Mapping[str, ParameterValue]] = {}
    """Its settings in the tests, as far as they are not the defaults: small networks are tried faster."""
    data_folder: ClassVar[Path | None] = None
    """The folder of original files, for a dataset."""

    @classmethod
    @cache
    def subject(cls) -> Subject:
        """Make what is tried. Its checks share it, as most of them begin with the same training."""
        return Subject(cls.component, cls.settings, data_folder=cls.data_folder)

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """Give the checks. A class that tests one of them better leaves it out."""
        return checks_of(cls.component)

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test of every check."""
        checks = self.checks()
        metafunc.parametrize("check", checks, ids=[check.name for check in checks])

    def test_it_conforms(self, check: Check) -> None:
        """Raise what is wrong with the component."""
        check.run(self.subject())


class MethodConformance(Conformance):
    """The tests of a method."""

    component: ClassVar[type[Method]]


class EncoderConformance(Conformance):
    """The tests of an encoder."""

    component: ClassVar[type[Encoder]]


class PosteriorConformance(Conformance):
    """The tests of what makes a posterior of features."""

    component: ClassVar[type[Posterior]]


class DecoderConformance(Conformance):
    """The tests of a decoder."""

    component: ClassVar[type[Decoder]]


class PriorConformance(Conformance):
    """The tests of a prior over two units."""

    component: ClassVar[type[Prior]]


class InitializationConformance(Conformance):
    """The tests of a rule of first values."""

    component: ClassVar[type[Initialization]]


class InferenceConformance(Conformance):
    """The tests of a strategy of inference."""

    component: ClassVar[type[Inference]]


class MetricConformance(Conformance):
    """The tests of a metric."""

    component: ClassVar[type[Metric]]


class DatasetConformance(Conformance):
    """The tests of a dataset."""

    component: ClassVar[type[Dataset]]
