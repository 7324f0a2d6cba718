"""Descriptions of components: what each is, where it comes from, and its hyperparameters in words."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.components import discovery
from collapsebench.components.interfaces import Family, Method
from collapsebench.components.typeset import readable
from collapsebench.syntax import print_call, print_value

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog, Entry
    from collapsebench.components.interfaces import Component

BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
"""Signs of bounds, by their names in a JSON schema."""


class Parameter(NamedTuple):
    """One hyperparameter of a component."""

    name: str
    type: str
    """The type with its bounds, in words: `number >= 0 and < 1`, `integer > 0 or none`."""
    default: Any
    """None if the parameter is required."""
    required: bool
    description: str | None
    search: str | None = None
    """The range in which `tune` varies it, in words: `0.03 to 0.5, log`. None: it stays as it is."""

    @property
    def text(self) -> str:
        """The parameter in two lines."""
        default = "required" if self.required else f"default {print_value(self.default)}"
        tuned = f"; tuned {self.search}" if self.search else ""
        return f"  {self.name}  ({self.type}; {default}{tuned})\n      {self.description}"


@dataclass(frozen=True)
class Description:
    """A component, described by what it declares."""

    entry: Entry

    @property
    def name(self) -> str:
        """Its name."""
        return self.entry.component.name

    @property
    def summary(self) -> str:
        """The first line of its docstring, with formulas in Unicode."""
        first = self._docstring.partition("\n")[0]
        return readable(first, width=max(1, len(first)))

    @property
    def details(self) -> str:
        """The rest of its docstring, for a terminal."""
        return readable(self._docstring.partition("\n")[2])

    @property
    def family(self) -> Family | None:
        """What a method changes first of all. None for other components."""
        component = self.entry.component
        return Family(component.family) if issubclass(component, Method) else None

    @property
    def _docstring(self) -> str:
        return inspect.cleandoc(self.entry.component.__doc__ or "")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its hyperparameters, as it declares them."""
        return tuple(parameters(self.entry.component))

    def as_json(self) -> dict[str, Any]:
        """Give the description as JSON has it."""
        return {
            "kind": self.entry.component.kind,
            "name": self.name,
            "summary": self.summary,
            "details": self.details,
            "family": self.family,
            "citation": self.entry.component.citation,
            "plugin": self.entry.plugin,
            "hooks": self.entry.hooks,
            "parameters": [parameter._asdict() for parameter in self.parameters],
        }

    def as_text(self) -> str:
        """Write the description for a reader."""
        return "\n".join(
            (
                f"{self.name}: {self.summary}",
                *((f"\n{self.details}\n",) if self.details else ()),
                *((f"family:   {self.family}",) if self.family else ()),
                f"citation: {self.entry.component.citation or 'none'}",
                f"plugin:   {self.entry.plugin} {self.entry.version}",
                *((f"hooks:    {', '.join(self.entry.hooks) or 'none'}",) if self.family else ()),
                *(parameter.text for parameter in self.parameters),
            )
        )


class ComponentOrigin(NamedTuple):
    """The place that a component comes from, and the hooks that it implements."""

    kind: str
    name: str
    plugin: str
    version: str
    hooks: list[str]
    file: str


def describe_methods(plugins: Iterable[Path] = (), name: str | None = None) -> list[Description]:
    """Describe all methods by name, or only one. `plugins` are files beside the installed plugins.

    Raises UsageError for an unknown name, and PluginError for a file that does not load.
    """
    components = discovery.load(plugins, kinds={"method"})
    names = components.names("method") if name is None else [name]
    return [Description(components.entry("method", each)) for each in names]


def describe_components(
    plugins: Iterable[Path] = (), kind: str | None = None, name: str | None = None
) -> list[Description]:
    """Describe all components by kind and name, those of one kind, or only one.

    Raises UsageError for an unknown kind or name, and PluginError for a file that does not load.
    """
    components = discovery.load(plugins)
    kinds = components.kinds if kind is None else [components.checked_kind(kind)]
    if kind is not None and name is not None:
        return [Description(components.entry(kind, name))]
    return [Description(components.entry(each, own)) for each in kinds for own in components.names(each)]


def origins(components: Catalog) -> list[ComponentOrigin]:
    """Say of every component of a catalogue where it comes from, in the order of kinds and names."""
    return [
        ComponentOrigin(kind, name, entry.plugin, entry.version, entry.hooks, entry.origin)
        for (kind, name), entry in sorted(components.entries.items())
    ]


def parameters(component: type[Component]) -> Iterable[Parameter]:
    """Describe the hyperparameters of a component. Types come from the JSON schema of its validation."""
    schema = component.model_json_schema()
    search = component.search if issubclass(component, Method) else {}
    for field, info in component.model_fields.items():
        found = schema["properties"][field]
        tuned = search[field].text if field in search else None
        yield Parameter(field, _type(found, schema), found.get("default"), info.is_required(), info.description, tuned)


def with_required(component: type[Component]) -> str:
    """Write a component with what it requires, for trials: `capacity[nats=1]`."""
    return print_call(component.name, required(component))


def required(component: type[Component]) -> dict[str, Any]:
    """Give a value to each field without a default: the first of the `examples` of the field, or 1 if it has none."""
    bare = {field: info for field, info in component.model_fields.items() if info.is_required()}
    return {field: (info.examples or [1])[0] for field, info in bare.items()}


def _type(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """Write a node of a JSON schema in words, with its bounds."""
    return " or ".join(_words(option, schema) for option in _options(node, schema))


def _options(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return [schema["$defs"][node["$ref"].rsplit("/", 1)[1]]]
    return list(node.get("anyOf", [node]))


def _words(option: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in option:
        return _type(option, schema)
    if "enum" in option:
        return "|".join(map(print_value, option["enum"]))
    bounds = [f"{sign} {option[key]:g}" for key, sign in BOUNDS.items() if key in option]
    kind = {"null": "none", "string": "text"}.get(option.get("type", "value"), option.get("type", "value"))
    return " ".join([kind, " and ".join(bounds)]).strip()
