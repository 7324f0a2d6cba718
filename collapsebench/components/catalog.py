"""The catalogue: every component by kind and name, with where it comes from.

A catalogue is a value. Nothing is global, so two of them can differ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from collapsebench.components.beside import plugin_modules
from collapsebench.components.composition import compose, implemented
from collapsebench.components.interfaces import Component, Method
from collapsebench.errors import PluginError, UsageError, unknown
from collapsebench.syntax import BASELINE, Call, Written, parse_contender, parse_sweep, print_call
from collapsebench.validation import describe

if TYPE_CHECKING:
    from types import ModuleType

    from collapsebench.spec import Choice, Contender, MethodChoice, RunSpec

C = TypeVar("C", bound=Component)


class Entry(NamedTuple):
    """One component, and where it comes from."""

    component: type[Component]
    plugin: str
    origin: str
    """The file in which it is written, or `module.Class` if it was made in a notebook."""
    package: metadata.Distribution | None
    """The package that it was installed with. None for a file or a class that the user gives by hand."""
    code: str | None = None
    """The hash of its code as it was loaded (see `components.code`); None if it comes with the harness."""

    @property
    def version(self) -> str:
        """The version of the package, or `file` if there is none. To look it up takes a millisecond."""
        return "file" if self.package is None else self.package.version

    @property
    def hooks(self) -> list[str]:
        """The names of the method hooks that the component implements."""
        return sorted(implemented(self.component))


class FailedPlugin(NamedTuple):
    """A plugin that cannot be used, with the reason."""

    plugin: str
    origin: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """Every component, by kind and name."""

    entries: Mapping[tuple[str, str], Entry]
    failed: tuple[FailedPlugin, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The names of one kind, sorted."""
        return sorted(name for entry_kind, name in self.entries if entry_kind == kind)

    def has(self, kind: str, name: str) -> bool:
        """Return True if there is such a component."""
        return (kind, name) in self.entries

    def entry(self, kind: str, name: str) -> Entry:
        """One component; UsageError with the nearest name, all names, and the plugins that failed."""
        found = self.entries.get((kind, name))
        if found is not None:
            return found
        data = " or --data-dir FOLDER" if kind == "dataset" else ""
        own = f"One of your own needs --plugin FILE{data}."
        raise UsageError(unknown(kind, name, self.names(kind), own) + self._failures)

    def named(self, name: str, kind: str | None = None) -> Entry:
        """The component of a name, whatever its kind is; UsageError if there is none, or if several kinds have one."""
        if kind is not None:
            return self.entry(self.checked_kind(kind), name)
        kinds = [each for each in self.kinds if (each, name) in self.entries]
        if len(kinds) > 1:
            raise UsageError(f"'{name}' is the name of several components: say --kind {' or --kind '.join(kinds)}")
        if not kinds:
            raise UsageError(unknown("component", name, {each for _, each in self.entries}) + self._failures)
        return self.entries[kinds[0], name]

    def checked_kind(self, kind: str) -> str:
        """The kind; UsageError with the nearest one if there are no components of it."""
        if kind not in self.kinds:
            raise UsageError(unknown("kind of component", kind, self.kinds))
        return kind

    @property
    def kinds(self) -> list[str]:
        """The kinds of which there are components, sorted."""
        return sorted({kind for kind, _ in self.entries})

    @property
    def _failures(self) -> str:
        """The plugins that failed, in the words behind an error."""
        return "".join(f"; plugin '{f.plugin}' failed: {f.reason}" for f in self.failed)

    @property
    def modules(self) -> list[ModuleType]:
        """The imported modules of plugins that do not come with the harness: files, what lies beside, and packages."""
        foreign = [entry for entry in self.entries.values() if entry.code is not None]
        if not foreign:
            return []  # to look through all modules takes a while, and every run asks ten times
        roots = {entry.component.__module__.partition(".")[0] for entry in foreign if entry.package is not None}
        known = list(sys.modules.items()) if roots else []
        return [*plugin_modules(), *(module for name, module in known if name.partition(".")[0] in roots)]

    @property
    def files(self) -> frozenset[str]:
        """The files of these modules, and those in which the classes of a script or a notebook are written."""
        own = {entry.component.__module__ for entry in self.entries.values() if entry.code is not None}
        modules = [*self.modules, *(sys.modules[name] for name in own if name in sys.modules)]
        return frozenset(str(module.__file__) for module in modules if getattr(module, "__file__", None))

    def code_of(self, spec: RunSpec) -> dict[str, str]:
        """The hashes of code of the components of a spec, by kind and name. Those that come with the harness are left
        out: its version stands for them.
        """
        setting, protocol = spec.protocol.setting, spec.protocol
        named = [("method", choice.name) for choice in spec.contender.methods]
        named += [("metric", choice.name) for choice in setting.evaluation.metrics]
        named += [("dataset", protocol.dataset.name), ("encoder", setting.encoder.name)]
        named += [("decoder", setting.decoder.name), ("posterior", setting.posterior.name)]
        named += [("initialization", setting.initialization.name)]
        codes = {f"{kind} {name}": self.entry(kind, name).code for kind, name in named}
        return {name: code for name, code in sorted(codes.items()) if code is not None}

    def make(self, kind: str, name: str, params: Mapping[str, Any]) -> Component:
        """A validated component; UsageError in one line for an unknown name, field, or a value of the wrong type."""
        component = self.entry(kind, name).component
        fields = component.model_fields
        bare = [field for field, info in fields.items() if info.is_required() and field not in params]
        if bare and set(params) <= fields.keys():
            raise UsageError(_missing(component, bare, params))
        try:
            return component(**params)
        except ValidationError as error:
            raise UsageError(f"{kind} '{name}': {describe(error, component)}") from None

    def create(self, base: type[C], choice: Choice | Call) -> C:
        """The validated component of a choice, as an instance of its kind's interface."""
        component = self.make(base.kind, choice.name, choice.params)
        if not isinstance(component, base):
            raise PluginError(f"'{choice.name}' is registered as {base.kind} but is a {type(component).__name__}")
        return component

    def resolve(self, base: type[C], choice: Choice) -> tuple[C, Choice]:
        """The component, and the choice with its version and every parameter, defaults filled."""
        from collapsebench.spec import Choice  # a list of methods does without

        component = self.create(base, choice)
        params = component.model_dump(mode="json")
        return component, Choice(name=choice.name, version=component.version, params=params)

    def contender(self, text: str) -> tuple[Contender, list[Method]]:
        """Read `a+b[key=value]@rate=2`: the resolved contender and its methods. Conflicts are errors, by name."""
        return self._composed(parse_contender(text))

    def contenders(self, text: str) -> list[Contender]:
        """Read `a+b[key=value|value]@rate=1|2`: a contender for each combination. Its label has the swept values.

        Raises UsageError if two of them are the same contender.
        """
        sweep = parse_sweep(text)
        found = [self._composed(written, sweep.swept)[0] for written in sweep.contenders()]
        labels = [contender.label for contender in found]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise UsageError(f"'{text}' has the contender '{twice}' twice")
        return found

    def _composed(self, written: Written, named: Sequence[frozenset[str]] = ()) -> tuple[Contender, list[Method]]:
        """Resolve a contender. `named` are parameters of each method that its label has even at their default."""
        from collapsebench.spec import Contender

        methods = [self._method(call) for call in written.calls]
        compose(methods)
        shown = named or [frozenset[str]()] * len(methods)
        return Contender.of(tuple(map(_choice, methods, shown)), written.rate), methods

    def methods_of(self, contender: Contender) -> list[Method]:
        """The methods of a resolved contender."""
        return [self._method(Call(choice.name, choice.params)) for choice in contender.methods]

    def _method(self, call: Call) -> Method:
        if call.name == BASELINE:
            raise UsageError(f"'{BASELINE}' is the baseline without any method: it cannot be combined or parameterized")
        return self.create(Method, call)


def _choice(method: Method, named: frozenset[str]) -> MethodChoice:
    """Return the resolved choice of a method, with its version and all its parameters."""
    from collapsebench.spec import MethodChoice

    params = method.model_dump(mode="json")
    changed = method.model_dump(mode="json", exclude_defaults=True)
    passed = {name: value for name, value in params.items() if name in changed or name in named}
    return MethodChoice(name=method.name, version=method.version, params=params, passed=passed)


def _missing(component: type[Component], fields: list[str], params: Mapping[str, Any]) -> str:
    """Say what to write for fields that have no default, and what they are."""
    infos = {field: component.model_fields[field] for field in fields}
    examples = {field: (info.examples or ["…"])[0] for field, info in infos.items()}
    said = "; ".join(f"{field} is {info.description}" for field, info in infos.items())
    written = print_call(component.name, {**params, **examples})
    return f"{component.kind} '{component.name}' needs {' and '.join(fields)}: write {written} ({said})"
