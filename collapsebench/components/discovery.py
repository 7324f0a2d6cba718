"""Discovery: built-ins, entry points and files become a catalogue.

Built-ins enter through the same hook as third parties.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from importlib import import_module, metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

import pluggy

from collapsebench.components.beside import FILE_MODULE, PluginLoader, check_apart, find_beside
from collapsebench.components.catalog import Catalog, Entry, FailedPlugin
from collapsebench.components.composition import implemented
from collapsebench.components.footprint import Footprint
from collapsebench.components.hookspecs import PROJECT, DiscoveryHooks, MethodHooks
from collapsebench.components.interfaces import Component, Family, Method
from collapsebench.components.search import SearchRange
from collapsebench.errors import Interrupted, PluginError, UsageError, error_line, place_of, place_of_class, unknown
from collapsebench.syntax import BASELINE, NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


BUILTINS: Final = {
    "collapsebench.data": ("dataset",),
    "collapsebench.networks": ("encoder", "posterior", "decoder", "initialization"),
    "collapsebench.inference": ("inference",),
    "collapsebench.metrics": ("metric",),
    "collapsebench.experiment.engines": ("executor",),
}
"""The modules of the harness that register components, and the kinds of these."""

PLUGINS_VARIABLE: Final = "COLLAPSEBENCH_PLUGINS"
"""The names of the entry points to load, separated by commas. If it is not set, all are loaded."""


class _Source(NamedTuple):
    """A plugin module, and the place that it comes from."""

    plugin: str
    origin: str
    package: metadata.Distribution | None
    module: ModuleType
    shipped: bool = False
    """True if it comes with the harness."""


def load(plugin_files: Iterable[Path] = (), kinds: Collection[str] | None = None) -> Catalog:
    """Find every component. With `kinds`, built-in components of other kinds may be left out: a list needs no more.

    An installed plugin that cannot be imported or breaks its contract is listed as failed, and only the runs that name
    it fail. A file that the user gives must load. Raises PluginError if two plugins register the same kind and name.
    """
    entries: dict[tuple[str, str], Entry] = {}
    for name in (name for name, given in BUILTINS.items() if kinds is None or set(given) & set(kinds)):
        module = import_module(name)
        source = _Source(PROJECT, str(module.__file__), metadata.distribution(PROJECT), module, shipped=True)
        _add(entries, _registered(source))
    failed: list[FailedPlugin] = []
    points = _entry_points()
    ours = {package for package in {point.dist for point in points} if package is not None and package.name == PROJECT}
    for point in points:
        try:
            found = _unchanged(partial(_from_entry_point, point, shipped=point.dist in ours))
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises must not take the others down
            failed.append(FailedPlugin(point.name, point.value, error_line(error)))
        else:
            _add(entries, found)
    beside: dict[str, Path] = {}
    for path in plugin_files:
        _add(entries, _from_file(path))
        check_apart(beside, path)
    return Catalog(entries, tuple(failed))


def extended(catalog: Catalog, classes: Iterable[type[Component]]) -> Catalog:
    """Give a catalogue that has these classes, too: those that a user made in a notebook or a script.

    Classes that it has already change nothing. Raises PluginError for a class that breaks the contract of components,
    and for one of the kind and name of another.
    """
    entries = dict(catalog.entries)
    known = {entry.component for entry in entries.values()}
    hashes = cache(_module_code)
    for component in dict.fromkeys(classes):
        if component not in known:
            check_component(component, component.__module__)
            module = sys.modules.get(component.__module__)
            code = _code(component, module, hashes)
            _add(entries, [Entry(component, component.__module__, origin_of(component), None, code)])
    return replace(catalog, entries=entries)


def origin_of(component: type[Component]) -> str:
    """The file in which a class is written, or `module.Class` if there is none."""
    file = getattr(sys.modules.get(component.__module__), "__file__", None)
    return file or f"{component.__module__}.{component.__qualname__}"


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


def _unchanged(find: Callable[[], list[Entry]]) -> list[Entry]:
    """Find components. Raises PluginError if the import of a plugin changed what it must leave alone."""
    footprint = Footprint()
    try:
        found = find()
    finally:
        changed = footprint.undo_breaking()
    if changed:
        raise PluginError(f"its import changed {' and '.join(changed)}")
    return found


def _from_entry_point(point: metadata.EntryPoint, *, shipped: bool) -> list[Entry]:
    module = point.load()
    return _registered(_Source(point.name, str(module.__file__), point.dist, module, shipped))


def _from_file(path: Path) -> list[Entry]:
    if not path.is_file():
        raise UsageError(f"plugin file '{path}' does not exist")
    name = f"{FILE_MODULE}{path.stem}"
    if path.suffix != ".py":
        raise UsageError(f"plugin file '{path}' is not a Python file")
    loader = PluginLoader(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path))
    spec.has_location = True
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic resolves postponed annotations through it
    find_beside(path)

    def find() -> list[Entry]:
        loader.exec_module(module)
        return _registered(_Source(path.stem, str(path), None, module))

    try:
        return _unchanged(find)
    except Interrupted:
        raise
    except BaseException as error:
        raise PluginError(f"plugin file '{path}' failed: {error_line(error)}") from error


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
    """Return the checked components that one module registers."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(DiscoveryHooks)
    manager.register(source.module, source.plugin)
    manager.check_pending()  # a misspelled hook would otherwise never be called
    answers = manager.hook.collapsebench_components()
    if not answers:
        raise PluginError(f"plugin '{source.plugin}' has no hook collapsebench_components")
    components = list(answers[0])
    for component in components:
        check_component(component, source.plugin)
    hashes = cache(_module_code)
    return [_entry(component, source, hashes) for component in components]


def _entry(component: type[Component], source: _Source, hashes: Callable[[ModuleType], str | None]) -> Entry:
    here = component.__module__ == source.module.__name__
    module = source.module if here else sys.modules.get(component.__module__)
    return Entry(
        component=component,
        plugin=source.plugin,
        origin=source.origin if here else origin_of(component),
        package=source.package,
        code=None if source.shipped else _code(component, module, hashes),
    )


def _code(component: type[Component], module: ModuleType | None, hashes: Callable[[ModuleType], str | None]) -> str:
    """Return the hash of a component's code: of its module, or of the class if its module has no file.

    `hashes` is that of modules, and may know those that it was asked for before.
    """
    from collapsebench.components.code import class_hash  # the shipped components do without

    found = None if module is None or module.__name__ == "__main__" else hashes(module)
    return class_hash(component) if found is None else found


def _module_code(module: ModuleType) -> str | None:
    from collapsebench.components.code import module_hash

    return module_hash(module)


def check_component(component: type[Component], plugin: str) -> None:
    """Raise PluginError unless the class keeps the contract of components. The error begins with the place of it."""
    try:
        _check_contract(component, f"plugin '{plugin}': {getattr(component, '__qualname__', component)!s}")
    except PluginError as error:
        place = place_of_class(component) if inspect.isclass(component) else ""
        raise PluginError(f"{place}, {error}" if place else str(error)) from None


def _check_contract(component: type[Component], where: str) -> None:
    if not (inspect.isclass(component) and issubclass(component, Component)) or inspect.isabstract(component):
        raise PluginError(f"{where} must be a complete subclass of a kind of component, such as Method or Dataset")
    name = component.__dict__.get("name")
    if not isinstance(name, str) or NAME.fullmatch(name) is None or name == BASELINE:
        raise PluginError(f"{where} needs a class variable `name` of small letters, digits and dashes, got {name!r}")
    bare = [field for field, info in component.model_fields.items() if not info.description]
    if bare:
        raise PluginError(f"{where} must describe its field '{bare[0]}': Field(..., description=\"…\")")
    if issubclass(component, Method):
        _check_method(component, where)


def _check_search(method: type[Method], where: str) -> None:
    for field, range_ in method.search.items():
        if field not in method.model_fields:
            raise PluginError(f"{where}.search: {unknown('field', field, method.model_fields)}")
        if not isinstance(range_, SearchRange):
            kinds = "Range, IntegerRange or OneOf"
            raise PluginError(f"{where}.search: '{field}' needs a {kinds}, got {range_!r:.60}")


def _check_method(method: type[Method], where: str) -> None:
    if method.family not in set(Family):
        raise PluginError(f"{where}: {unknown('family', str(method.family), Family)}")
    _check_search(method, where)
    given = implemented(method)
    hooks = [name for name in vars(MethodHooks) if not name.startswith("_")]
    bare = [name for name in hooks if name not in given and getattr(method, name, None) is not None]
    if bare:
        raise PluginError(f"{where}.{bare[0]} has the name of a hook, but no @hookimpl: nobody would call it")
    if not given:
        raise PluginError(f"{where} implements no hook, and so would be the baseline: mark one with @hookimpl")
    for name, function in given.items():
        hook = inspect.getattr_static(MethodHooks, name, None)
        if hook is None:
            raise PluginError(f"{where}: {unknown('hook', name, hooks)}")
        known, wanted = inspect.signature(hook).parameters, inspect.signature(function).parameters
        if not set(wanted) <= set(known):
            extra = ", ".join(set(wanted) - set(known))
            gives = ", ".join(list(known)[1:])
            raise PluginError(f"{where}.{name} asks for {extra}, but the hook gives {gives} ({place_of(function)})")
