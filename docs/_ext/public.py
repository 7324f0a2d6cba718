"""The public names of collapsebench, and what is said of each: `collapsebench.__all__` is the list."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

import collapsebench

PACKAGE = Path(collapsebench.__file__).parent


def names() -> list[str]:
    """The names in `__all__`, which the stub for type checkers does not have."""
    return list(vars(collapsebench)["__all__"])


def documentation(name: str) -> str:
    """The docstring of a public name, empty if it has none.

    A class or function has its own; a value (an alias of types, a marker) has the text below its assignment.
    """
    value = getattr(collapsebench, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return inspect.cleandoc(value.__doc__ or "")
    return next(filter(None, (text_below(name, path) for path in sorted(PACKAGE.rglob("*.py")))), "")


def text_below(name: str, path: Path) -> str:
    """The text that stands below the assignment of a name in a module, empty if there is none."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for statement, following in pairwise(body):
        match statement, following:
            case (
                (ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found))),
                ast.Expr(value=ast.Constant(value=str(text))),
            ) if found == name:
                return inspect.cleandoc(text)
    return ""


def undocumented() -> list[str]:
    """The public names, and the methods of public classes as `Class.method`, that have no docstring."""
    bare = [name for name in names() if not documentation(name)]
    for name in names():
        value = getattr(collapsebench, name)
        bare += [f"{name}.{member}" for member in own_members(value) if not inspect.getdoc(getattr(value, member))]
    return bare


def own_members(value: object) -> list[str]:
    """The public methods and properties that a class of this package defines; none of other values."""
    if not inspect.isclass(value) or not value.__module__.startswith("collapsebench"):
        return []
    kinds = (property, classmethod, staticmethod)
    return [
        name
        for name, member in vars(value).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    ]
