"""Discovery: built-ins, entry points and `--plugin FILE` become name -> (class, plugin, version, origin).

Built-ins enter through the same hook as third parties. A catalogue is a value: nothing is global, so two of them can
differ. Composition of methods is here too, as it is what pluggy does.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, get_args

import pluggy
from pydantic import BaseModel, ValidationError

from collapsebench.components.hookspecs import PROJECT, DiscoveryHooks, MethodHooks
from collapsebench.components.interfaces import KINDS, Component, Inference, Method, Prior
from collapsebench.errors import CollapsebenchError, PluginError, UsageError, unknown
from collapsebench.syntax import BASELINE, NAME, Call, parse_composition

if TYPE_CHECKING:
    from collections.abc import Collection

    from collapsebench.spec import Choice, Contender

C = TypeVar("C", bound=Component)

BUILTINS: Final = {
    "collapsebench.data": ("dataset",),
    "collapsebench.networks": ("encoder", "posterior", "decoder", "initialization"),
    "collapsebench.inference": ("inference",),
    "collapsebench.metrics": ("metric",),
    "collapsebench.experiment.executors": ("executor",),
}
"""The modules of the harness that register components, and of which kinds these are."""

PLUGINS_VARIABLE: Final = "COLLAPSEBENCH_PLUGINS"
"""Names of the entry points to load, separated by commas; unset: all."""


class Entry(NamedTuple):
    """One component and where it comes from."""

    component: type[Component]
    plugin: str
    origin: str
    package: metadata.Distribution | None
    """What it was installed with; None for a file that is given by hand."""

    @property
    def version(self) -> str:
        """Of the package; `file` if there is none. Looked up when it is asked for, as it takes a millisecond."""
        return "file" if self.package is None else self.package.version

    @property
    def hooks(self) -> list[str]:
        """The method hooks that it implements."""
        return sorted(_implemented(self.component))


class FailedPlugin(NamedTuple):
    """A plugin that cannot be used, and why."""

    plugin: str
    origin: str
    reason: str


class _Source(NamedTuple):
    """Where a plugin module is to be found."""

    plugin: str
    origin: str
    package: metadata.Distribution | None
    module: ModuleType


@dataclass(frozen=True)
class Catalog:
    """Every component by kind and name."""

    entries: Mapping[tuple[str, str], Entry]
    failed: tuple[FailedPlugin, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The names of one kind, sorted."""
        return sorted(name for entry_kind, name in self.entries if entry_kind == kind)

    def entry(self, kind: str, name: str) -> Entry:
        """One component; UsageError with the nearest name, all names, and the plugins that failed."""
        found = self.entries.get((kind, name))
        if found is not None:
            return found
        failures = "".join(f"; plugin '{f.plugin}' failed: {f.reason}" for f in self.failed)
        raise UsageError(unknown(kind, name, self.names(kind)) + failures)

    def make(self, kind: str, name: str, params: Mapping[str, Any]) -> Component:
        """A validated component; UsageError in one line for an unknown name, field, or a value of the wrong type."""
        component = self.entry(kind, name).component
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
        """Read `a+b[key=value]`: the resolved contender and its methods. Conflicts are errors, by name."""
        from collapsebench.spec import Contender, MethodChoice

        calls = [] if text.strip() == BASELINE else parse_composition(text)
        methods = [self._method(call) for call in calls]
        compose(methods)
        choices = tuple(
            MethodChoice(
                name=method.name,
                version=method.version,
                params=method.model_dump(mode="json"),
                passed=method.model_dump(mode="json", exclude_defaults=True),
            )
            for method in methods
        )
        return Contender.of(choices), methods

    def methods_of(self, contender: Contender) -> list[Method]:
        """The methods of a resolved contender."""
        return [self._method(Call(choice.name, choice.params)) for choice in contender.methods]

    def _method(self, call: Call) -> Method:
        if call.name == BASELINE:
            raise UsageError(f"'{BASELINE}' is the baseline without any method: it cannot be combined or parameterized")
        return self.create(Method, call)


def load(plugin_files: Iterable[Path] = (), kinds: Collection[str] | None = None) -> Catalog:
    """Find every component. For a list, those that come with the harness are needed of the named `kinds` only.

    An installed plugin that cannot be imported or breaks its contract is listed as failed and only the runs that name
    it fail; a file given by hand must load. Raises PluginError if two plugins register the same kind and name.
    """
    entries: dict[tuple[str, str], Entry] = {}
    for name in (name for name, given in BUILTINS.items() if kinds is None or set(given) & set(kinds)):
        module = import_module(name)
        source = _Source(PROJECT, str(module.__file__), metadata.distribution(PROJECT), module)
        _add(entries, _registered(source))
    failed: list[FailedPlugin] = []
    for point in _entry_points():
        try:
            found = _registered(_from_entry_point(point))
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises must not take the others down
            failed.append(FailedPlugin(point.name, point.value, _reason(error)))
        else:
            _add(entries, found)
    for path in plugin_files:
        _add(entries, _from_file(path))
    return Catalog(entries, tuple(failed))


def _entry_points() -> list[metadata.EntryPoint]:
    points = sorted(metadata.entry_points(group=PROJECT), key=lambda point: point.name)
    wanted = os.environ.get(PLUGINS_VARIABLE)
    if wanted is None:
        return points
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    known = {point.name for point in points}
    if names - known:
        raise UsageError(f"{PLUGINS_VARIABLE}: " + unknown("plugin", min(names - known), known))
    return [point for point in points if point.name in names]


def _from_entry_point(point: metadata.EntryPoint) -> _Source:
    module = point.load()
    return _Source(point.name, str(module.__file__), point.dist, module)


def _from_file(path: Path) -> list[Entry]:
    if not path.is_file():
        raise UsageError(f"plugin file '{path}' does not exist")
    name = f"collapsebench_file_{path.stem}"
    spec = util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin file '{path}' is not a Python file")
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic resolves postponed annotations through it
    try:
        spec.loader.exec_module(module)
        return _registered(_Source(path.stem, str(path), None, module))
    except Exception as error:
        raise PluginError(f"plugin file '{path}' failed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CollapsebenchError) else f"{type(error).__name__}: {text}"


def _add(entries: dict[tuple[str, str], Entry], found: Iterable[Entry]) -> None:
    for entry in found:
        key = (entry.component.kind, entry.component.name)
        if key in entries:
            raise PluginError(
                f"{key[0]} '{key[1]}' is registered twice: by plugin '{entries[key].plugin}' ({entries[key].origin}) "
                f"and by '{entry.plugin}' ({entry.origin})"
            )
        entries[key] = entry


def _registered(source: _Source) -> list[Entry]:
    """What one module registers, checked."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(DiscoveryHooks)
    manager.register(source.module, source.plugin)
    manager.check_pending()  # a misspelled hook would otherwise never be called
    answers = manager.hook.collapsebench_components()
    if not answers:
        raise PluginError(f"plugin '{source.plugin}' has no hook collapsebench_components")
    components = list(answers[0])
    for component in components:
        _check(component, source.plugin)
    return [Entry(component, source.plugin, source.origin, source.package) for component in components]


def _check(component: type[Component], plugin: str) -> None:
    """Raise PluginError unless the class keeps the contract of components."""
    where = f"plugin '{plugin}': {getattr(component, '__qualname__', component)!s}"
    if not (inspect.isclass(component) and issubclass(component, KINDS)) or inspect.isabstract(component):
        kinds = ", ".join(kind.__name__ for kind in KINDS)
        raise PluginError(f"{where} must be a complete subclass of one of {kinds}")
    name = component.__dict__.get("name")
    if not isinstance(name, str) or NAME.fullmatch(name) is None or name == BASELINE:
        raise PluginError(f"{where} needs a class variable `name` of small letters, digits and dashes, got {name!r}")
    bare = [field for field, info in component.model_fields.items() if not info.description]
    if bare:
        raise PluginError(f"{where} must describe its field '{bare[0]}': Field(..., description=\"…\")")
    if issubclass(component, Method):
        _check_hooks(component, where)


def _implemented(component: type[Component]) -> dict[str, Any]:
    """The functions of a class that are marked as hook implementations."""
    found: dict[str, Any] = {}
    for base in reversed(component.__mro__):
        found |= vars(base)
    return {name: value for name, value in found.items() if inspect.isfunction(value) and _mark(value) is not None}


def _mark(function: Any) -> Any:
    return getattr(function, f"{PROJECT}_impl", None)


def _check_hooks(method: type[Method], where: str) -> None:
    for name, function in _implemented(method).items():
        hook = inspect.getattr_static(MethodHooks, name, None)
        if hook is None:
            hooks = [hook for hook in vars(MethodHooks) if not hook.startswith("_")]
            raise PluginError(f"{where}: {unknown('hook', name, hooks)}")
        known, wanted = inspect.signature(hook).parameters, inspect.signature(function).parameters
        if not set(wanted) <= set(known):
            extra = ", ".join(set(wanted) - set(known))
            raise PluginError(f"{where}.{name} asks for {extra}, but the hook gives {', '.join(list(known)[1:])}")


class _MethodManager(pluggy.PluginManager):
    """Hooks of method instances: pluggy looks at the class and at marked functions only.

    Reading every attribute of a pydantic instance would trip its deprecated ones.
    """

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        return _mark(inspect.getattr_static(type(plugin), name, None))


def compose(methods: Iterable[Method]) -> pluggy.HookRelay:
    """The hooks of one contender.

    Raises UsageError if a method is named twice or two methods give the same first-result hook.
    """
    manager = _MethodManager(PROJECT)
    manager.add_hookspecs(MethodHooks)
    for method in methods:
        if manager.has_plugin(method.name):
            raise UsageError(f"method '{method.name}' is named twice in one contender")
        manager.register(method, method.name)
    for name in (name for name in vars(MethodHooks) if not name.startswith("_")):
        caller = getattr(manager.hook, name)
        givers = [implementation.plugin_name for implementation in caller.get_hookimpls()]
        if caller.spec.opts["firstresult"] and len(givers) > 1:
            raise UsageError(f"methods {' and '.join(map(repr, givers))} both give {name}: they cannot be combined")
    return manager.hook


def inference_of(hooks: pluggy.HookRelay, default: Inference) -> Inference:
    """The contender's inference strategy. Raises PluginError if a method returns something else."""
    found = hooks.inference()
    return default if found is None else _instance(found, Inference, "inference")


def prior_of(hooks: pluggy.HookRelay, latent_dim: int) -> Prior | None:
    """The contender's prior, None for N(0, I). Raises PluginError if a method returns something else."""
    found = hooks.prior(latent_dim=latent_dim)
    return None if found is None else _instance(found, Prior, "prior")


def _instance(found: object, kind: type[Any], hook: str) -> Any:
    if not isinstance(found, kind):
        raise PluginError(f"hook {hook} must return an instance of {kind.__name__}, got {type(found).__name__}")
    return found


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake of a validation in one line; unknown fields get the nearest name and all names."""
    first = error.errors(include_url=False)[0]
    *path, last = (str(part) for part in first["loc"]) if first["loc"] else [""]
    where = ".".join((*path, last))
    if first["type"] == "extra_forbidden":
        return unknown("parameter", where, [".".join((*path, name)) for name in _fields_at(model, path)])
    message = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] == "missing" or not where else f", got {first['input']!r:.80}"
    return f"{where}: {message}{got}" if where else message


def _fields_at(model: type[BaseModel], path: Iterable[str]) -> Iterable[str]:
    """The field names of the model that stands at a path inside of another."""
    for name in path:
        annotation = model.model_fields[name].annotation
        inner = [kind for kind in (annotation, *get_args(annotation)) if inspect.isclass(kind)]
        model = next(kind for kind in inner if issubclass(kind, BaseModel))
    return model.model_fields
