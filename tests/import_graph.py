"""`python tests/import_graph.py` prints which rooms of the package import which, and whether all imports point one way.

The rooms stand one below the other. An arrow leads from what is imported to what imports it. A module imports only
from its own room and from those above it, so no arrow leads up. Imports for a type checker count like all others. One
circle is allowed: a folder's `__init__` and the modules of this folder are two halves of one thing. At the bottom
stands the package itself, whose public names nothing inside it may import.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = "collapsebench"

ROOMS = (
    "printable",
    "errors",
    "files",
    "syntax",
    "validation",
    "spec",
    "estimates",
    "record",
    "observation",
    "examples",
    "facts",
    "templates",
    "published",
    "plausibility",
    "model",
    "components",
    "data",
    "networks",
    "inference",
    "metrics",
    "guards",
    "store",
    "experiment",
    "reporting",
    "verification",
    "selfcheck",
    "testing",
    "notebook",
    "api",
    "cli",
    PACKAGE,
)
"""From the top to the bottom."""

ROOT = Path(__file__).parents[1]

Graph = Mapping[str, Iterable[str]]
"""From modules or rooms to those that they import."""


def modules() -> dict[str, Path]:
    """The file of every module; a folder's name means its `__init__`, and that of the package the stub of this."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return files | {PACKAGE: files[PACKAGE].with_suffix(".pyi")}


def named(path: Path) -> Iterator[str]:
    """The dotted names that a file's import statements mention, wherever they stand."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_graph() -> dict[str, set[str]]:
    """The modules with those that they import, by rooms; a name in a module counts as that module."""
    known = modules()
    graph = {}
    for module, path in sorted(known.items(), key=lambda item: ROOMS.index(room(item[0]))):
        found = (next((m for m in (name, name.rpartition(".")[0]) if m in known), module) for name in named(path))
        graph[module] = set(found) - {module}
    return graph


def room(module: str) -> str:
    """The room in which a module stands."""
    return short(module).split(".")[0]


def short(module: str) -> str:
    """The name of a module without that of the package."""
    return module.removeprefix(f"{PACKAGE}.")


def room_graph(graph: Graph) -> dict[str, set[str]]:
    """The rooms, from the top to the bottom, with the other rooms that their modules import."""
    rooms: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, imported in graph.items():
        rooms[room(module)] |= {room(other) for other in imported} - {room(module)}
    return rooms


def arrows_up(graph: Graph) -> list[tuple[str, str]]:
    """The arrows that lead up: each imported module with the one that stands above it and imports it."""
    arrows = ((other, module) for module, imported in graph.items() for other in imported)
    return sorted((a, b) for a, b in arrows if ROOMS.index(room(a)) > ROOMS.index(room(b)))


def circle(graph: Graph) -> list[str]:
    """Modules that lead from one of them back to it, empty if there are none."""
    checked = {
        module: [other for other in imported if not is_own_folder(module, other)] for module, imported in graph.items()
    }
    try:
        TopologicalSorter(checked).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def is_own_folder(module: str, other: str) -> bool:
    """Whether one of the two is the `__init__` of the folder in which the other stands."""
    return module.startswith(f"{other}.") or other.startswith(f"{module}.")


def faults(graph: Graph) -> list[str]:
    """One line for each arrow that leads up, and one for a circle."""
    lines = [f"arrow up: {above} imports {below}" for below, above in arrows_up(graph)]
    return lines + ([f"circle: {' -> '.join(found)}"] if (found := circle(graph)) else [])


def table(graph: Graph, labels: Mapping[str, str]) -> Iterator[str]:
    """One line each, from the top to the bottom: its label, and what it imports."""
    order = list(graph)
    width = max(map(len, labels.values()))
    for name, imported in graph.items():
        found = ", ".join(short(other) for other in sorted(imported, key=order.index))
        yield f"{labels[name]:{width}}  {found}".rstrip()


def dot(graph: Graph) -> Iterator[str]:
    """The same as a drawing for Graphviz."""
    yield f"digraph {PACKAGE} {{\n  node [shape=box]"
    for name, imported in graph.items():
        yield f'  "{short(name)}"'
        yield from (f'  "{short(other)}" -> "{short(name)}"' for other in sorted(imported))
    yield "}"


def main() -> None:
    """Print the graph and what is wrong with it; the exit code is 1 if anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--modules", action="store_true", help="modules instead of rooms")
    parser.add_argument("--dot", action="store_true", help="text for Graphviz")
    asked = parser.parse_args()
    graph = module_graph()
    shown = graph if asked.modules else room_graph(graph)
    sizes = Counter(map(room, graph))
    labels = {name: short(name) if asked.modules else f"{name} ({sizes[name]})" for name in shown}
    print(*(dot(shown) if asked.dot else table(shown, labels)), sep="\n")
    found = faults(graph)
    said = found or ["no arrow up, no circle"]
    print(*said, sep="\n", file=sys.stderr if asked.dot else sys.stdout)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
