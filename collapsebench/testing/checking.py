"""The checks of a component, and how each of them ends. The pytest classes and the command line use the same ones."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from collapsebench.components import discovery
from collapsebench.components.catalog import Catalog, Entry
from collapsebench.components.interfaces import Component, Dataset, Method
from collapsebench.errors import UsageError, error_line
from collapsebench.experiment.failures import place_in_plugin
from collapsebench.metrics.metric import Metric
from collapsebench.syntax import Call, parse_composition
from collapsebench.testing import checks, dataset_checks, metric_checks
from collapsebench.testing.subjects import PARTS, Subject


class Check(NamedTuple):
    """One thing that a component must do."""

    name: str
    run: Callable[[Subject], None]
    """Raises CheckError if the component does not do it, or what the component raises."""

    @property
    def sentence(self) -> str:
        """What the component must do."""
        return inspect.getdoc(self.run) or ""


DESCRIBED = (Check("description", checks.described),)

TRAINED = (
    *DESCRIBED,
    Check("training", checks.trains),
    Check("gradients", checks.gradients_reach),
    Check("same seed, same bits", checks.repeats),
    Check("budgets", checks.runs_under_every_budget),
    Check("resume", checks.resumes),
    Check("metering", checks.is_metered),
    Check("pairing", checks.is_paired),
    Check("causality", checks.is_causal),
    Check("densities", checks.has_densities),
    Check("no trace", checks.leaves_no_trace),
    Check("composition", checks.composes),
)
"""Of everything that is a part of a contender."""

EFFECT = Check("effect", checks.has_effect)
NEUTRAL = Check("neutral setting", checks.is_neutral)
"""Of a method alone; the second one only if it declares such a setting."""

MEASURED = (
    Check("description", metric_checks.metric_described),
    Check("values", metric_checks.measures),
    Check("columns", metric_checks.shows_its_columns),
    Check("same seed, same bits", metric_checks.measures_the_same),
    Check("no trace", metric_checks.metric_leaves_no_trace),
)
"""Of a metric."""

LOADED = (
    *DESCRIBED,
    Check("facts", dataset_checks.has_facts),
    Check("splits", dataset_checks.loads),
    Check("distinct splits", dataset_checks.keeps_its_splits),
    Check("batches", dataset_checks.gives_batches),
    Check("tracks", dataset_checks.has_tracks_that_fit),
)
"""Of a dataset."""


def checks_of(component: type[Component]) -> tuple[Check, ...]:
    """Give the checks that are for a component, in their order."""
    if issubclass(component, Method):
        return (*TRAINED, EFFECT, *([] if component.neutral is None else [NEUTRAL]))
    if issubclass(component, Metric):
        return MEASURED
    if issubclass(component, Dataset):
        return LOADED
    return TRAINED if issubclass(component, PARTS) else DESCRIBED


class Outcome(NamedTuple):
    """How a check ended."""

    name: str
    sentence: str
    problem: str
    """What is wrong, in one line; empty if nothing is."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {"check": self.name, "sentence": self.sentence, "ok": not self.problem} | (
            {"problem": self.problem or None, "seconds": round(self.seconds, 2)}
        )


@dataclass(frozen=True, eq=False)
class Report:
    """The checks of one component. They are run when their outcomes are asked for, one by one."""

    subject: Subject

    @property
    def title(self) -> str:
        """The kind and the name of the component."""
        return self.subject.title

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is checked."""
        return checks_of(self.subject.component)

    def run(self) -> Iterator[Outcome]:
        """Run the checks one by one. Whatever the component raises is what is wrong with it."""
        return self.only(*(check.name for check in self.checks))

    def only(self, *names: str) -> Iterator[Outcome]:
        """Run the checks of these names."""
        for check in (check for check in self.checks if check.name in names):
            start = time.perf_counter()
            problem = _problem(check, self.subject)
            yield Outcome(check.name, check.sentence, problem, time.perf_counter() - start)


def _problem(check: Check, subject: Subject) -> str:
    """Return what is wrong, in one line; empty if nothing is."""
    try:
        check.run(subject)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
        where = place_in_plugin(error.__cause__ or error, _catalog_of(subject.component))
        return f"{error_line(error)} ({where})" if where else error_line(error)
    return ""


def _catalog_of(component: type[Component]) -> Catalog:
    """Return what tells which lines of a traceback are those of the component."""
    entry = Entry(component, component.__module__, discovery.origin_of(component), None)
    return Catalog({(component.kind, component.name): entry})


def report_json(report: Report, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Give a report and its outcomes as JSON has them."""
    component = report.subject.component
    return {
        "kind": component.kind,
        "name": component.name,
        "settings": dict(report.subject.settings),
        "checks": [outcome.as_json() for outcome in outcomes],
    }


def reports(
    target: str, kind: str | None = None, plugins: Sequence[Path] = (), data_folder: Path | None = None
) -> list[Report]:
    """Give the reports of a component, `NAME[KEY=VALUE]`, or of all components of a plugin file.

    Raises UsageError for a name that no component has, or that components of several kinds have, and PluginError for a
    file that does not load.
    """
    if target.endswith(".py"):
        entries = _in_file(Path(target), kind, plugins)
        return [Report(Subject(entry.component, data_folder=data_folder)) for entry in entries]
    call = _one_call(target)
    entry = discovery.load(plugins).named(call.name, kind)
    return [Report(Subject(entry.component, call.params, data_folder=data_folder))]


def _one_call(text: str) -> Call:
    """Read a component with its settings. Raises UsageError for a composition: its parts are checked one by one."""
    calls = parse_composition(text)
    if len(calls) > 1:
        raise UsageError(f"'{text}' is several components: check them one by one")
    return calls[0]


def _in_file(file: Path, kind: str | None, plugins: Sequence[Path]) -> list[Entry]:
    """Return the components of a plugin file. Raises UsageError if it has none of the kind."""
    loaded = discovery.load([*plugins, file])
    own = [entry for entry in loaded.entries.values() if entry.package is None and entry.plugin == file.stem]
    chosen = [entry for entry in own if kind in {None, entry.component.kind}]
    if not chosen:
        raise UsageError(f"plugin file '{file}' has no {kind or 'component'}")
    return chosen
