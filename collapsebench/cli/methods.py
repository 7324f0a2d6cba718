"""`collapsebench methods`: the methods and their hyperparameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapsebench.cli import options
from collapsebench.experiment.memory import uncollected
from collapsebench.syntax import BASELINE, print_value

if TYPE_CHECKING:
    from collapsebench.components.catalog import Entry


@click.command("methods")
@click.argument("name", required=False)
@options.plugin
@options.as_json
@uncollected()
def command(name: str | None, plugins: tuple[Path, ...], *, as_json: bool) -> None:
    """List the methods, or show one: citation, hooks, and every hyperparameter with type, default, description."""
    from collapsebench.components import discovery

    components = discovery.load(plugins, kinds={"method"})
    names = components.names("method") if name is None else [name]
    entries = [components.entry("method", each) for each in names]
    if as_json:
        click.echo(json.dumps([_facts(entry) for entry in entries], indent=2))
    elif name is None:
        _list(entries)
    else:
        _show(entries[0])


def _facts(entry: Entry) -> dict[str, Any]:
    method = entry.component
    schema = method.model_json_schema()
    parameters = [
        {
            "name": field,
            "type": _type(schema, field),
            "default": schema["properties"][field].get("default"),
            "required": info.is_required(),
            "description": info.description,
        }
        for field, info in method.model_fields.items()
    ]
    return {
        "name": method.name,
        "summary": summary(method),
        "citation": method.citation,
        "plugin": entry.plugin,
        "hooks": entry.hooks,
        "parameters": parameters,
    }


def summary(component: type) -> str:
    """The first line of a component's docstring."""
    return (component.__doc__ or "").strip().split("\n")[0]


def _type(schema: dict[str, Any], field: str) -> str:
    """Write the type of a field with its bounds in words. They come from the JSON schema that also validates it."""
    return " or ".join(_words(option, schema) for option in _options(schema["properties"][field], schema))


def _options(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return [schema["$defs"][node["$ref"].rsplit("/", 1)[1]]]
    return list(node.get("anyOf", [node]))


def _words(option: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in option:
        return " or ".join(_words(inner, schema) for inner in _options(option, schema))
    if "enum" in option:
        return "|".join(map(print_value, option["enum"]))
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {option[key]:g}" for key, sign in signs.items() if key in option]
    kind = {"null": "none", "string": "text"}.get(option.get("type", "value"), option.get("type", "value"))
    return " ".join([kind, " and ".join(bounds)]).strip()


def _list(entries: list[Entry]) -> None:
    rows = {BASELINE: "the plain VAE: the baseline, run beside every contender"}
    rows |= {entry.component.name: summary(entry.component) for entry in entries}
    width = max(map(len, rows))
    for name, text in rows.items():
        click.echo(f"{name:<{width}}  {text}")


def _show(entry: Entry) -> None:
    facts = _facts(entry)
    click.echo(f"{facts['name']}: {facts['summary']}")
    click.echo(f"citation: {facts['citation'] or 'none'}")
    click.echo(f"plugin:   {entry.plugin} {entry.version}")
    click.echo(f"hooks:    {', '.join(facts['hooks']) or 'none'}")
    for parameter in facts["parameters"]:
        default = "required" if parameter["required"] else f"default {print_value(parameter['default'])}"
        click.echo(f"  {parameter['name']}  ({parameter['type']}; {default})\n      {parameter['description']}")
